"""Smoothing, distances and connected parts of a picture's plane, (H, W) of NumPy."""

from __future__ import annotations

import numpy as np


def gaussian(values: np.ndarray, sigma: float) -> np.ndarray:
    """Smooth by a Gaussian, cut off at four deviations; borders are mirrored."""
    radius = int(4 * sigma + 0.5)
    weights = np.exp(-np.square(np.arange(-radius, radius + 1)) / (2 * sigma**2))
    return _filtered(values, weights / weights.sum())


def box_mean(values: np.ndarray, side: int) -> np.ndarray:
    """Return the mean of the `side` x `side` pixels around each, odd; borders are mirrored."""
    return _filtered(values, np.full(side, 1 / side))


def _filtered(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Apply a symmetric kernel along both axes."""
    radius = len(weights) // 2
    for _ in range(2):
        padded = np.pad(values, ((radius, radius), (0, 0)), "symmetric")
        values = sum(weight * padded[k : k + len(values)] for k, weight in enumerate(weights)).T
    return values


def distance(marked: np.ndarray, farthest: int) -> np.ndarray:
    """Return each pixel's Euclidean distance to the nearest marked one; infinite from `farthest` on, in pixels.

    Source: Felzenszwalb and Huttenlocher 2012, the separable form; here every offset up to `farthest` is tried.
    """
    squares = np.where(marked, 0.0, np.inf)
    for _ in range(2):
        padded = np.pad(squares, ((farthest, farthest), (0, 0)), constant_values=np.inf)
        offsets = range(-farthest, farthest + 1)
        squares = np.min([padded[farthest + k : farthest + k + len(squares)] + k * k for k in offsets], axis=0).T
    return np.where(squares < farthest**2, np.sqrt(squares), np.inf)


def connected_parts(mask: np.ndarray) -> list[np.ndarray]:
    """Return the (pixels,) flat indices of each part whose pixels touch by their sides."""
    outside = mask.size
    # Every pixel points to one of its part with a smaller index, until all point to the smallest.
    labels = np.where(mask, np.arange(mask.size).reshape(mask.shape), outside)
    while True:
        padded = np.pad(labels, 1, constant_values=outside)
        around = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:], labels)
        lowest = np.where(mask, np.min(around, axis=0), outside)
        lowest = np.append(lowest.ravel(), outside)[lowest]
        if np.array_equal(lowest, labels):
            break
        labels = lowest
    order = np.argsort(labels, axis=None, kind="stable")[: mask.sum()]
    if not len(order):
        return []
    return np.split(order, np.flatnonzero(np.diff(labels.ravel()[order])) + 1)
