"""One call for every method."""

from __future__ import annotations

import os
from dataclasses import fields
from typing import Any

from styleplugin.engine.stream import OnStep
from styleplugin.errors import UsageError
from styleplugin.files import has_suffix
from styleplugin.job import Result, options_from, weighted
from styleplugin.loading import index
from styleplugin.methods import registry
from styleplugin.options import EngineOptions, StylizeOptions
from styleplugin.style import SUFFIX, Style
from styleplugin.stylizer import load
from styleplugin.tensorfile import shortened


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
        method: Name of a method: "wct" (the default), "adain", "kbstyle", "photorealistic", "optimization", or one of
            another package.
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

    Example:
        >>> import numpy as np
        >>> content, style = np.random.default_rng(0).random((2, 64, 64, 3), np.float32)
        >>> result = stylize(content, style, method="adain", strength=0.8)
        >>> result.picture.size, result.report.settings["model"]
        ((64, 64), 'cd-adain.x16')
    """
    run = registry.imported(registry.find(method).run)
    asked = {"model": model, "allow_unknown_model": allow_unknown_model, "options": options}
    return run(content, style, method, **asked, mask=mask, label=label, on_step=on_step)


def feed_forward(
    content: Any,
    style: Any,
    method: str | None,
    *,
    model: str | None,
    allow_unknown_model: bool,
    options: dict[str, Any],
    **given: Any,
) -> Result:
    """Stylize one picture by a feed-forward method: what `MethodSpec.run` is by default.

    Raises:
        UsageError: SP108, the model is for another method; others as `load` and `Stylizer`.
    """
    known = {f.name for f in fields(EngineOptions)}
    engine_options = {name: value for name, value in options.items() if name in known}
    options = {name: value for name, value in options.items() if name not in known}
    options_from(StylizeOptions, options)
    stylizer = load(model or choose_model(method, style), allow_unknown_model=allow_unknown_model, **engine_options)
    if method is not None and stylizer.info.method != method:
        raise UsageError(
            "SP108",
            f"The model {stylizer.info.name} is for the method {stylizer.info.method}, but `method` was {method}.",
            "Leave one of them out.",
        )
    return stylizer(content, style, **given, **options)


def choose_model(method: str | None, style: Any) -> str:
    """Return the model for a method and styles, where none was named.

    Raises:
        UsageError: SP102, an unknown method.
    """
    if method is None:
        for part in weighted(style):
            given = part.style
            if isinstance(given, (str, os.PathLike)) and has_suffix(given, SUFFIX):
                given = Style.load(given)
            if isinstance(given, Style):
                return _embedded_model_of(given)
    return registry.default_model(method)


def _embedded_model_of(style: Style) -> str:
    """Return the model's name, which nobody typed: a file may not choose what is downloaded or opened."""
    if not index.NAME.fullmatch(style.model) or style.model.endswith(SUFFIX):
        raise UsageError(
            "SP110",
            f"The style {style.name or 'given'} was prepared with {shortened(style.model)}, no embedded model.",
            "Name the model with `model=`.",
        )
    return style.model
