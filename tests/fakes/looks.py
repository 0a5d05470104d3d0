"""Looks and colors that several tests share."""

import torch

from styleplugin.images.looks.table import LUT


def smooth_look(size: int) -> LUT:
    """A table as stylizations have them: warm lights, cold shadows, a curve."""
    colors = LUT.identity(size).table
    curve = colors**1.4 * (1.6 - 0.6 * colors)
    tint = torch.tensor([0.1, 0.0, -0.1]) * (colors.mean(-1, keepdim=True) - 0.5)
    return LUT((0.8 * curve + 0.1 + tint + 0.1 * (curve.flip(-1) - curve)).clamp(0, 1), "warm")


def colors(count: int = 400, seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 3, 20, count // 20, generator=torch.Generator().manual_seed(seed))
