"""Between the host's batches and the core's pictures: layout changes happen only here.

The host's pictures are (B, H, W, C) in [0, 1], its masks (B, h, w); the core takes pictures one by one, (1, C, H, W).
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

import styleplugin
from styleplugin import errors

from .interface import Host, say


def pictures_of(batch: Tensor, what: str) -> list[Tensor]:
    """Return the pictures of a batch as the core takes them, (1, C, H, W); views.

    Raises:
        TensorInputError: SP212, not a batch of pictures, or an empty one.
    """
    if batch.dim() != 4 or batch.shape[3] not in (1, 3, 4) or not batch.numel():
        raise errors.TensorInputError(
            "SP212",
            f"The {what} has the shape {tuple(batch.shape)}; pictures are (B, H, W, C) with C = 1, 3 or 4, and one at "
            "least.",
            "Connect an IMAGE.",
        )
    return [picture.movedim(-1, 0)[None] for picture in batch]


def masks_of(mask: Tensor | None, count: int) -> list[Tensor | None]:
    """Return a mask (h, w) for each frame.

    Raises:
        MaskError: SP222, neither one mask nor one for each frame.
    """
    if mask is None:
        return [None] * count
    masks = list(mask.reshape(-1, *mask.shape[-2:]))
    if len(masks) not in (1, count):
        raise errors.MaskError(
            "SP222", f"There are {len(masks)} masks for {count} pictures.", "Connect one mask, or one for each picture."
        )
    return masks * count if len(masks) == 1 else masks  # type: ignore[return-value]


def collected(host: Host, results: Iterator[styleplugin.Result], count: int) -> Tensor:
    """Write results into one batch as they come, and say what they noticed."""
    output: Tensor | None = None
    notes: list[str] = []
    for i, result in enumerate(results):
        picture = result.picture
        channels = 3 if picture.alpha is None else 4
        if output is None:
            shape = (count, picture.height, picture.width, channels)
            output = torch.empty(shape, dtype=host.output_dtype(), device=host.output_device())
        output[i, :, :, :3] = picture.rgb[0].movedim(0, -1)
        if picture.alpha is not None:
            output[i, :, :, 3] = picture.alpha[0, 0]
        notes += result.report.warnings
        host.check_interrupt()
    say(host, notes)
    assert output is not None
    return output


def colored(batch: Tensor) -> Tensor:
    """Repeat gray to three channels."""
    return batch.expand(-1, -1, -1, 3).contiguous() if batch.shape[3] == 1 else batch


def handed_over(host: Host, batch: Tensor) -> Tensor:
    """Return a batch (B, H, W, C) where and in the type in which the host takes results."""
    return batch.to(host.output_device(), host.output_dtype())


def size_of(batch: Tensor, scale: float = 1.0) -> tuple[int, int]:
    """Return the (height, width) of the pictures of a batch (B, H, W, C), scaled."""
    return round(batch.shape[1] * scale), round(batch.shape[2] * scale)
