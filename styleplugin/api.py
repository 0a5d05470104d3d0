"""One call for every method."""

from __future__ import annotations

from typing import Any

from styleplugin.engine.stream import OnStep
from styleplugin.job import Result
from styleplugin.methods import registry


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
    """
    run = registry.imported(registry.find(method).run)
    chosen = {"method": method, "model": model, "allow_unknown_model": allow_unknown_model}
    return run(content, style, **chosen, mask=mask, label=label, on_step=on_step, **options)
