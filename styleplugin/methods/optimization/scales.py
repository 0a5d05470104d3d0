"""The scales of a coarse-to-fine run: how large each is, and how many of the steps it gets."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

SMALLEST_SCALE = 128
"""Shorter side in pixels of the smallest picture that a coarse scale works at."""


@dataclass(frozen=True)
class Scale:
    """A size at which the picture is optimized for a while."""

    factor: float
    """Of the sides of the picture, at most 1."""
    size: tuple[int, int]
    """(height, width) in pixels."""
    steps: int

    def work(self, steps: int) -> float:
        """Return what some steps cost, in pixels."""
        height, width = self.size
        return float(steps * height * width)


def coarse_to_fine(size: tuple[int, int], scales: int, steps: int) -> list[Scale]:
    """Return the scales of a run, coarsest first; those too small to show anything are left out.

    Args:
        size: (height, width) of the picture.
        scales: At most so many, each half as large as the next.
        steps: Of all scales together. Coarse ones, which are cheap, get more; each gets one at least.
    """
    factors = [0.5**i for i in reversed(range(scales))]
    factors = [factor for factor in factors if factor == 1 or min(size) * factor >= SMALLEST_SCALE]
    parts = range(len(factors), 0, -1)
    counts = [max(1, steps * part // sum(parts)) for part in parts]
    counts[-1] = max(1, steps - sum(counts[:-1]))
    height, width = size
    return [
        Scale(factor, (max(1, round(height * factor)), max(1, round(width * factor))), count)
        for factor, count in zip(factors, counts, strict=True)
    ]


def resized(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (1, C, H, W) to (height, width), with antialiasing; values may leave the picture's range by a little."""
    if picture.shape[2:] == size:
        return picture
    return F.interpolate(picture, size=size, mode="bicubic", antialias=True)
