"""Students out of teachers: fewer filters, at once or while the teacher trains on."""
