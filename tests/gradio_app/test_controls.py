"""Controls and recipes."""

import json

import gradio as gr
import pytest

from gradio_app.controls import control, read_recipe, write_recipe
from styleplugin.errors import UsageError
from styleplugin.options import OptimizeOptions, StylizeOptions, help_of


def test_controls_have_the_range_default_and_help_of_their_option():
    strength = control(StylizeOptions, "strength")
    assert isinstance(strength, gr.Slider)
    assert (strength.minimum, strength.maximum, strength.step, strength.value) == (0, 1, 0.05, 1)
    assert strength.info == help_of(StylizeOptions, "strength") and strength.label == "Strength"
    color = control(StylizeOptions, "keep_color")
    assert isinstance(color, gr.Dropdown) and [value for _, value in color.choices] == ["off", "luminance", "lab"]
    assert isinstance(control(StylizeOptions, "keep_luminance"), gr.Checkbox)
    assert control(OptimizeOptions, "steps", maximum=1000).maximum == 1000


CONTROLS = {"strength": control(StylizeOptions, "strength"), "keep_color": control(StylizeOptions, "keep_color")}


def test_a_recipe_is_read_as_it_was_written():
    text = write_recipe("paint", {"strength": 0.5, "keep_color": "lab"})
    assert read_recipe(text, "paint", CONTROLS) == {"strength": 0.5, "keep_color": "lab"}
    assert read_recipe('{"strength": 1}', "paint", CONTROLS) == {"strength": 1}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nonsense", "not JSON"),
        ("[1]", "JSON object"),
        ("[" * 9000, "not JSON"),
        ('{"task": "mix"}', "'mix'"),
        ('{"colour": "off"}', "'colour'"),
        ('{"strength": 2}', "strength"),
        ('{"strength": true}', "strength"),
        ('{"strength": NaN}', "strength"),
        ('{"keep_color": "all"}', "keep_color"),
        ('{"keep_color": ["off"]}', "keep_color"),
        (json.dumps({"strength": "0.5"}), "strength"),
    ],
)
def test_G11_a_bad_recipe_is_refused_with_the_reason(text, says):
    with pytest.raises(UsageError, match=says) as raised:
        read_recipe(text, "paint", CONTROLS)
    assert raised.value.code == "SP128"
