"""Cloth in flat parts: how much power stands along the pixel axes, and how much there is at all."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .light import light

SIDE = 64
"""Of a tile, in pixels."""
_FLATTEST = 12
_NEAR = 15.0
"""Degrees around an axis or a diagonal."""
_PERIODS = (3, 16)
_NOTHING = 1e-8
"""Power of nothing but rounding; a level of 8 bits has 1e-3. A picture without texture has no preferred axis."""


class Weave(NamedTuple):
    """Both figures of the flattest tiles."""

    weave: float
    """Mean power along the axes over that along the diagonals, periods of 3 to 16 px: 1 isotropic, 3 cloth."""
    flat_deviation: float
    """Mean deviation of the luminance, in [0, 1]: blur cures weave and is no cure."""


def weave(content: Tensor, output: Tensor) -> Weave:
    """Measure the output in the content's flattest tiles.

    Args:
        content: (1, 3, H, W) in [0, 1], sides of at least 64; non-overlapping tiles are cut from the top left, and the
            twelve with the smallest deviation are taken.
        output: The same size.
    """
    return weave_at(flattest(content), output)


def flattest(content: Tensor) -> np.ndarray:
    """Return the numbers of the content's flattest tiles, row by row."""
    return np.argsort(_flat_tiles(content).std((1, 2)), kind="stable")[:_FLATTEST]


def weave_at(tiles: np.ndarray, output: Tensor) -> Weave:
    """Measure the output in the tiles of these numbers."""
    flat = _flat_tiles(output)[tiles]
    window = torch.hann_window(SIDE, dtype=torch.float64).numpy()
    power = np.abs(np.fft.fft2(flat * window * window[:, None])) ** 2
    axes, diagonals = (power[:, mask].mean(1) for mask in _directions())
    return Weave(
        weave=float(np.median((axes + _NOTHING) / (diagonals + _NOTHING))),
        flat_deviation=float(flat.std((1, 2)).mean()),
    )


def _flat_tiles(image: Tensor) -> np.ndarray:
    """Return the luminance of all tiles less its least-squares plane, (tiles, 64, 64)."""
    values = light(image)
    rows, columns = (side // SIDE for side in values.shape)
    if not rows * columns:
        raise ValueError(f"weave needs sides of at least {SIDE} px, not {values.shape[1]} x {values.shape[0]}.")
    values = values[: rows * SIDE, : columns * SIDE].reshape(rows, SIDE, columns, SIDE)
    tiles = values.transpose(0, 2, 1, 3).reshape(rows * columns, SIDE, SIDE)
    # On a grid the constant and the two slopes are orthogonal: each is removed on its own.
    slope = np.arange(SIDE) - (SIDE - 1) / 2
    across, down = (tiles @ slope).mean(1), (slope @ tiles).mean(1)
    planes = across[:, None, None] * slope + down[:, None, None] * slope[:, None]
    return tiles - tiles.mean((1, 2), keepdims=True) - planes / np.square(slope).sum()


@cache
def _directions() -> tuple[np.ndarray, np.ndarray]:
    """Return where the frequencies near the axes and near the diagonals are, (64, 64) each."""
    frequency = np.fft.fftfreq(SIDE)
    down, across = np.meshgrid(frequency, frequency, indexing="ij")
    length = np.hypot(down, across)
    in_band = (length >= 1 / _PERIODS[1]) & (length <= 1 / _PERIODS[0])
    # 0 along an axis, 45 along a diagonal.
    angle = np.degrees(np.arctan2(np.minimum(abs(down), abs(across)), np.maximum(abs(down), abs(across))))
    return in_band & (angle <= _NEAR), in_band & (angle >= 45 - _NEAR)
