"""Pictures in the style of others, optimized step by step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from styleplugin import Optimization, Result

from .batches import collected, masks_of, pictures_of
from .interface import Host, Progress, on_step

PREVIEW_SECONDS = 1.0
"""Between two previews; the host sends each one to the page at once."""


def optimize(
    host: Host, content: Tensor, style: Tensor, mask: Tensor | None = None, *, tile: int = 0, **chosen: Any
) -> Tensor:
    """Optimize the pictures of a batch, one by one; several style pictures count alike.

    Args:
        host: See `Host`.
        content: (B, H, W, C), C is 1, 3 or 4; comes back with this size, and with its alpha.
        style: The same with any B and size.
        mask: (1 or B, h, w), white is stylized.
        tile: Side in pixels, 0 to choose.
        **chosen: Fields of `styleplugin.OptimizeOptions` and `styleplugin.StylizeOptions`.
    """
    frames, styles = pictures_of(content, "content"), pictures_of(style, "style")
    masks = masks_of(mask, len(frames))
    bar = host.progress()

    def results() -> Iterator[Result]:
        for i, (picture, where) in enumerate(zip(frames, masks, strict=True)):
            run = Optimization(
                picture,
                styles,
                mask=where,
                on_step=on_step(host),
                device=str(host.device()),
                tile=str(tile or "auto"),
                **chosen,
            )
            host.make_room(run.memory_needed)
            _follow(host, run, bar, i, len(frames))
            yield run.result()

    return collected(host, results(), len(frames))


def _follow(host: Host, run: Optimization, bar: Progress, place: int, parts: int) -> None:
    """Do the steps of a run, and show where it stands about once a second."""
    shown = 0.0
    for progress in run:
        now = time.monotonic()
        if now - shown < PREVIEW_SECONDS and progress.step < progress.steps:
            continue
        shown = now
        bar.update((place + progress.share) / parts, run.preview())
        host.say(
            f"step {progress.step}/{progress.steps}  loss {progress.losses.total:.4g}  "
            f"{progress.seconds_left:.0f} s left"
        )
