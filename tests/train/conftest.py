"""What trainings are tested with: see `fakes.training`."""

from fakes.training import data_folder, data_options, make_recipe, recipe, vgg_file

__all__ = ["data_folder", "data_options", "make_recipe", "recipe", "vgg_file"]
