"""Paper and canvas with thin paint: washes, glazes, dry brushes."""

from __future__ import annotations

import numpy as np

from scripts.draw_samples import blend, noise

from .palettes import Palette
from .scenes import SIDE, clouds, grid, scene, spread
from .surfaces import brushed, lit, tooth, weave

_WHITE = np.array([246.0, 242.0, 232.0])


def watercolor(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """Washes over each other on rough paper: darker where they dried, grainy in its hollows."""
    paper, heights = 0.25 * palette.light + 0.75 * _WHITE, tooth(rng)
    pixels = np.broadcast_to(paper, (SIDE, SIDE, 3))
    for ink in palette.shuffled(rng)[:5]:
        field = clouds(rng, rng.uniform(1.5, 4)) + 0.06 * clouds(rng, 16)
        inside = field - np.quantile(field, rng.uniform(0.4, 0.65))
        wash = np.clip(inside / 0.012, 0, 1)
        edge = np.exp(-((inside / 0.022) ** 2)) * wash
        load = wash * (0.28 + 0.3 * clouds(rng, 3) + 0.35 * edge + 0.16 * (0.5 - heights))
        pixels = pixels * (1 - load[..., None] * (1 - ink / 255))
    return lit(pixels, heights, 0.25)


def wet(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """A scene in washes that run into each other."""
    plan, heights = scene(rng, palette), tooth(rng)
    y, x = (part * SIDE for part in grid())
    for cells, reach in ((5, 40), (18, 12)):
        row, column = ((part + reach * 2 * (clouds(rng, cells) - 0.5)).astype(int).clip(0, SIDE - 1) for part in (y, x))
        plan = plan[row, column]
    load = (0.55 + 0.55 * clouds(rng, 4) + 0.25 * (0.5 - heights)).clip(0, 1)
    return lit(blend(np.broadcast_to(_WHITE, plan.shape), plan, load), heights, 0.25)


def canvas(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """Thin oil rubbed into canvas: what stands up stays light."""
    threads = weave(rng, rng.uniform(60, 100))
    plan, rubbed = scene(rng, palette), 0.6 * clouds(rng, 4) + 0.4 * clouds(rng, 12)
    load = np.clip(1.25 - 0.55 * threads * (0.4 + rubbed), 0, 1)
    pixels = blend(np.broadcast_to(0.6 * palette.light + 0.4 * _WHITE, plan.shape), plan, load)
    return lit(pixels * (0.92 + 0.16 * rubbed)[..., None], threads, 0.16)


def scumbled(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """A dry brush that drags light paint over dark, on linen."""
    slant = rng.uniform(0, np.pi)
    furrows = brushed(rng, slant + 1.2 * (clouds(rng, 2) - 0.5), length=24)
    threads = weave(rng, 110)
    below, above = 0.65 * scene(rng, palette) + 0.35 * palette.dark, scene(rng, palette)
    load = np.clip((furrows + 0.5 * clouds(rng, 4) + 0.15 * threads - 0.75) * 4, 0, 1)
    return lit(blend(below, above, load), 0.6 * load + 0.25 * threads, 0.3)


def marbled(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """Marbled paper: drops of color combed on water."""
    y, x = grid()
    for cells, reach in ((2, 0.3), (5, 0.12)):
        y, x = y + reach * (clouds(rng, cells) - 0.5), x + reach * (clouds(rng, cells) - 0.5)
    combed = y * rng.uniform(6, 10) + 0.35 * np.abs((x * rng.uniform(5, 9)) % 1 - 0.5) * 2
    field = spread(np.sin(2 * np.pi * (combed + 0.5 * clouds(rng, 7))) + 0.8 * clouds(rng, 3))
    inks, edges = palette.shuffled(rng), np.linspace(0, 1, 13)[1:-1]
    band = np.searchsorted(edges, field)
    vein = np.clip(1 - np.abs(field[..., None] - edges).min(axis=2) / 0.008, 0, 1)
    pixels = blend(inks[band % len(inks)], 0.5 * palette.light + 0.5 * _WHITE, 0.7 * vein)
    return lit(pixels * (0.93 + 0.14 * noise(rng, (SIDE, SIDE), (30, 30)))[..., None], tooth(rng), 0.12)


DRAWN = (watercolor, wet, canvas, scumbled, marbled)
