"""The distillation trainer: recipes, data, teachers, tasks and one plain loop."""
