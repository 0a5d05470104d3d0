"""Grain: noise without a direction for the flat parts of a picture.

Whitening makes all directions of the features equally strong. In a clear sky it finds nothing but what the camera and
JPEG have left there, which lies along the pixel axes, and weaves cloth of it. From grain it paints.

The noise is a function of the place in the picture alone: every piece of it has the values of the whole.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from styleplugin.images.box import bands
from styleplugin.images.color.conversions import luminance

DEVIATION = 6 / 255
"""Of each scale of the noise, in [0, 1]."""
_CELLS = (1.0, 4.0)
_COARSEST, _SHARE = 8.0, 72
# Sides of the cells, in pixels: the coarsest ones are a share of the longer side from there on, alike for all sizes.
_RADIUS = 3
# Of the window in which texture is measured.
_PIXELS = 1 << 17
# Pixels that are computed at once: fewer than elsewhere, since each takes some thirty numbers of 64 bits on the way.
_WORD, _ENTRIES, _FAR = 1 << 32, 1 << 16, 1 << 28
# Of the hash, of the table of random numbers, and more than a picture has rows and columns.


def with_grain(picture: Tensor, amount: float) -> Tensor:
    """Add noise where a picture has less texture than the noise would have: as much as makes up for it.

    Args:
        picture: (1, 3, H, W), float32 on the CPU.
        amount: Factor of the noise, above 0; 1 gives flat parts a deviation of 10 levels of 8 bits.

    Returns:
        The same size; the three channels get the same noise, which may leave the picture's range.
    """
    height, width = picture.shape[2:]
    output = torch.empty_like(picture)
    for rows in bands((height, width), _PIXELS):
        noise = grain((height, width), rows, slice(0, width))
        output[:, :, rows] = picture[:, :, rows] + amount * _missing(picture, rows, amount) * noise
    return output


def grain(size: tuple[int, int], rows: slice, columns: slice) -> Tensor:
    """Return a piece of the noise of a picture.

    Args:
        size: (height, width) of the picture.
        rows: Of the piece, with start and stop.
        columns: The same.

    Returns:
        (1, 1, h, w), float32: the sum of white noise in cells of 1 px, of 4 px, and of a 72nd of the longer side, at
        least 8 px, each with mean 0 and `DEVIATION`.
    """
    cells = (*_CELLS, max(_COARSEST, max(size) / _SHARE))
    fine, medium, coarse = (_noise(rows, columns, cell, seed) for seed, cell in enumerate(cells))
    return DEVIATION * (fine + medium + coarse)[None, None]


def _missing(picture: Tensor, rows: slice, amount: float) -> Tensor:
    """Return (1, 1, h, W), the share of the noise that rows lack: 1 without texture, 0 with as much as the noise."""
    top, bottom = max(0, rows.start - _RADIUS), min(picture.shape[2], rows.stop + _RADIUS)
    beyond = (_RADIUS, _RADIUS, _RADIUS - rows.start + top, _RADIUS - bottom + rows.stop)
    light = F.pad(luminance(picture[:, :, top:bottom]), beyond, mode="replicate")
    variance = _window_mean(light.square()) - _window_mean(light).square()
    return (1 - variance / (3 * (amount * DEVIATION) ** 2)).clamp(0, 1).sqrt()


def _window_mean(x: Tensor) -> Tensor:
    """Return the mean of the window around each cell of (N, C, H, W) that has one."""
    side = 2 * _RADIUS + 1
    for dim in (2, 3):
        length = x.shape[dim] - side + 1
        x = _sum(x.narrow(dim, k, length) for k in range(side))
    return x / side**2


def _noise(rows: slice, columns: slice, cell: float, seed: int) -> Tensor:
    """Return (h, w) white noise on a grid of cells, interpolated; mean 0, deviation 1 at every pixel."""
    if cell == 1:
        return _white(rows, columns, seed)
    (row, down), (column, across) = _taps(rows, cell), _taps(columns, cell)
    above, beside = (slice(int(first[0]), int(first[-1]) + 4) for first in (row, column))
    nodes = _white(above, beside, seed)
    row, column = row - row[0], column - column[0]
    lines = _sum(weight * nodes[:, column + k] for k, weight in enumerate(across))
    return _sum(weight[:, None] * lines[row + k] for k, weight in enumerate(down))


def _sum(terms: Iterable[Tensor]) -> Tensor:
    """Add tensors in their order, on which the last bit depends."""
    return functools.reduce(torch.add, terms)


def _taps(pixels: slice, cell: float) -> tuple[Tensor, Tensor]:
    """Return, for the pixels of an axis, the first of the four nodes around and the weights of all: (n,) and (4, n).

    Source: Keys 1981, "Cubic convolution interpolation for digital image processing"; the weights are scaled so that
    the deviation between nodes is that at the nodes.
    """
    place = (_integers(pixels).double() + 0.5) / cell - 0.5
    first = place.floor() - 1
    x = [(place - first - k).abs() for k in range(4)]
    weights = torch.stack([_far(x[0]), _near(x[1]), _near(x[2]), _far(x[3])])
    return first.long(), (weights / weights.square().sum(0).sqrt()).float()


def _near(x: Tensor) -> Tensor:
    return (1.5 * x - 2.5) * x * x + 1


def _far(x: Tensor) -> Tensor:
    return ((2.5 - 0.5 * x) * x - 4) * x + 2


def _white(rows: slice, columns: slice, seed: int) -> Tensor:
    """Return (h, w) random numbers of mean 0 and deviation 1, one for each place of a grid."""
    # Rows and columns are counted from different numbers: the noise is not its own mirror image.
    places = _hashed(_integers(rows) + (2 * seed + 1) * _FAR)[:, None] ^ _hashed(_integers(columns))
    return _NUMBERS[places & (_ENTRIES - 1)]


def _integers(span: slice) -> Tensor:
    return torch.arange(span.start, span.stop, dtype=torch.int64, device="cpu")


def _hashed(x: Tensor) -> Tensor:
    """Mix the bits of 32-bit numbers, held in int64: both factors are below 2^31, so that no product overflows.

    Source: Wellons 2018, "Prospecting for hash functions", the function of two rounds with a bias of 0.11.
    """
    x = x % _WORD
    x = (x ^ (x >> 16)) * 0x21F0AAAD % _WORD
    x = (x ^ (x >> 15)) * 0x735A2D97 % _WORD
    return x ^ (x >> 15)


def _numbers() -> Tensor:
    """Return sums of two uniform numbers of 16 bits, nearly normal, with mean 0 and deviation 1."""
    bits = _hashed(_integers(slice(1, _ENTRIES + 1)))
    deviation = math.sqrt((_ENTRIES**2 - 1) / 6)
    return ((bits % _ENTRIES + bits // _ENTRIES) - (_ENTRIES - 1)).float() / deviation


_NUMBERS = _numbers()
