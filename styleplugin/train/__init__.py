"""Training: from a recipe and pictures to the weights file of a pair."""

from styleplugin.train.bundles import bundle
from styleplugin.train.config import BundleRecipe, Recipe, read_recipe
from styleplugin.train.runner import run

__all__ = ["BundleRecipe", "Recipe", "bundle", "read_recipe", "run"]
