"""Controls made from the option classes, and recipes: settings as text that can be copied and loaded again."""

from __future__ import annotations

import json
from typing import Any

import gradio as gr

import styleplugin
from styleplugin.errors import UsageError
from styleplugin.options import bounds_of, choices_of, default_of, help_of

RECIPE_CHARACTERS = 10_000
"""Longest recipe that is read."""


def control(cls: type, name: str, **changes: Any) -> Any:
    """Return the control for a field of an options class: a slider, a menu or a check box.

    Args:
        cls: The options class.
        name: Of the field.
        **changes: What the page wants otherwise: label, value, minimum, maximum.
    """
    bounds, choices, value = bounds_of(cls, name), choices_of(cls, name), default_of(cls, name)
    given: dict[str, Any] = {"label": name.replace("_", " ").capitalize(), "info": help_of(cls, name), "value": value}
    if choices:
        given["choices"] = list(choices)
    elif bounds is not None:
        given |= {"minimum": bounds.low, "maximum": bounds.high, "step": bounds.step}
    given |= changes
    return (gr.Dropdown if "choices" in given else gr.Slider if "step" in given else gr.Checkbox)(**given)


def write_recipe(task: str, settings: dict[str, Any]) -> str:
    """Return settings as text."""
    return json.dumps({"styleplugin": styleplugin.__version__, "task": task} | settings, indent=2)


def read_recipe(text: str, task: str, controls: dict[str, Any]) -> dict[str, Any]:
    """Read settings that `write_recipe` made.

    Args:
        text: The recipe.
        task: Of the tab it is for.
        controls: The tab's controls by name; their ranges are checked.

    Returns:
        The settings by name; those it does not mention are left out.

    Raises:
        UsageError: SP128, no recipe, one for another tab, an unknown name or a value out of range.
    """
    try:
        data = json.loads(text[:RECIPE_CHARACTERS])
    except (ValueError, RecursionError) as error:
        raise _refusal("this text is not JSON") from error
    if not isinstance(data, dict):
        raise _refusal("a recipe is a JSON object")
    data.pop("styleplugin", None)
    given = data.pop("task", task)
    if given != task:
        raise _refusal(f"it is for the task {given!r}, not for {task!r}")
    for name, value in data.items():
        if name not in controls:
            raise _refusal(f"there is no setting {name!r}")
        if not _fits(controls[name], value):
            raise _refusal(f"{name} cannot be {value!r}")
    return data


def _fits(component: Any, value: Any) -> bool:
    if isinstance(component, gr.Slider):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return number and component.minimum <= value <= component.maximum
    if isinstance(component, gr.Checkbox):
        return isinstance(value, bool)
    return value in [choice[1] for choice in component.choices or ()]


def _refusal(why: str) -> UsageError:
    return UsageError("SP128", f"The recipe cannot be loaded: {why}.", "Copy it again from where it was made.")
