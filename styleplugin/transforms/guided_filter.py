"""Edge-aware smoothing: a picture follows the edges of another one, the guide.

Source: He, Sun and Tang 2013, "Guided Image Filtering", equations 16 and 19 to 21 (color guide).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

FLATNESS = 4e-4
"""Variance of the guide, in squared units of [0, 1], under which a window counts as flat and is smoothed."""


def guided_filter(
    guide: Tensor, picture: Tensor, radius: int, *, weights: Tensor | None = None, flatness: float = FLATNESS
) -> Tensor:
    """Smooth a picture where its guide is smooth.

    A value depends on those within two radii on all sides.

    Args:
        guide: (1, 3, H, W) in [0, 1].
        picture: (1, C, H, W), of the same size.
        radius: Of the square window, in pixels; windows end at the picture's edges.
        weights: (1, 1, H, W), how much each pixel counts in the windows around it; those that do not, change nothing.
        flatness: See `FLATNESS`.

    Returns:
        (1, C, H, W), float32, computed in float64; may leave the range of the picture by a little.
    """
    guide, picture = guide.double(), picture.double()
    mean_of = _means(weights, radius)
    mean, target = mean_of(guide), mean_of(picture)
    products = torch.stack([guide[:, i] * guide[:, j] for i, j in _PAIRS], 1)
    covariance = mean_of(products) - torch.stack([mean[:, i] * mean[:, j] for i, j in _PAIRS], 1)
    covariance[:, [0, 3, 5]] += flatness
    inverse = _inverse(covariance)
    outputs = []
    for channel in range(picture.shape[1]):
        value, middle = picture[:, channel : channel + 1], target[:, channel : channel + 1]
        cross = mean_of(guide * value) - mean * middle
        slope = torch.stack([(inverse[row] * cross).sum(1) for row in range(3)], 1)
        offset = middle - (slope * mean).sum(1, keepdim=True)
        line = mean_of(torch.cat([slope, offset], 1))
        outputs.append((line[:, :3] * guide).sum(1, keepdim=True) + line[:, 3:])
    return torch.cat(outputs, 1).float()


def _means(weights: Tensor | None, radius: int) -> Callable[[Tensor], Tensor]:
    """Return what takes the mean over windows, of what counts; where nothing does, all counts a very little."""
    if weights is None:
        return lambda x: _box(x, radius)
    weights = weights.double() + 1e-9
    total = _box(weights, radius)
    return lambda x: _box(x * weights, radius) / total


_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


def _inverse(symmetric: Tensor) -> list[Tensor]:
    """Return the three rows, (N, 3, H, W) each, of the inverse of 3x3 matrices given by their upper halves."""
    a, b, c, d, e, f = symmetric.unbind(1)
    upper = [d * f - e * e, c * e - b * f, b * e - c * d, a * f - c * c, b * c - a * e, a * d - b * b]
    determinant = a * upper[0] + b * upper[1] + c * upper[2]
    entries = [entry / determinant for entry in upper]
    return [torch.stack([entries[k] for k in row], 1) for row in ((0, 1, 2), (1, 3, 4), (2, 4, 5))]


def _box(x: Tensor, radius: int) -> Tensor:
    """Return the mean over windows that end at the edges, along columns and then along rows."""
    size = 2 * radius + 1
    # In this order in memory the pooling is twice as fast.
    x = x.contiguous(memory_format=torch.channels_last)
    x = F.avg_pool2d(x, (1, size), 1, (0, radius), count_include_pad=False)
    return F.avg_pool2d(x, (size, 1), 1, (radius, 0), count_include_pad=False)
