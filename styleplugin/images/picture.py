"""The one form in which pictures travel: `Picture`, made from whatever a caller has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from styleplugin.errors import TensorInputError
from styleplugin.images.metadata import Metadata


@dataclass(frozen=True, eq=False)
class Picture:
    """An upright sRGB picture with its alpha aside; its memory belongs to nobody else.

    Example:
        >>> import torch
        >>> picture = Picture(torch.zeros(1, 3, 4, 6, dtype=torch.float32, device="cpu"))
        >>> picture.size, picture.bits, picture.alpha is None
        ((4, 6), 8, True)
    """

    rgb: Tensor
    """(1, 3, H, W) float32 in [0, 1], channels-last in memory; pictures of 32 bits may go outside."""
    alpha: Tensor | None = None
    """(1, 1, H, W) float32 in [0, 1]; where it is 0, `rgb` holds the mean of the visible colors."""
    bits: int = 8
    """Depth of the source: 8, 16 or 32 (float); decides the depth of the output."""
    name: str = ""
    """File name for messages; empty for pictures made in memory."""
    warnings: tuple[str, ...] = ()
    """What was noticed while reading; the run lists it in its report."""
    metadata: Metadata | None = None
    """What the file said of the picture, and the output may say again."""

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.rgb.shape[-2]

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.rgb.shape[-1]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width


def from_channels(channels: Tensor, *, bits: int, name: str = "", warnings: tuple[str, ...] = ()) -> Picture:
    """Set alpha aside, repeat gray, and hide the colors under alpha 0.

    Args:
        channels: (1, C, H, W) float32, C is 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGBA); becomes the picture's own.
        bits: Depth of the source: 8, 16 or 32.
        name: File name for messages.
        warnings: What was noticed while reading.
    """
    count = channels.shape[1]
    has_alpha = count in (2, 4)
    color = channels[:, : count - has_alpha].expand(-1, 3, -1, -1)
    if not has_alpha:
        return Picture(color.contiguous(memory_format=torch.channels_last), None, bits, name, warnings)
    alpha = channels[:, -1:].clamp(0, 1)
    visible = _hide(color, alpha).contiguous(memory_format=torch.channels_last)
    return Picture(visible, alpha.contiguous(), bits, name, warnings)


def to_array(picture: Picture, bits: int | None = None) -> np.ndarray:
    """Return (H, W, 3) or, with alpha, (H, W, 4) samples, rounded and clamped.

    Args:
        picture: Any picture.
        bits: 8 for uint8, 16 for uint16; by default 8 for pictures of 8 bits and 16 for all others.
    """
    deep = (bits or picture.bits) > 8
    channels = picture.rgb if picture.alpha is None else torch.cat([picture.rgb, picture.alpha], dim=1)
    scaled = channels[0].permute(1, 2, 0).clamp(0, 1).mul(65535 if deep else 255).round()
    return np.ascontiguousarray(scaled.numpy().astype(np.uint16 if deep else np.uint8))


def to_pil(picture: Picture) -> Image.Image:
    """Return an 8-bit RGB or RGBA Pillow image."""
    return Image.fromarray(to_array(picture, bits=8))


def check_finite(samples: Tensor, what: str) -> None:
    """Refuse NaN and Inf.

    Raises:
        TensorInputError: SP213, with the count and the first index in the layout of `samples`.
    """
    broken = ~samples.isfinite()
    count = int(broken.sum())
    if count:
        first = tuple(broken.nonzero()[0].tolist())
        raise TensorInputError(
            "SP213",
            f"{what} holds {count} NaN or infinite values, the first at index {first}; all values must be finite.",
            "Find out where they come from; replacing them would hide it.",
            {"count": count, "first": list(first)},
        )


def _hide(color: Tensor, alpha: Tensor) -> Tensor:
    """Replace colors nobody can see, which may be anything, by the mean of the visible ones."""
    weight = _total(alpha)
    if not weight > 0:
        return torch.where(alpha > 0, color, 0.5)
    return torch.where(alpha > 0, color, (_total(color * alpha) / weight).to(color))


def _total(channels: Tensor) -> Tensor:
    """Add up each channel, row by row: a sum over all pixels at once is shared out to threads and rounds with them."""
    return channels.sum(3, keepdim=True, dtype=torch.float64).sum(2, keepdim=True)
