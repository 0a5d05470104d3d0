"""Cloth and hatching in flat parts, as a loss: neither the pixel axes nor the diagonals may have most of the power.

Networks of small strided kernels find the axes by themselves, and styles' statistics do not forbid it: a sky becomes
linen. Where the content has nothing to say, strokes may go anywhere, but not there above all. A loss against the axes
alone drives them to the diagonals.
"""

from __future__ import annotations

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from styleplugin.images.color import luminance

SIDE = 32
"""Of a window, in pixels; windows overlap by half."""
FLAT = 0.03
"""Deviation of the content's luma at which a window counts half."""
ALLOWED = 0.08
"""How far from a half the share of the axes in the power of axes and diagonals may be: paintings have up to 0.58."""
_AXIS, _DIAGONAL = math.tan(math.radians(15)), math.tan(math.radians(30))
"""Slopes within 15 degrees of an axis are below the first, those within 15 degrees of a diagonal above the second."""
_NOTHING = 1e-6


def weave_error(output: Tensor, content: Tensor) -> Tensor:
    """Return how much farther than `ALLOWED` the share of the axes is from a half, squared, mean over pictures.

    Args:
        output: (N, 3, H, W) in [0, 1], sides of at least 32.
        content: Of the same shape; windows in which it is flat count.
    """
    window = torch.hann_window(SIDE, periodic=False, dtype=torch.float32, device=output.device)
    weights = 1 / (1 + (_windows(content).std((2, 3)) / FLAT).square())
    spectrum = torch.fft.rfft2(_windows(output) * window * window[:, None])
    power = spectrum.real.square() + spectrum.imag.square()
    along, across = (power[..., mask.to(power.device)].mean(-1) + _NOTHING for mask in _directions())
    share = (weights * along / (along + across)).sum(1) / weights.sum(1)
    return ((share - 0.5).abs() - ALLOWED).relu().square().mean()


def _windows(images: Tensor) -> Tensor:
    """Return luma in windows, each less its least-squares plane, (N, windows, 32, 32) float32."""
    windows = F.unfold(luminance(images.float()), SIDE, stride=SIDE // 2).transpose(1, 2).unflatten(2, (SIDE, SIDE))
    # On a grid the constant and the two slopes are orthogonal: each is removed on its own.
    slope = torch.arange(SIDE, dtype=torch.float32, device=images.device) - (SIDE - 1) / 2
    down, right = (windows.mean(axis) @ slope / slope.square().sum() for axis in (3, 2))
    planes = down[..., None, None] * slope[:, None] + right[..., None, None] * slope
    return windows - windows.mean((2, 3), keepdim=True) - planes


@cache
def _directions() -> tuple[Tensor, Tensor]:
    """Return where the frequencies near the axes and near the diagonals are, periods of 3 to 16 px, (32, 17) each."""
    down = torch.fft.fftfreq(SIDE, dtype=torch.float32, device="cpu")[:, None].abs()
    right = torch.fft.rfftfreq(SIDE, dtype=torch.float32, device="cpu")[None]
    length, small, large = down.hypot(right), torch.minimum(down, right), torch.maximum(down, right)
    in_band = (length >= 1 / 16) & (length <= 1 / 3)
    return in_band & (small <= _AXIS * large), in_band & (small >= _DIAGONAL * large)
