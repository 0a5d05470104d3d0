"""Dots: of pure color side by side, in the grids of a press, of a pen."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from .palettes import Palette, luminance
from .scenes import SIDE, clouds, color, grid, scene, spread
from .surfaces import lit, tooth, weave

_FINE = 2
"""Dots are drawn at this multiple of the size."""


def pointillist(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """Dabs of the palette's colors, which only together give the color of a place."""
    plan = scene(rng, palette)
    canvas = _Canvas(0.5 * palette.light + 0.5 * plan.mean(axis=(0, 1)))
    for spacing, radius in ((7.0, 4.2), (6.0, 3.2), (8.0, 2.4)):
        places = _scattered(rng, spacing)
        wanted = _at(plan, places) + rng.normal(0, 38, (len(places), 3))
        pure = palette.colors[((wanted[:, None] - palette.colors) ** 2).sum(axis=2).argmin(axis=1)]
        inks = (0.72 * pure + 0.28 * wanted) * rng.normal(1, 0.05, (len(places), 1))
        canvas.dab(places, radius * rng.uniform(0.75, 1.2, len(places)), inks)
    pixels = canvas.finished()
    return lit(pixels, luminance(pixels), 0.35)


def halftone(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """Grids of two or three inks, one over the other, each turned against the others."""
    plan = scene(rng, palette)
    warm = plan[..., 0] - plan[..., 2]
    tones = (spread(1 - luminance(plan)) ** 1.5, spread(warm), clouds(rng, 3))
    inks = (palette.dark, palette.accent, palette.colors[2])
    pixels = lit(np.broadcast_to(palette.light, (SIDE, SIDE, 3)), tooth(rng), 0.2)
    cell, angle = rng.uniform(6, 11), rng.uniform(0, np.pi / 2)
    for k in reversed(range(rng.integers(2, 4))):
        printed = _screen(tones[k] * (0.8 if k == 0 else 0.5), cell, angle + k * np.pi / 6)
        pixels = pixels * (1 - printed[..., None]) + np.minimum(pixels, inks[k]) * printed[..., None]
    return pixels


def stippled(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """Points of a pen, the denser the darker."""
    tone = spread(luminance(scene(rng, palette)))
    canvas = _Canvas(palette.light)
    for spacing, ink in ((3.4, palette.dark), (4.0, palette.dark), (6.0, palette.accent)):
        places = _scattered(rng, spacing)
        places = places[rng.random(len(places)) > 0.1 + 0.95 * _at(tone, places) ** 0.7]
        canvas.dab(places, rng.uniform(0.7, 1.5, len(places)), np.broadcast_to(ink, (len(places), 3)))
    return lit(canvas.finished(), tooth(rng), 0.25)


def ringed(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """Dots in rings around some places, ring by ring of another color, on a dark ground."""
    canvas = _Canvas(0.85 * palette.dark)
    centers = rng.uniform(0, SIDE, (rng.integers(5, 9), 2))
    inks = palette.colors[1:]
    y, x = (part * SIDE for part in grid())
    nearest = np.argmin([np.hypot(x - cx, y - cy) for cx, cy in centers], axis=0)
    for k, (cx, cy) in enumerate(centers):
        order, step = rng.permutation(len(inks)), rng.uniform(11, 15)
        for ring in range(1, 26):
            count = max(1, int(2 * np.pi * ring * step / (step * 1.02)))
            turn = np.arange(count) / count * 2 * np.pi + rng.uniform(0, 1)
            places = np.stack([cx + ring * step * np.cos(turn), cy + ring * step * np.sin(turn)], axis=1)
            places = places[(places >= 0).all(axis=1) & (places < SIDE).all(axis=1)]
            places = places[_at(nearest, places) == k] + rng.normal(0, 0.5, 2)
            ink = inks[order[ring // 2 % len(inks)]] * rng.normal(1, 0.05, (len(places), 1))
            canvas.dab(places, step * rng.uniform(0.36, 0.44, len(places)), ink)
    pixels = canvas.finished()
    return lit(pixels, luminance(pixels) + 0.3 * weave(rng, 90), 0.35)


class _Canvas:
    """A ground, and dots on it."""

    def __init__(self, ground: np.ndarray) -> None:
        self.image = Image.new("RGB", (SIDE * _FINE, SIDE * _FINE), color(ground))

    def dab(self, places: np.ndarray, radii: np.ndarray, inks: np.ndarray) -> None:
        """Draw dots at (N, 2) places of x and y, with (N,) radii in pixels and (N, 3) colors."""
        draw = ImageDraw.Draw(self.image)
        boxes = np.concatenate([places - radii[:, None], places + radii[:, None]], axis=1) * _FINE
        for box, ink in zip(boxes.tolist(), inks.clip(0, 255).astype(int).tolist(), strict=True):
            draw.ellipse(box, tuple(ink))

    def finished(self) -> np.ndarray:
        """Return the picture at its final size."""
        return np.asarray(self.image.reduce(_FINE), float)


def _scattered(rng: np.random.Generator, spacing: float) -> np.ndarray:
    """Return one random place in each square of a grid, (N, 2) of x and y, in random order."""
    count = int(SIDE / spacing) + 1
    corners = np.stack(np.meshgrid(np.arange(count), np.arange(count)), axis=2).reshape(-1, 2)
    return rng.permutation((corners + rng.random(corners.shape)) * spacing)


def _at(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return the values at (N, 2) places of x and y."""
    column, row = places.astype(int).clip(0, SIDE - 1).T
    return values[row, column]


def _screen(tone: np.ndarray, cell: float, angle: float) -> np.ndarray:
    """Return the ink that a grid of round dots lays, (SIDE, SIDE) in 0 to 1; their areas follow (SIDE, SIDE) tones."""
    y, x = (part * SIDE / cell for part in grid())
    across, down = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    far = np.hypot(across % 1 - 0.5, down % 1 - 0.5)
    return np.clip((np.sqrt(tone.clip(0, 1)) * 0.72 - far) * cell + 0.5, 0, 1)


DRAWN = (pointillist, halftone, stippled, ringed)
