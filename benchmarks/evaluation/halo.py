"""Glow along edges: what a smooth look leaves in the flat parts beside them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from torch import Tensor

from .areas import box_mean, connected_parts, distance, gaussian
from .light import light

_SMOOTHING = 1.5
_STEP = 0.04
"""Change of the smoothed luminance from pixel to pixel at an edge."""
_FLAT_SIDE, _FLAT_DEVIATION = 7, 0.02
_BANDS = (2, 4, 8, 16, 24)
"""Borders of the distance bands, in pixels from the nearest edge; the far part begins at the last."""
_FARTHEST = 80
_PART_PIXELS, _BAND_PIXELS = 150, 40


def halo(content: Tensor, output: Tensor) -> float:
    """Return the glow beside the content's edges, in levels of 8-bit pictures; nan where no flat part is big enough.

    In each connected flat part the output's luminance is fitted as a * content + b; what is left is averaged over bands
    of distance from the edge, less the average of the far part; RMS over parts and bands, by pixels.

    Args:
        content: (1, 3, H, W) in [0, 1].
        output: The same size.
    """
    before, after = light(content), light(output)
    away = distance(_edges(before), _FARTHEST)
    flat = (_deviation(before) < _FLAT_DEVIATION) & (away >= _BANDS[0]) & np.isfinite(away)
    planes = [plane.ravel() for plane in (before, after, away)]
    glows = [glow for part in connected_parts(flat) for glow in _glows(*(plane[part] for plane in planes))]
    if not glows:
        return float("nan")
    pixels, sizes = np.array(glows).T
    return 255 * float(np.sqrt(np.average(sizes**2, weights=pixels)))


def _glows(before: np.ndarray, after: np.ndarray, away: np.ndarray) -> Iterator[tuple[int, float]]:
    """Yield pixels and mean of each distance band of a flat part, if it is big enough both near and far."""
    far = away >= _BANDS[-1]
    if min(far.sum(), (~far).sum()) < _PART_PIXELS:
        return
    terms = np.stack((before, np.ones_like(before)), 1)
    left = after - terms @ np.linalg.lstsq(terms, after, rcond=None)[0]
    for near, end in pairwise(_BANDS):
        band = (away >= near) & (away < end)
        if band.sum() >= _BAND_PIXELS:
            yield int(band.sum()), float(left[band].mean() - left[far].mean())


def _edges(values: np.ndarray) -> np.ndarray:
    """Return where the smoothed luminance changes fast, (H, W), by central differences."""
    down, across = np.gradient(gaussian(values, _SMOOTHING))
    return np.hypot(down, across) >= _STEP


def _deviation(values: np.ndarray) -> np.ndarray:
    """Return the biased deviation of the 7 x 7 pixels around each."""
    mean, square = (box_mean(power, _FLAT_SIDE) for power in (values, values**2))
    return np.sqrt(np.maximum(square - mean**2, 0))
