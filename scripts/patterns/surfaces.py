"""Surfaces: paper, canvas and thick paint, seen by light from the upper left."""

from __future__ import annotations

from functools import cache

import numpy as np

from scripts.draw_samples import noise

from .scenes import SIDE, clouds, grid


def lit(pixels: np.ndarray, heights: np.ndarray, depth: float) -> np.ndarray:
    """Shade (H, W, 3) pixels by the slopes of (H, W) heights; `depth` is the change of light at a slope of 1."""
    slope = np.gradient(heights, axis=0) + np.gradient(heights, axis=1)
    return pixels * (1 + (depth * slope).clip(-0.4, 0.4))[..., None]


def tooth(rng: np.random.Generator) -> np.ndarray:
    """Return the heights of rough paper, (SIDE, SIDE) in 0 to 1: one sheet that goes on at its edges, moved."""
    return np.roll(_sheet(), rng.integers(SIDE, size=2), axis=(0, 1))


@cache
def _sheet() -> np.ndarray:
    return noise(np.random.default_rng(0), (SIDE, SIDE), (90, 90), decay=2.5)


def weave(rng: np.random.Generator, threads: float) -> np.ndarray:
    """Return the heights of canvas with `threads` across, (SIDE, SIDE): threads over and under, none quite straight."""
    y, x = grid()
    bend_x, bend_y = (0.008 * (clouds(rng, 9) - 0.5) for _ in range(2))
    across, down = (x + bend_x) * threads, (y + bend_y) * threads
    over = (np.floor(across) + np.floor(down)) % 2
    thread_down, thread_across = np.abs(np.sin(np.pi * across)), np.abs(np.sin(np.pi * down))
    heights = np.where(over > 0, thread_down, thread_across)
    return heights * (0.7 + 0.3 * tooth(rng))


def brushed(rng: np.random.Generator, flow: np.ndarray, length: int = 14) -> np.ndarray:
    """Return the furrows that bristles leave along (H, W) angles: noise that is averaged along them, 0 to 1.

    Line integral convolution (Cabral and Leedom, 1993), with steps of a pixel and nearest pixels.
    """
    height, width = flow.shape
    grains = rng.random((height, width)).astype(np.float32)
    total = grains.copy()
    step_y, step_x = np.sin(flow).astype(np.float32), np.cos(flow).astype(np.float32)
    for sign in (-1, 1):
        y, x = (part.astype(np.float32) for part in np.mgrid[:height, :width])
        place = np.arange(height * width).reshape(height, width)
        for _ in range(length // 2):
            y, x = y + sign * step_y.take(place), x + sign * step_x.take(place)
            place = y.astype(np.int32) % height * width + x.astype(np.int32) % width
            total += grains.take(place)
    low, high = np.quantile(total[::4, ::4], (0.01, 0.99))
    return ((total - low) / (high - low)).clip(0, 1)
