"""What an event takes: said once, for the page, for the API and for the work."""

import inspect

import gradio as gr
from gradio.utils import get_function_description, get_function_params

from gradio_app import events
from gradio_app.running.event import Outcome, argument, control_of, event, option
from styleplugin.options import OptimizeOptions, StylizeOptions, help_of

PICTURE = argument("picture", "The picture.")
STEPS = option(OptimizeOptions, "steps", value=7, maximum=10)


def run(handler, *args, **kwargs):
    return list(handler(*args, progress=lambda *_, **__: None, **kwargs))


def test_the_work_gets_its_arguments_by_name_with_the_defaults_of_the_page():
    got = {}

    @event(PICTURE, STEPS)
    def make(run, **given) -> Outcome:
        """Make it."""
        got.update(given, folder=run.folder.is_dir(), regions=run.limits.max_regions)
        return Outcome(("before", "after"), "done", [given["picture"]])

    assert run(make, "a.png")[-1][:2] == (("before", "after"), "a.png")
    assert got == {"picture": "a.png", "steps": 7, "folder": True, "regions": 8}
    run(make, picture="b.png", steps=3)
    assert (got["picture"], got["steps"]) == ("b.png", 3)


def test_gradio_sees_names_defaults_and_help():
    @event(PICTURE, STEPS)
    def make(run, **given) -> Outcome:
        """Make it."""
        raise AssertionError

    assert get_function_params(make)[:2] == [("picture", False, None, str), ("steps", True, 7, int)]
    description, arguments, _ = get_function_description(make)
    assert description == "Make it."
    assert arguments["picture"] == "The picture."
    assert arguments["steps"] == help_of(OptimizeOptions, "steps") + " From 1 to 10."
    assert inspect.isgeneratorfunction(make) and make.__name__ == "make"


def test_the_control_of_an_option_has_its_range_and_what_the_page_changes():
    steps = control_of(events.optimize, "steps")
    assert isinstance(steps, gr.Slider) and (steps.minimum, steps.maximum, steps.value) == (1, 1000, 100)
    assert steps.info == help_of(OptimizeOptions, "steps")
    for handler in (events.paint, events.mix, events.large):
        strength = control_of(handler, "strength")
        assert (strength.value, strength.info) == (1.0, help_of(StylizeOptions, "strength"))


def test_the_defaults_of_the_api_are_those_of_the_controls():
    for handler in (events.paint, events.photo_look, events.optimize, events.mix, events.large):
        for name, default in inspect.signature(handler).parameters.items():
            if name not in ("request", "progress") and default.annotation.__metadata__[1] is not None:
                assert control_of(handler, name).value == default.default, name
