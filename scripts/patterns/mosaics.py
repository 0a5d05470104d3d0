"""Mosaics: stones and glass in grout or lead."""

from __future__ import annotations

import numpy as np

from scripts.draw_samples import noise

from .palettes import Palette
from .scenes import SIDE, clouds, grid, scene
from .surfaces import lit, tooth


def pebbles(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """Stones of no shape in particular: the cells of scattered points, with grout between them."""
    near, second, cell = _cells(rng, rng.uniform(14, 22), jitter=0.9)
    stones = _stones(rng, scene(rng, palette), near)
    bump = np.clip((second - cell) * 0.5, 0, 1)
    return _set(rng, stones, bump, np.clip((second - cell) - 1.6, 0, 1), 0.7 * palette.dark + 40)


def tesserae(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """Cut cubes, almost square, in rows that bend."""
    size, angle = rng.uniform(10, 15), rng.uniform(-0.6, 0.6)
    y, x = (part * SIDE / size for part in grid())
    bend = 3.2 * clouds(rng, 2.2)
    across, down = x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle) + bend
    return _rows(rng, palette, across, down, size)


def rounds(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """Cut cubes in circles around a place."""
    size, center = rng.uniform(11, 15), rng.uniform(0.2, 0.8, 2)
    y, x = ((part - place) * SIDE / size for part, place in zip(grid(), center, strict=True))
    ring = np.hypot(x, y)
    count = np.maximum(np.round(2 * np.pi * (np.floor(ring) + 0.5)), 3)
    return _rows(rng, palette, np.arctan2(y, x) / (2 * np.pi) * count + 1000, ring, size)


def glass(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """A window: large panes that glow in their middle, and lead."""
    near, second, cell = _cells(rng, rng.uniform(38, 58), jitter=0.95)
    inks = palette.colors[rng.integers(1, len(palette.colors), near.max() + 1)][near]
    mixed = 0.6 * inks + 0.4 * _stones(rng, scene(rng, palette), near)
    bubbles = 0.82 + 0.36 * noise(rng, (SIDE, SIDE), (14, 14)) * np.clip((second - cell) / 26, 0.3, 1)
    lead = np.clip((second - cell) - 3.2, 0, 1)[..., None]
    shining = np.clip(1.5 - np.abs(second - cell - 2) * 0.7, 0, 1)[..., None] * 18
    return mixed * 1.12 * bubbles[..., None] * lead + (0.35 * palette.dark + shining) * (1 - lead)


def tiles(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """Glazed tiles of one ornament, turned at random (Truchet)."""
    size = int(rng.choice((32, 48, 64)))
    y, x = (part * SIDE for part in grid())
    row, column = (y // size).astype(int), (x // size).astype(int)
    turn = rng.integers(4, size=(SIDE // size + 1, SIDE // size + 1))[row, column]
    v, u = y % size / size, x % size / size
    for k in (1, 2, 3):
        v, u = np.where(turn >= k, u, v), np.where(turn >= k, 1 - v, u)
    rings = np.minimum(np.hypot(u, v), np.hypot(1 - u, 1 - v))
    inks = palette.shuffled(rng)
    edges = np.sort(rng.uniform(0.15, 0.68, 4))
    pixels = inks[np.searchsorted(edges, rings)]
    border = np.minimum(np.minimum(u, 1 - u), np.minimum(v, 1 - v)) * size
    tint = rng.normal(1, 0.07, (SIDE // size + 1, SIDE // size + 1))[row, column] + 0.2 * (clouds(rng, 6) - 0.5)
    bump = np.clip(border / 5, 0, 1)
    return _set(rng, pixels * tint[..., None], bump, np.clip(border - 1, 0, 1), 0.6 * palette.light + 30)


def _rows(rng: np.random.Generator, palette: Palette, across: np.ndarray, down: np.ndarray, size: float) -> np.ndarray:
    """Cut (SIDE, SIDE) coordinates into cubes, the rows of which are shifted against each other."""
    row = np.floor(down).astype(int) + 500
    across = across + rng.uniform(0, 1, 2000)[row % 2000]
    column = np.floor(across).astype(int)
    stones = _stones(rng, scene(rng, palette), row * 4096 + column)
    u, v = across % 1, down % 1
    gap = np.minimum(np.minimum(u, 1 - u), np.minimum(v, 1 - v)) * size
    return _set(rng, stones, np.clip(gap / 3.5, 0, 1), np.clip(gap - 0.5, 0, 1), 0.5 * palette.dark + 70)


def _cells(rng: np.random.Generator, size: float, jitter: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return which of scattered points is the nearest of a pixel, how far the second is, and how far it is itself."""
    count = int(np.ceil(SIDE / size)) + 4
    places = (np.stack(np.meshgrid(np.arange(count), np.arange(count)), axis=2) - 2) + 0.5
    places = (places + jitter * (rng.random(places.shape) - 0.5)) * size
    y, x = (part * SIDE for part in grid())
    row, column = (y / size).astype(int) + 2, (x / size).astype(int) + 2
    first, second, nearest = np.full(x.shape, 1e9), np.full(x.shape, 1e9), np.zeros(x.shape, int)
    for down in (-1, 0, 1):
        for across in (-1, 0, 1):
            place = places[row + down, column + across]
            far = np.hypot(x - place[..., 0], y - place[..., 1])
            second = np.minimum(second, np.maximum(first, far))
            nearest = np.where(far < first, (row + down) * count + column + across, nearest)
            first = np.minimum(first, far)
    return nearest, second, first


def _stones(rng: np.random.Generator, plan: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Give all pixels of the same number one color: the plan's mean there, a little lighter or darker."""
    _, inverse, count = np.unique(number, return_inverse=True, return_counts=True)
    inverse = inverse.ravel()
    means = np.stack([np.bincount(inverse, plan[..., c].ravel()) / count for c in range(3)], axis=1)
    means = means * rng.normal(1, 0.11, (len(count), 1)) + rng.normal(0, 6, (len(count), 3))
    return means[inverse].reshape(plan.shape)


def _set(
    rng: np.random.Generator, stones: np.ndarray, bump: np.ndarray, is_stone: np.ndarray, grout: np.ndarray
) -> np.ndarray:
    """Set stones with (SIDE, SIDE) heights into rough grout."""
    rough = tooth(rng)
    ground = grout * (0.8 + 0.4 * rough)[..., None]
    pixels = ground + (stones * (0.94 + 0.12 * rough)[..., None] - ground) * is_stone[..., None]
    return lit(pixels, bump, 0.55)


DRAWN = (pebbles, tesserae, rounds, glass, tiles)
