"""The kinds of recipes, and the run of each: what is read, written, trained and offered for a new recipe."""

from __future__ import annotations

from functools import cache
from typing import Any

from styleplugin.errors import UsageError
from styleplugin.methods import registry
from styleplugin.train.recipe.choices import Choices
from styleplugin.train.recipe.options import AnyRecipe
from styleplugin.train.runs.run import Run


@cache
def run_types() -> dict[str, type[Run]]:
    """Return the runs by the kind of their recipes."""
    return {kind: registry.imported(run) for spec in registry.specs() for kind, run in spec.recipe_kinds.items()}


def run_type_of(recipe: Any) -> type[Run]:
    """Return the run of a recipe."""
    return next(run for run in run_types().values() if run.recipe_type is type(recipe))


def kind_of(recipe_type: type) -> str | None:
    """Return the kind of a class of recipes; None for other classes."""
    return next((kind for kind, run in run_types().items() if run.recipe_type is recipe_type), None)


@cache
def methods() -> dict[str, type[Run]]:
    """Return the runs that new recipes are offered for, by their methods."""
    return {run.method: run for run in run_types().values() if run.method}


def method_of(name: str) -> type[Run]:
    """Return the run that a new recipe of a method is for.

    Raises:
        UsageError: SP121, there is none.
    """
    if name not in methods():
        *names, last = methods()
        raise UsageError("SP121", f"The method was {name!r}; {', '.join(names)} or {last}.")
    return methods()[name]


def new_recipe(method: str, **choices: Any) -> AnyRecipe:
    """Choose the settings of a training.

    Args:
        method: wct (a pair for each level), adain, kbstyle, photorealistic, or encoder (for the optimization).
        **choices: See `Choices`.

    Raises:
        UsageError: SP120 to SP126, an impossible choice.
    """
    return method_of(method).preset(Choices(**choices))
