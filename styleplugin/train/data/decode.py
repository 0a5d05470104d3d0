"""From the bytes of a training picture to its pixels: by the reader that everybody has, and of a bounded size."""

from __future__ import annotations

import numpy as np
from PIL import Image

from styleplugin.errors import ImageTooLargeError, InputImageError
from styleplugin.images.read import decode_samples

MAX_RATIO = 16
"""Longer and narrower pictures are left out: scaled by their short side, one of 1 x 20,000 fills the memory."""


def decode(data: bytes, name: str, short_side: int, smallest: int) -> np.ndarray:
    """Return the pixels to train on, (H, W, 3) uint8 in sRGB, upright.

    Transparent pictures are laid on the mean of their visible colors: what nobody can see is not trained on.

    Args:
        data: The whole file.
        name: Of the file, for messages.
        short_side: Larger pictures are shrunk to it, by an area average and bicubic interpolation.
        smallest: Smaller pictures are enlarged to it.

    Raises:
        InputImageError: SP2xx, the file cannot be read, is transparent everywhere, or is `MAX_RATIO` times as long as
            wide; the last is told by the header alone.
    """

    def admit(height: int, width: int) -> None:
        if max(height, width) > MAX_RATIO * min(height, width):
            raise ImageTooLargeError(
                "SP205", f"{name!r} is {width} x {height}; the longer side may be {MAX_RATIO} times the shorter."
            )

    image = Image.fromarray(_opaque(decode_samples(data, name, admit=admit), name))
    shorter = min(image.size)
    target = max(min(shorter, short_side), smallest)
    if target != shorter:
        size = [max(target, round(side * target / shorter)) for side in image.size]
        image = image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3)
    return np.asarray(image)


def _opaque(samples: np.ndarray, name: str) -> np.ndarray:
    """Return (H, W, 3) uint8 of (H, W, C) samples of any depth, with or without alpha."""
    has_alpha = samples.shape[2] in (2, 4)
    if samples.dtype == np.uint8 and not has_alpha:
        return np.repeat(samples, 3, 2) if samples.shape[2] == 1 else np.ascontiguousarray(samples)
    largest = 1 if samples.dtype.kind == "f" else np.iinfo(samples.dtype).max
    values = samples.clip(0, largest).astype(np.float32) / np.float32(largest)
    if has_alpha:
        values = _on_its_mean(values[..., :-1], values[..., -1:], name)
    eight_bits = np.rint(values * 255).astype(np.uint8)
    return np.broadcast_to(eight_bits, (*eight_bits.shape[:2], 3)).copy()


def _on_its_mean(color: np.ndarray, alpha: np.ndarray, name: str) -> np.ndarray:
    weight = alpha.sum(dtype=np.float64)
    if weight == 0:
        raise InputImageError("SP206", f"{name!r} is transparent everywhere.")
    mean = ((color * alpha).sum((0, 1), dtype=np.float64) / weight).astype(np.float32)
    return color * alpha + mean * (1 - alpha)
