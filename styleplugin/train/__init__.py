"""Training: from a recipe and pictures to the weights file of a model."""

from styleplugin.train.data.folders import files_below
from styleplugin.train.data.sources import count_pictures, holds_pictures
from styleplugin.train.evaluation.chart import WIDTH as PANEL_WIDTH
from styleplugin.train.evaluation.page import write_page
from styleplugin.train.loop.logbook import read_log
from styleplugin.train.pairs.packing import bundle
from styleplugin.train.pairs.recipe import Recipe
from styleplugin.train.recipe.options import AnyRecipe
from styleplugin.train.recipe.plan import Plan
from styleplugin.train.recipe.toml import read_recipe, recipe_text
from styleplugin.train.registry import new_recipe
from styleplugin.train.runner import run
from styleplugin.train.runs.phase_loop import BEST

__all__ = [
    "BEST",
    "PANEL_WIDTH",
    "AnyRecipe",
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
