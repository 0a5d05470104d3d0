"""Training: from a recipe and pictures to the weights file of a model."""

from styleplugin.train.bundles import bundle
from styleplugin.train.config import BundleRecipe, KBRecipe, PhotoRecipe, Recipe, read_recipe
from styleplugin.train.runner import run

__all__ = ["BundleRecipe", "KBRecipe", "PhotoRecipe", "Recipe", "bundle", "read_recipe", "run"]
