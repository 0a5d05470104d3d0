"""Cloth and hatching in flat parts, as a loss: no direction may have most of the power.

Networks of small strided kernels find the pixel axes by themselves, and styles' statistics do not forbid it: a sky
becomes linen. Where the content has nothing to say, strokes may go anywhere, but not in one direction everywhere. A
loss against the axes alone drives them to the diagonals, and one against both to a mixture of cloth and hatching.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from styleplugin.images.color.conversions import luminance

SIDE = 32
"""Of a window, in pixels; windows overlap by half."""
FLAT = 0.03
"""Deviation of the content's luma at which a window counts half."""
DIRECTIONS = 8
"""Of the frequencies, 22.5 degrees each; the first is that of a row, the fifth that of a column."""
ALLOWED = 0.15
"""Share of a direction in the power; all together 1, and an eighth where no direction counts more than another."""
_NOTHING = 1e-6


def weave_error(output: Tensor, content: Tensor) -> Tensor:
    """Return by how much directions have more than `ALLOWED` of the power, squares summed up, mean over pictures.

    Args:
        output: (N, 3, H, W) in [0, 1], sides of at least 32.
        content: Of the same shape; windows in which it is flat count.
    """
    with torch.autocast(output.device.type, enabled=False):
        window = torch.hann_window(SIDE, periodic=False, dtype=torch.float32, device=output.device)
        weights = 1 / (1 + (_windows(content).std((2, 3)) / FLAT).square())
        spectrum = torch.fft.rfft2(_windows(output) * window * window[:, None])
        power = spectrum.real.square() + spectrum.imag.square()
        by_direction = power.flatten(2) @ _directions(power.device) + _NOTHING
        shares = by_direction / by_direction.sum(2, keepdim=True)
        share = (weights[..., None] * shares).sum(1) / weights.sum(1, keepdim=True)
        return (share - ALLOWED).relu().square().sum(1).mean()


def _windows(images: Tensor) -> Tensor:
    """Return luma in windows, each less its least-squares plane, (N, windows, 32, 32) float32."""
    windows = F.unfold(luminance(images.float()), SIDE, stride=SIDE // 2).transpose(1, 2).unflatten(2, (SIDE, SIDE))
    # On a grid the constant and the two slopes are orthogonal: each is removed on its own.
    slope = torch.arange(SIDE, dtype=torch.float32, device=images.device) - (SIDE - 1) / 2
    down, right = (windows.mean(axis) @ slope / slope.square().sum() for axis in (3, 2))
    planes = down[..., None, None] * slope[:, None] + right[..., None, None] * slope
    return windows - windows.mean((2, 3), keepdim=True) - planes


@cache
def _directions(device: torch.device) -> Tensor:
    """Return what brings a spectrum to the mean power of each direction, periods of 3 to 16 px: (32 * 17, 8)."""
    down = torch.fft.fftfreq(SIDE, dtype=torch.float32, device="cpu")[:, None]
    right = torch.fft.rfftfreq(SIDE, dtype=torch.float32, device="cpu")[None]
    length = down.hypot(right)
    in_band = (length >= 1 / 16) & (length <= 1 / 3)
    direction = (torch.atan2(down, right) * DIRECTIONS / torch.pi).round().long() % DIRECTIONS
    belongs = (
        direction.flatten()[:, None] == torch.arange(DIRECTIONS, dtype=torch.int64, device="cpu")
    ) & in_band.flatten()[:, None]
    return (belongs / belongs.sum(0)).to(device)
