# pyright: reportMissingImports=false
"""Inputs and outputs that several nodes declare, with ranges, words and help of the option classes."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from styleplugin import FrameOptions, options

from .sockets import StyleCode, StyleModel


def pictures_and_model() -> list[Any]:
    """Return what every node that stylizes begins with."""
    return [
        io.Image.Input("content", tooltip="The pictures to stylize; a batch may be a clip."),
        io.MultiType.Input(
            "style",
            types=[io.Image, StyleCode],
            lazy=True,
            tooltip="A style picture, one for each content picture, or a style from Encode Style, Mix Styles or Load "
            "Style.",
        ),
        StyleModel.Input("model", lazy=True, tooltip="From Load Style Model."),
    ]


def weighted_styles(count: int) -> list[Any]:
    """Return so many styles with their weights."""
    inputs: list[Any] = []
    for i in range(1, count + 1):
        inputs.append(StyleCode.Input(f"style_{i}", tooltip="From Encode Style or Load Style, all with one model."))
        inputs.append(
            io.Float.Input(
                f"weight_{i}",
                default=1.0,
                min=0.0,
                max=1.0,
                step=0.01,
                display_mode=io.NumberDisplay.slider,
                tooltip="Share of this style; the weights are scaled to sum to 1.",
            )
        )
    return inputs


def number_of(name: str, cls: type, **changes: Any) -> Any:
    """Declare a number as the core describes it, but for the given settings."""
    bounds = options.bounds_of(cls, name)
    assert bounds is not None
    settings = {"default": options.default_of(cls, name), "tooltip": options.help_of(cls, name)} | changes
    kind = type(settings["default"])
    return (io.Int if kind is int else io.Float).Input(
        name,
        min=kind(bounds.low),
        max=kind(bounds.high),
        step=kind(bounds.step),
        display_mode=io.NumberDisplay.slider if bounds.high <= 1 else None,
        **settings,
    )


def choice_of(name: str, cls: type, *, optional: bool = False, advanced: bool | None = None) -> Any:
    """Declare a choice as the core describes it."""
    return io.Combo.Input(
        name,
        optional=optional,
        options=list(options.choices_of(cls, name)),
        default=options.default_of(cls, name),
        advanced=advanced,
        tooltip=options.help_of(cls, name),
    )


def statistics() -> Any:
    """Declare where statistics come from; the frame is asked for only where it matters."""
    return io.DynamicCombo.Input(
        "statistics",
        options=[
            io.DynamicCombo.Option(word, [number_of("frame", FrameOptions)] if word == "one frame" else [])
            for word in options.choices_of(FrameOptions, "statistics")
        ],
        tooltip=options.help_of(FrameOptions, "statistics"),
    )


def tile() -> Any:
    """Return the side of the tiles."""
    return io.Int.Input(
        "tile",
        default=0,
        min=0,
        max=8192,
        step=64,
        advanced=True,
        tooltip="Side of a tile in pixels; 0 chooses. Tiles decide memory and speed, never the picture.",
    )


def mask_input() -> Any:
    """Return the mask of what is stylized."""
    return io.Mask.Input(
        "mask",
        optional=True,
        tooltip="White is stylized, black is left exactly as it is. The mask of Load Image is white where the file is "
        "transparent, and black for files without transparency.",
    )


def stylized() -> list[Any]:
    """Return the output of every node that stylizes."""
    return [io.Image.Output("image", tooltip="As large as the content, with its alpha.")]


def filename_prefix(default: str, node: str) -> Any:
    """Declare where a file goes, in a folder that a node lists."""
    folder = default.partition("/")[0]
    return io.String.Input(
        "filename_prefix",
        default=default,
        tooltip=f"Name in the output folder; what is below {folder} is listed by {node}.",
    )


def seed(tooltip: str) -> Any:
    """Declare a seed; the page keeps it as it is from run to run."""
    return io.Int.Input(
        "seed",
        default=0,
        min=0,
        max=(1 << 53) - 1,
        control_after_generate=io.ControlAfterGenerate.fixed,
        advanced=True,
        tooltip=tooltip,
    )


def switch_of(name: str, cls: type) -> Any:
    """Declare a yes or no as the core describes it."""
    return io.Boolean.Input(name, default=options.default_of(cls, name), tooltip=options.help_of(cls, name))


def pictures_of_run() -> list[Any]:
    """Return the outputs that show how a training run goes."""
    return [
        io.Image.Output("sheet", tooltip="Validation pictures and what the student makes of them."),
        io.Image.Output("curves", tooltip="Losses of all phases."),
    ]
