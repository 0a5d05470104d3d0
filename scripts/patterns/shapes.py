"""Flat shapes: cut paper, posters and compositions of circles and bars."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .palettes import Palette
from .scenes import SIDE, clouds, color, grid
from .surfaces import lit, tooth

_FINE = 2
"""Shapes are drawn at this multiple of the size."""
_LARGE = SIDE * _FINE
_DEPTH = 0.16
"""How much the grain of the paper is seen."""


def layers(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """Sheets of paper behind one another, each with a wavy edge and a shadow on the next."""
    image = Image.new("RGB", (_LARGE, _LARGE), color(palette.light))
    columns = np.arange(-20, _LARGE + 21, 10)
    count = rng.integers(5, 8)
    inks = palette.colors[:-1][:: -1 if rng.random() < 0.7 else 1]
    for k in range(count):
        waves = sum(rng.uniform(10, 60) / n * np.sin(columns / _LARGE * 6.3 * n + rng.uniform(0, 6)) for n in (1, 2, 3))
        edge = _LARGE * (0.12 + 0.86 * k / count) + waves
        outline = list(zip(columns.tolist(), edge.tolist(), strict=True))
        _paste(image, [*outline, (_LARGE, _LARGE), (0, _LARGE)], inks[k % len(inks)])
    return _papered(rng, image)


def cutouts(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """Leaves and weeds cut with scissors, on rectangles of colored paper."""
    image = Image.new("RGB", (_LARGE, _LARGE), color(palette.light))
    draw = ImageDraw.Draw(image)
    for x in range(0, _LARGE, _LARGE // 3 + 1):
        for y in range(0, _LARGE, _LARGE // 3 + 1):
            ink = palette.colors[rng.integers(len(palette.colors))]
            draw.rectangle((x, y, x + _LARGE // 3, y + _LARGE // 3), color(ink))
    for place in _places(rng, 13, 210):
        ink = palette.colors[rng.integers(len(palette.colors))]
        _paste(image, _leaf(rng, place, rng.uniform(90, 190)), ink, shadow=6)
    return _papered(rng, image)


def blocks(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """A grid of squares, each with a quarter, a half or a whole circle, a triangle or bars."""
    image = Image.new("RGB", (_LARGE, _LARGE), color(palette.light))
    draw = ImageDraw.Draw(image)
    count = int(rng.integers(4, 8))
    side = _LARGE / count
    for row in range(count):
        for column in range(count):
            ground, ink = palette.colors[rng.permutation(len(palette.colors))[:2]]
            left, top = column * side, row * side
            box = (left, top, left + side, top + side)
            draw.rectangle(box, color(ground))
            kind, turn = rng.integers(5), 90 * int(rng.integers(4))
            if kind == 0:
                dx, dy = ((0, 0), (1, 0), (1, 1), (0, 1))[turn // 90]
                middle = left + dx * side, top + dy * side
                around = (middle[0] - side, middle[1] - side, middle[0] + side, middle[1] + side)
                draw.pieslice(around, turn, turn + 90, color(ink))
            elif kind == 1:
                draw.pieslice(box, turn, turn + 180, color(ink))
            elif kind == 2:
                inner = side * 0.18
                draw.ellipse((left + inner, top + inner, left + side - inner, top + side - inner), color(ink))
            elif kind == 3:
                corners = [(left, top), (left + side, top), (left + side, top + side), (left, top + side)]
                draw.polygon([corners[k] for k in range(4) if k != turn // 90], color(ink))
            else:
                for k in range(4):
                    y = top + (2 * k + 0.5) * side / 8
                    draw.rectangle((left, y, left + side, y + side / 8), color(ink))
    return _papered(rng, image)


def composition(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """Bars, discs and triangles that float on a light ground, most of them along one diagonal."""
    image = Image.new("RGB", (_LARGE, _LARGE), color(0.5 * palette.light + 0.5 * np.array([244.0, 238.0, 224.0])))
    slant = rng.uniform(0.3, 1.2)
    for place in _places(rng, 18, 150):
        ink = palette.colors[rng.integers(len(palette.colors) - 1)]
        angle, size = slant + rng.choice((0, np.pi / 2)) + rng.normal(0, 0.06), rng.uniform(40, 240)
        kind = rng.integers(4)
        if kind == 0:
            turns = np.linspace(0, 2 * np.pi, 60)
            outline = np.stack([np.cos(turns), np.sin(turns)], axis=1) * size * 0.45
        elif kind == 1:
            outline = np.array([(-1, -0.6), (1, -0.5), (0.1, 0.9)]) * size * 0.7
        else:
            thin = rng.uniform(0.05, 0.3)
            outline = np.array([(-1, -thin), (1, -thin), (1, thin), (-1, thin)]) * size
        turn = np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
        _paste(image, [(x, y) for x, y in (outline @ turn.T + place).tolist()], ink, shadow=0)
    return _papered(rng, image)


def discs(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """Discs of rings whose quarters change color, overlapping."""
    y, x = (part * SIDE for part in grid())
    pixels = np.broadcast_to(palette.light, (SIDE, SIDE, 3)).copy()
    for place in _places(rng, 9, 150) / _FINE:
        radius, rings = rng.uniform(60, 150), rng.integers(3, 6)
        far = np.hypot(x - place[0], y - place[1])
        quarter = np.floor((np.arctan2(y - place[1], x - place[0]) + rng.uniform(0, 1)) / (np.pi / 2)).astype(int) % 2
        ring = (far / radius * rings).astype(int).clip(0, rings - 1)
        inks = palette.colors[rng.integers(len(palette.colors), size=(rings, 2))]
        inside = np.clip(radius - far + 0.5, 0, 1)[..., None]
        pixels += (inks[ring, quarter] - pixels) * inside
    smooth = Image.fromarray(pixels.astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.7))
    return lit(np.asarray(smooth, float) * (0.9 + 0.2 * clouds(rng, 5))[..., None], tooth(rng), _DEPTH)


def _leaf(rng: np.random.Generator, place: np.ndarray, size: float) -> list[tuple[float, float]]:
    """Return the outline of a weed with rounded fingers on both sides of a bent stem."""
    fingers, bend = rng.integers(3, 6), rng.normal(0, 0.5)
    t = np.linspace(0, 1, 160)
    lobes = np.abs(np.sin(np.pi * fingers * t)) ** 0.7 * np.sin(np.pi * t) ** 0.4 * 0.55 + 0.05
    spine = np.stack([bend * (t - 0.5) ** 2, t - 0.5], axis=1)
    side = np.stack([lobes, 0.12 * lobes], axis=1)
    outline = np.concatenate([spine + side, (spine - side * (1, -1))[::-1]]) * size * 2
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
    return [(x, y) for x, y in (outline @ turn.T + place).tolist()]


def _places(rng: np.random.Generator, count: int, apart: float) -> np.ndarray:
    """Return up to `count` places on the large sheet, (N, 2), none nearer than `apart` to another."""
    found: list[np.ndarray] = []
    for place in rng.uniform(0, _LARGE, (400, 2)):
        if len(found) < count and all(np.hypot(*(place - other)) > apart for other in found):
            found.append(place)
    return np.stack(found)


def _paste(image: Image.Image, outline: list[tuple[float, float]], ink: np.ndarray, *, shadow: int = 14) -> None:
    """Lay a shape of paper, with a soft shadow to the lower right."""
    if shadow:
        small = Image.new("L", (_LARGE // 4, _LARGE // 4))
        ImageDraw.Draw(small).polygon([((x + shadow) / 4, (y + shadow) / 4) for x, y in outline], 110)
        small = small.filter(ImageFilter.GaussianBlur(shadow / 4))
        image.paste((20, 16, 18), (0, 0), small.resize(image.size, Image.Resampling.BILINEAR))
    ImageDraw.Draw(image).polygon(outline, color(ink))


def _papered(rng: np.random.Generator, image: Image.Image) -> np.ndarray:
    """Return a drawing at its final size, with the grain of paper and inks that are not quite even."""
    pixels = np.asarray(image.reduce(_FINE), float) * (0.95 + 0.1 * clouds(rng, 6))[..., None]
    return lit(pixels, tooth(rng), _DEPTH)


DRAWN = (layers, cutouts, blocks, composition, discs)
