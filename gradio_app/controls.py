"""Controls made from the option classes, and recipes: settings as text that can be copied and loaded again."""

from __future__ import annotations

import json
import reprlib
from typing import Any

import gradio as gr

import styleplugin
from styleplugin.errors import UsageError
from styleplugin.options import bounds_of, choices_of, default_of, help_of

RECIPE_CHARACTERS = 10_000
"""Longest recipe that is read."""
SHOWN_CHARACTERS = 60
"""A value is shown so far in a message."""
_brief = reprlib.Repr()


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
        raise _refusal(f"it is for the task {shown(given)}, not for {task!r}")
    for name, value in data.items():
        if name not in controls:
            raise _refusal(f"there is no setting {shown(name)}")
        try:
            check_setting(name, controls[name], value)
        except UsageError as error:
            raise _refusal(error.message.removesuffix(".")) from error
    return data


def check_setting(name: str, component: Any, value: Any) -> None:
    """Check a value that was sent for a control.

    Args:
        name: Of the setting, for the message.
        component: A slider, menu, check box or text box.
        value: What was sent.

    Raises:
        UsageError: SP101, no number of its range; SP102, none of its choices; SP161, neither yes nor no, or no text.
    """
    if isinstance(component, gr.Slider):
        if not _is_in_range(component, value):
            kind = "a whole number" if _is_whole(component) else "a number"
            raise UsageError(
                "SP101",
                f"{name} was {shown(value)}; it must be {kind} from {component.minimum:g} to {component.maximum:g}.",
                "Give a value in this range.",
            )
    elif isinstance(component, gr.Dropdown):
        choices = [choice[1] for choice in component.choices or ()]
        if not isinstance(value, (str, int)) or isinstance(value, bool) or value not in choices:
            listed = ", ".join(map(str, choices))
            raise UsageError("SP102", f"{name} was {shown(value)}; it must be one of {listed}.", "Use one of these.")
    elif isinstance(component, gr.Checkbox):
        if not isinstance(value, bool):
            raise UsageError("SP161", f"{name} was {shown(value)}; it must be true or false.")
    elif isinstance(component, gr.Textbox):
        if not isinstance(value, str) or len(value) > RECIPE_CHARACTERS:
            raise UsageError(
                "SP161", f"{name} was {shown(value)}; it must be text of at most {RECIPE_CHARACTERS:,} characters."
            )
    else:
        # A new kind of input must not pass unseen.
        raise UsageError("SP161", f"{name} takes no value of a {type(component).__name__}.")


def shown(value: Any) -> str:
    """Return a value as messages show it: cut where it is long."""
    text = repr(value[:SHOWN_CHARACTERS]) if isinstance(value, str) else _brief.repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "..."


def _is_in_range(component: gr.Slider, value: Any) -> bool:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    # Comparing finds NaN and infinity outside.
    return component.minimum <= value <= component.maximum and (not _is_whole(component) or float(value).is_integer())


def _is_whole(component: gr.Slider) -> bool:
    return float(component.step or 1).is_integer()


def _refusal(why: str) -> UsageError:
    return UsageError("SP128", f"The recipe cannot be loaded: {why}.", "Copy it again from where it was made.")
