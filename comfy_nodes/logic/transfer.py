"""Pictures in the style of others, in one pass through a small network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

import styleplugin
from styleplugin import Style, Stylizer, errors
from styleplugin.methods import find

from .batches import collected, colored, handed_over, masks_of, pictures_of, size_of
from .interface import Host, StyleModel, on_step
from .styles import mix, ready


def transfer(
    host: Host,
    content: Tensor,
    style: Tensor | Style | None = None,
    model: StyleModel | None = None,
    mask: Tensor | None = None,
    *,
    statistics: str,
    frame: int = 0,
    tile: int = 0,
    depth: int = 4,
    grain: float | None = None,
    style_scale: float = 1.0,
    **chosen: Any,
) -> Tensor:
    """Stylize the pictures of a batch.

    Args:
        host: See `Host`.
        content: (B, H, W, C), C is 1, 3 or 4; comes back with this size, and with its alpha.
        style: The same with any B and size, or a style; not needed at strength 0.
        model: As loaded; not needed at strength 0.
        mask: (1 or B, h, w), white is stylized.
        statistics: See `styleplugin.options.FrameOptions`. With those of each frame, style pictures and contents
            are paired, the shorter list beginning again from its first; else the styles are mixed in equal parts.
        frame: The same.
        tile: Side in pixels, 0 to choose.
        depth: The deepest level to use, for models with levels.
        grain: See `styleplugin.StylizeOptions`; frames that share their statistics have none, whatever it is.
        style_scale: See `styleplugin.StylizeOptions`.
        **chosen: Further fields of `styleplugin.StylizeOptions`.
    """
    frames = pictures_of(content, "content")
    if chosen["strength"] == 0:
        for picture in frames:
            styleplugin.to_picture(picture)  # what is no picture is refused at any strength
        host.say("Strength 0: the content comes back as it is.")
        return handed_over(host, colored(content))
    assert model is not None and style is not None
    shared = len(frames) if statistics == "whole batch" else 1
    stylizer = ready(host, model, size_of(content), frames=shared, tile=tile)
    chosen["grain"] = grain if statistics == "per frame" else None
    if "levels" in find(model.info.method).capabilities:
        chosen["levels"] = tuple(level for level in model.info.levels if level <= depth)
    given = [style] if isinstance(style, Style) else pictures_of(style, "style")
    styles = [stylizer.prepare(one, style_scale=style_scale, on_step=on_step(host)) for one in given]
    if statistics != "per frame":
        styles = [mix(styles, [1.0] * len(styles))]
    masks = masks_of(mask, len(frames))
    if len(styles) > 1:
        count = max(len(frames), len(styles))
        masks = [masks[i % len(frames)] for i in range(count)]
        frames, styles = _repeated(host, frames, count, "contents"), _repeated(host, styles, count, "style pictures")
    if len(styles) == 1:
        results = stylizer.frames(
            frames,
            styles[0],
            masks=masks,
            statistics=statistics,
            frame=frame,
            on_step=on_step(host, bar=host.progress()),
            **chosen,
        )
    else:
        results = _one_by_one(host, stylizer, frames, styles, masks, chosen)
    return collected(host, results, len(frames))


def photo_transfer(host: Host, content: Tensor, *, model: StyleModel | None = None, **given: Any) -> Tensor:
    """Stylize with a photorealistic model; see `transfer`."""
    if model is not None and "looks" not in find(model.info.method).capabilities:
        raise errors.UsageError(
            "SP108",
            f"The model {model.info.name} is for the method {model.info.method}; this node needs a photorealistic one.",
            "Load pca-photo.vgg, or use the node Style Transfer (Fast).",
        )
    return transfer(host, content, model=model, **given)


def _one_by_one(
    host: Host, stylizer: Stylizer, frames: Sequence[Tensor], styles: Sequence[Any], masks: Sequence[Any], chosen: dict
) -> Iterator[styleplugin.Result]:
    """Stylize each frame in its own style."""
    bar = host.progress()
    for i, picture in enumerate(frames):
        step = on_step(host, i, len(frames), bar)
        yield stylizer(picture, styles[i], mask=masks[i], on_step=step, **chosen)


def _repeated(host: Host, items: Sequence[Any], count: int, what: str) -> list[Any]:
    """Return as many items as are needed: the list begins again from its first, as the host's own nodes do."""
    if 1 < len(items) < count:
        host.say(f"There are {len(items)} {what} for {count} results: they begin again from the first.")
    return [items[i % len(items)] for i in range(count)]
