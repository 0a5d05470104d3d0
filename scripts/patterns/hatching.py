"""Pen, pencil and burin: lines whose density is the tone, on paper."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from .palettes import Palette, luminance
from .scenes import SIDE, clouds, color, grid, scene, spread
from .surfaces import lit, tooth

_FINE = 2
"""Lines are drawn at this multiple of the size."""


def crosshatched(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """One layer of parallel lines after the other, each only where it is darker."""
    tone, angle = _tone(rng, palette), rng.uniform(0, np.pi)
    sheet = _Sheet(rng, palette.light)
    for k, darker in enumerate((0.78, 0.58, 0.4, 0.24)):
        sheet.hatch(tone < darker, angle + (0, 1.1, 0.5, 1.7)[k], 6.5 - 0.6 * k, palette.dark, bend=0.15)
    return sheet.finished()


def curved(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """Lines that bend with the forms, in two inks."""
    tone, angle = _tone(rng, palette), rng.uniform(0, np.pi)
    sheet = _Sheet(rng, palette.light)
    sheet.hatch(tone < 0.8, angle, 7, palette.colors[2], bend=1.6)
    sheet.hatch(tone < 0.55, angle + 0.9, 6, palette.dark, bend=1.6)
    sheet.hatch(tone < 0.3, angle + 0.3, 5, palette.dark, bend=1.6)
    return sheet.finished()


def pencils(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """Colored pencils: every area in strokes of its own color and slant, with others over it."""
    plan = scene(rng, palette)
    sheet = _Sheet(rng, 0.35 * palette.light + 0.65 * np.array([246.0, 242.0, 232.0]))
    nearest = ((plan[:, :, None] - palette.colors) ** 2).sum(axis=3).argmin(axis=2)
    for k in range(len(palette.colors) - 1):
        for _ in range(2):
            sheet.hatch(nearest == k, rng.uniform(0, np.pi), 4.2, palette.colors[k], bend=0.3, width=3)
    sheet.hatch(luminance(plan) < 0.35, rng.uniform(0, np.pi), 7, palette.dark, bend=0.3)
    return sheet.finished(grain=0.5)


def toned(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """Dark and white chalk on colored paper, whose own color is the middle tone."""
    tone, angle = _tone(rng, palette), rng.uniform(0, np.pi)
    sheet = _Sheet(rng, palette.colors[3])
    sheet.hatch(tone < 0.45, angle, 6, palette.dark, bend=0.4, width=3)
    sheet.hatch(tone < 0.25, angle + 1, 6, palette.dark, bend=0.4, width=3)
    sheet.hatch(tone > 0.72, angle + 0.2, 6, 0.5 * palette.light + 125, bend=0.4, width=3)
    return sheet.finished(grain=0.6)


def engraved(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """Lines of the burin, which swell where it is dark; a second set crosses them in the shade."""
    tone = _tone(rng, palette)
    y, x = grid()
    angle, bend = rng.uniform(0, np.pi), 0.12 * clouds(rng, 2)
    printed = np.zeros((SIDE, SIDE))
    for turn, darkest in ((0, 1.0), (1.2, 0.45)):
        across = (x * np.cos(angle + turn) + y * np.sin(angle + turn) + bend) * rng.uniform(75, 95)
        far = np.abs(across % 1 - 0.5) * 2
        swell = np.clip(1 - tone / darkest, 0, 1) * 0.95
        printed = np.maximum(printed, np.clip((swell - far) * 3 + 0.5, 0, 1) * (swell > 0.06))
    ground = lit(np.broadcast_to(palette.light, (SIDE, SIDE, 3)), tooth(rng), 0.2)
    return ground + (palette.dark - ground) * printed[..., None]


def _tone(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """Return the lightness of a scene, (SIDE, SIDE), spread over 0 to 1."""
    return spread(luminance(scene(rng, palette)))


class _Sheet:
    """Paper, and what is drawn on it."""

    def __init__(self, rng: np.random.Generator, paper: np.ndarray) -> None:
        self.rng, self.paper = rng, paper
        self.image = Image.new("RGB", (SIDE * _FINE, SIDE * _FINE), color(paper))
        self.bend = clouds(rng, 2.5)

    def hatch(
        self, where: np.ndarray, angle: float, spacing: float, ink: np.ndarray, *, bend: float, width: int = 2
    ) -> None:
        """Fill (SIDE, SIDE) places with lines, `spacing` pixels apart, each lifted and set down now and then."""
        rng, draw = self.rng, ImageDraw.Draw(self.image)
        along = np.arange(-0.75 * SIDE, 0.75 * SIDE, 5.0)
        rows = np.arange(-0.75 * SIDE, 0.75 * SIDE, spacing)
        rows = rows + rng.normal(0, 0.14 * spacing, len(rows))
        drift = np.cumsum(rng.normal(0, 0.16, (len(rows), len(along))), axis=1)
        v = rows[:, None] + drift - drift.mean(axis=1, keepdims=True)
        x = SIDE / 2 + along * np.cos(angle) - v * np.sin(angle)
        y = SIDE / 2 + along * np.sin(angle) + v * np.cos(angle)
        column, row = (part.astype(int).clip(0, SIDE - 1) for part in (x, y))
        lift = bend * 60 * (self.bend[row, column] - 0.5)
        x, y = x - lift * np.sin(angle), y + lift * np.cos(angle)
        inside = (x >= 0) & (x < SIDE) & (y >= 0) & (y < SIDE)
        column, row = (part.astype(int).clip(0, SIDE - 1) for part in (x, y))
        drawn = inside & where[row, column] & (rng.random(x.shape) > 0.03)
        points = np.stack([x, y], axis=2) * _FINE
        for k in range(len(rows)):
            for first, last in _runs(drawn[k]):
                pressed = ink * rng.normal(1, 0.12)
                draw.line(points[k, first:last].ravel().tolist(), color(pressed), width=width)

    def finished(self, grain: float = 0.0) -> np.ndarray:
        """Return the sheet at its final size; with `grain`, the ink misses the hollows of the paper."""
        drawn = np.asarray(self.image.reduce(_FINE), float)
        heights = tooth(self.rng)
        missed = grain * np.clip(1.6 - 3 * heights, 0, 1)[..., None]
        return lit(drawn + (self.paper - drawn) * missed, heights, 0.25)


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Return first and last + 1 of each run of at least two true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(first, last) for first, last in edges.reshape(-1, 2).tolist() if last - first > 1]


DRAWN = (crosshatched, curved, pencils, toned, engraved)
