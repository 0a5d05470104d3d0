"""Teachers, and students in training: what they begin with, what of them learns, how they are kept."""
