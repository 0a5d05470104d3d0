"""Training: from a recipe and pictures to the weights file of a model."""

from styleplugin.train.bundles import bundle
from styleplugin.train.chart import WIDTH as PANEL_WIDTH
from styleplugin.train.config import (
    BundleRecipe,
    CascadeRecipe,
    EncoderRecipe,
    KBRecipe,
    PhotoRecipe,
    Recipe,
)
from styleplugin.train.folders import files_below
from styleplugin.train.logbook import read_log
from styleplugin.train.page import write_page
from styleplugin.train.phases import BEST
from styleplugin.train.plan import Plan
from styleplugin.train.presets import new_recipe
from styleplugin.train.runner import run
from styleplugin.train.sources import count_pictures, holds_pictures
from styleplugin.train.toml import read_recipe, recipe_text

__all__ = [
    "BEST",
    "PANEL_WIDTH",
    "BundleRecipe",
    "CascadeRecipe",
    "EncoderRecipe",
    "KBRecipe",
    "PhotoRecipe",
    "Plan",
    "Recipe",
    "bundle",
    "count_pictures",
    "files_below",
    "holds_pictures",
    "new_recipe",
    "read_log",
    "read_recipe",
    "recipe_text",
    "run",
    "write_page",
]
