"""Brush strokes along a field of directions, from broad to fine."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .palettes import Palette
from .scenes import SIDE, clouds, color, grid, scene
from .surfaces import brushed, lit

_STEP = 5
"""Pixels between the points of a stroke."""
_SOFT = ImageFilter.GaussianBlur(0.6)
"""Smooths the edges that Pillow draws in whole pixels."""


def flowing(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """Long strokes that stream around eddies."""
    return _painted(rng, palette, _eddies(rng), ((500, 90, 14), (900, 70, 9), (700, 45, 5)), depth=0.5)


def daubs(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """Short broad strokes, each with a direction almost its own."""
    flow = 2.5 * clouds(rng, 3) + 1.2 * clouds(rng, 14)
    return _painted(rng, palette, flow, ((800, 22, 17), (1500, 15, 11), (900, 9, 6)), depth=0.8)


def slanted(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """Parallel strokes of one slant."""
    flow = rng.uniform(0, np.pi) + 0.7 * (clouds(rng, 3) - 0.5)
    return _painted(rng, palette, flow, ((600, 48, 12), (1500, 34, 8), (800, 20, 5)), depth=0.5)


def broad(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """A flat brush as wide as a hand, which leaves its bristles."""
    flow = rng.uniform(0, np.pi) + 3 * (clouds(rng, 2) - 0.5)
    return _painted(rng, palette, flow, ((260, 90, 44), (260, 70, 30), (160, 55, 18)), depth=1.0, bristles=5)


def ink(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """A round brush with ink on light paper, thick where it is dark."""
    plan = scene(rng, palette)
    canvas = Image.new("RGB", (SIDE, SIDE), color(palette.light))
    flow = _eddies(rng)
    for count, length, width in ((160, 70, 9), (420, 46, 5), (900, 30, 3)):
        _lay(rng, canvas, plan, flow, count, length, width, tint=0.05, bristles=2, keep_light=True)
    pixels = np.asarray(canvas.filter(_SOFT), float)
    furrows = brushed(rng, flow)
    dry = (furrows > 0.82) & (rng.random(furrows.shape) < 0.8)
    return np.where(dry[..., None], pixels * 0.4 + palette.light * 0.6, pixels)


def _eddies(rng: np.random.Generator) -> np.ndarray:
    """Return directions that stream from side to side and turn around some places, (SIDE, SIDE) angles."""
    y, x = grid()
    slant = rng.uniform(0, 2 * np.pi)
    along, down = np.cos(slant) + 0 * x, np.sin(slant) + 0 * x
    for _ in range(rng.integers(3, 7)):
        place, radius, sense = rng.uniform(0, 1, 2), rng.uniform(0.06, 0.2), rng.choice((-1, 1))
        dy, dx = y - place[0], x - place[1]
        pull = sense * 7 * np.exp(-(dy**2 + dx**2) / radius**2) / radius
        along, down = along - pull * dy, down + pull * dx
    return np.arctan2(down, along) + 1.6 * (clouds(rng, 4) - 0.5)


def _painted(
    rng: np.random.Generator,
    palette: Palette,
    flow: np.ndarray,
    layers: tuple[tuple[int, int, int], ...],
    *,
    depth: float,
    bristles: int = 3,
) -> np.ndarray:
    """Paint a scene in layers of strokes: how many, how long and how wide; and let light fall on the paint."""
    plan = scene(rng, palette)
    canvas = Image.fromarray((0.6 * plan + 0.4 * palette.dark).astype(np.uint8))
    for count, length, width in layers:
        _lay(rng, canvas, plan, flow, count, length, width, tint=0.09, bristles=bristles)
    pixels = np.asarray(canvas.filter(_SOFT), float)
    heights = brushed(rng, flow) * 0.35 + pixels.mean(axis=2) / 255
    return lit(pixels, heights, depth)


def _lay(
    rng: np.random.Generator,
    canvas: Image.Image,
    plan: np.ndarray,
    flow: np.ndarray,
    count: int,
    length: int,
    width: int,
    *,
    tint: float,
    bristles: int = 1,
    keep_light: bool = False,
) -> None:
    """Lay strokes in the colors of a plan, bristle by bristle, each a little lighter or darker than its stroke."""
    draw = ImageDraw.Draw(canvas)
    points = _paths(rng, flow, count, length)
    middle = points[:, points.shape[1] // 2].astype(int).clip(0, SIDE - 1)
    inks = plan[middle[:, 1], middle[:, 0]] * rng.normal(1, tint, (count, 1)) + rng.normal(0, 60 * tint, (count, 3))
    drawn = inks.mean(axis=1) < 150 if keep_light else np.ones(count, bool)
    normal = np.gradient(points, axis=1)[..., ::-1] * (-1, 1)
    normal /= np.maximum(np.hypot(normal[..., 0], normal[..., 1]), 1e-6)[..., None]
    offsets = (np.arange(bristles) + 0.5) / bristles - 0.5
    shades = rng.normal(1, 0.07, (count, bristles))
    ends = rng.integers(max(2, points.shape[1] - 2), points.shape[1] + 1, (count, bristles))
    for k in np.flatnonzero(drawn):
        paths = (points[k] + offsets[:, None, None] * width * normal[k]).tolist()
        for path, end, shade in zip(paths, ends[k].tolist(), shades[k].tolist(), strict=True):
            draw.line(
                [(x, y) for x, y in path[:end]], color(inks[k] * shade), width=max(1, round(1.15 * width / bristles))
            )


def _paths(rng: np.random.Generator, flow: np.ndarray, count: int, length: int) -> np.ndarray:
    """Follow the directions from random places, (count, points, 2) of x and y."""
    place = rng.uniform(-length / 2, SIDE, (count, 2))
    points = [place]
    for _ in range(max(2, length // _STEP)):
        column, row = place.astype(int).clip(0, SIDE - 1).T
        angle = flow[row, column]
        place = place + _STEP * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        points.append(place)
    return np.stack(points, axis=1)


DRAWN = (flowing, daubs, slanted, broad, ink)
