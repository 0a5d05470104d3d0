"""Scenes: what a pattern shows before it gets its technique; broad areas of color, as a painting begins."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from scripts.draw_samples import noise

from .palettes import Palette

SIDE = 512
"""Of a finished pattern, pixels."""
_SMALL = 256
"""Scenes are smooth: half the size does."""


def grid(side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """Return y and x of all pixels, (side, side) each, in 0 to 1."""
    y, x = np.mgrid[:side, :side] / side
    return y, x


def clouds(rng: np.random.Generator, cells: float, side: int = SIDE) -> np.ndarray:
    """Return smooth noise of (side, side) in 0 to 1 with `cells` blobs across."""
    small = noise(rng, (128, 128), (cells, cells), decay=3)
    return resized(small, side)


def resized(values: np.ndarray, side: int) -> np.ndarray:
    """Scale (H, W) values to (side, side)."""
    image = Image.fromarray(values.astype(np.float32))
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC), float)


def spread(values: np.ndarray) -> np.ndarray:
    """Stretch values so that they fill 0 to 1."""
    low, high = np.quantile(values, (0.02, 0.98))
    return ((values - low) / max(high - low, 1e-6)).clip(0, 1)


def scene(rng: np.random.Generator, palette: Palette, side: int = SIDE) -> np.ndarray:
    """Draw a scene of any kind: (side, side, 3) in 0..255."""
    kinds: tuple[Callable[[np.random.Generator, Palette], Image.Image], ...] = (_hills, _regions, _fruits, _trees, _sun)
    image = kinds[rng.integers(len(kinds))](rng, palette).filter(ImageFilter.GaussianBlur(1.5))
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC), float)


def color(values: np.ndarray) -> tuple[int, int, int]:
    """Return what Pillow fills with."""
    red, green, blue = values.tolist()
    return min(max(int(red), 0), 255), min(max(int(green), 0), 255), min(max(int(blue), 0), 255)


def _sky(rng: np.random.Generator, palette: Palette) -> Image.Image:
    """Begin with bands of the lighter colors that run into each other."""
    y, _ = grid(_SMALL)
    t = (y * rng.uniform(0.5, 1.1) + 0.35 * (clouds(rng, 3, _SMALL) - 0.5)).clip(0, 1)
    if rng.random() < 0.5:
        t = 1 - t
    return Image.fromarray(palette.ramp(0.45 + 0.55 * t).astype(np.uint8))


def _hills(rng: np.random.Generator, palette: Palette) -> Image.Image:
    image = _sky(rng, palette)
    draw = ImageDraw.Draw(image)
    radius, x, y = rng.uniform(14, 30), rng.uniform(40, 216), rng.uniform(30, 90)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), color(palette.accent))
    columns = np.arange(-4, _SMALL + 5, 4)
    ridges = rng.integers(3, 6)
    for k in range(ridges):
        base = _SMALL * (0.4 + 0.5 * k / ridges)
        waves = sum(rng.uniform(4, 24) / n * np.sin(columns / _SMALL * 6.3 * n + rng.uniform(0, 6)) for n in (1, 2, 3))
        outline = list(zip(columns.tolist(), (base + waves).tolist(), strict=True))
        inks = palette.colors[: 4 if k % 2 else 5]
        draw.polygon([*outline, (_SMALL, _SMALL), (0, _SMALL)], color(inks[rng.integers(len(inks))]))
    return image


def _regions(rng: np.random.Generator, palette: Palette) -> Image.Image:
    field = clouds(rng, rng.uniform(2, 4), _SMALL) + 0.15 * clouds(rng, 9, _SMALL)
    steps = np.quantile(field, np.cumsum(rng.dirichlet(np.full(6, 3.0)))[:-1])
    return Image.fromarray(palette.shuffled(rng)[np.searchsorted(steps, field)].astype(np.uint8))


def _fruits(rng: np.random.Generator, palette: Palette) -> Image.Image:
    """Draw round things on a table, each lit from the upper left."""
    light, far, near = palette.light, *palette.colors[rng.permutation(3) + 1][:2]
    y, x = grid(_SMALL)
    pixels = np.where((y < 0.55)[..., None], far, near)
    for center in np.sort(rng.uniform(0.15, 0.85, rng.integers(5, 9))):
        place, radius = (rng.uniform(0.15, 0.85), 0.35 + 0.5 * center), rng.uniform(0.08, 0.17)
        far_off = np.hypot(x - place[0], y - place[1]) / radius
        shadow = np.hypot((x - place[0] - 0.5 * radius) / 1.4, (y - place[1] - 0.75 * radius) * 2) / radius < 0.9
        pixels = np.where(shadow[..., None], pixels * 0.6 + palette.dark * 0.4, pixels)
        glow = np.hypot(x - place[0] + 0.35 * radius, y - place[1] + 0.35 * radius) / radius
        shade = palette.colors[rng.integers(1, 5)] * (1.1 - 0.55 * glow)[..., None]
        lit = shade + (light - shade) * np.clip(0.8 - 1.6 * glow, 0, 1)[..., None]
        pixels = np.where((far_off < 1)[..., None], lit, pixels)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _trees(rng: np.random.Generator, palette: Palette) -> Image.Image:
    image = _sky(rng, palette)
    draw = ImageDraw.Draw(image)
    ground = _SMALL * rng.uniform(0.6, 0.85)
    draw.rectangle((0, ground, _SMALL, _SMALL), color(palette.colors[2]))
    for x in np.sort(rng.uniform(0, _SMALL, rng.integers(5, 11))):
        foot, width = ground + rng.uniform(0, 40), rng.uniform(3, 10)
        draw.polygon(
            [(x - width, foot), (x - width / 3, 0), (x + width / 3, 0), (x + width, foot)], color(palette.dark)
        )
        for _ in range(14):
            radius, left, top = rng.uniform(8, 26), x + rng.normal(0, 24), rng.uniform(0, ground * 0.55)
            ink = color(palette.colors[rng.integers(1, 5)])
            draw.ellipse((left - radius, top - radius * 0.7, left + radius, top + radius * 0.7), ink)
    return image


def _sun(rng: np.random.Generator, palette: Palette) -> Image.Image:
    """Draw rings around a place, bent a little."""
    y, x = grid(_SMALL)
    center = rng.uniform(0.25, 0.75, 2)
    far = np.hypot(y - center[0], x - center[1]) + 0.12 * (clouds(rng, 4, _SMALL) - 0.5)
    order = palette.shuffled(rng)
    rings = (far * rng.uniform(7, 12)).astype(int)
    return Image.fromarray(order[rings % len(order)].astype(np.uint8))
