"""One call for every method."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from styleplugin.engine.stream import OnStep
from styleplugin.errors import UsageError
from styleplugin.job import Result, options_from
from styleplugin.optimize import METHOD, Optimization
from styleplugin.options import EngineOptions, StylizeOptions
from styleplugin.stylizer import choose_model, load


def stylize(
    content: Any,
    style: Any,
    *,
    method: str | None = None,
    model: str | None = None,
    allow_unknown_model: bool = False,
    mask: Any = None,
    label: int | None = None,
    on_step: OnStep | None = None,
    **options: Any,
) -> Result:
    """Stylize one picture.

    Args:
        content: Path, Pillow image, array, tensor or `Picture`.
        style: The same, a style file, a `Style`, or a list of styles, of (style, weight) or of `StyleWeight`.
        method: "wct" (the default), "adain", "kbstyle", "photorealistic" or "optimization".
        model: Name or source of a model; by default the method's own, or the one a style file was made with.
        allow_unknown_model: Admit a local file that is not in the list of known models, with a warning.
        mask: Where the style applies: white is stylized, black is left exactly as it is.
        label: The value that is stylized, where the mask is a picture of labels.
        on_step: Called after every tile with (done, total, stage); raise `Cancelled` in it to stop.
        **options: Fields of `StylizeOptions` and `EngineOptions`: strength, keep_color, palette, style_scale,
            levels, regularization, device, tile, memory_limit_mb; for the method optimization those of
            `OptimizeOptions`.

    Raises:
        StylePluginError: With a code, see `styleplugin.errors`.
    """
    if method == METHOD:
        refuse_model(model)
        run = Optimization(
            content, style, mask=mask, label=label, allow_unknown_model=allow_unknown_model, on_step=on_step, **options
        )
        for _ in run:
            pass
        return run.result()
    known = {f.name for f in fields(EngineOptions)}
    engine_options = {name: options.pop(name) for name in list(options) if name in known}
    options_from(StylizeOptions, options)
    stylizer = load(model or choose_model(method, style), allow_unknown_model=allow_unknown_model, **engine_options)
    if method is not None and stylizer.info.method != method:
        raise UsageError(
            "SP108",
            f"The model {stylizer.info.name} is for the method {stylizer.info.method}, but `method` was {method}.",
            "Leave one of them out.",
        )
    return stylizer(content, style, mask=mask, label=label, on_step=on_step, **options)


def refuse_model(model: str | None) -> None:
    """Raise UsageError SP152 if a model was named for the optimization."""
    if model is not None:
        raise UsageError(
            "SP152",
            f"The model {model} was named, but the method optimization has none.",
            "Name what sees the pictures with `encoder`, and the model of the start with `start_model`.",
        )
