"""Palettes: a few colors that an artwork has much of, and one that stands out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

COLORS = 6
_ROUNDS = 6
_LUMINANCE = np.array([0.299, 0.587, 0.114])
_LEAST_CONTRAST = 90.0
"""Between darkest and lightest color of a palette, in luminance of 0 to 255: below it nothing can be drawn."""


@dataclass(frozen=True, eq=False)
class Palette:
    """Colors from dark to light, all of which occur in the artwork."""

    colors: np.ndarray
    """(COLORS, 3) float in 0..255."""

    @property
    def dark(self) -> np.ndarray:
        """The darkest color, (3,)."""
        return self.colors[0]

    @property
    def light(self) -> np.ndarray:
        """The lightest color, (3,)."""
        return self.colors[-1]

    @property
    def accent(self) -> np.ndarray:
        """The color furthest from gray, (3,)."""
        return self.colors[np.ptp(self.colors, axis=1).argmax()]

    @property
    def is_usable(self) -> bool:
        """Whether dark and light are far enough apart."""
        return float((self.light - self.dark) @ _LUMINANCE) >= _LEAST_CONTRAST

    @property
    def is_gray(self) -> bool:
        """Whether it is that of a print or a drawing without color."""
        return float(np.ptp(self.accent)) < 45

    def shuffled(self, rng: np.random.Generator) -> np.ndarray:
        """Return all colors in a random order, (COLORS, 3)."""
        return rng.permutation(self.colors)

    def ramp(self, t: np.ndarray) -> np.ndarray:
        """Map (...) values of 0 to 1 from dark to light, (..., 3)."""
        places = np.linspace(0, 1, COLORS)
        return np.stack([np.interp(t, places, self.colors[:, c]) for c in range(3)], axis=-1)


def luminance(colors: np.ndarray) -> np.ndarray:
    """Return the luminance of (..., 3) colors in 0..255, as (...) of 0 to 1."""
    return colors @ _LUMINANCE / 255


def palette_of(pixels: np.ndarray) -> Palette:
    """Find the palette of (H, W, 3) pixels by k-means, from those that are furthest from their mean and each other.

    Each color is the pixel nearest to the mean of its group, so that it occurs in the artwork.
    """
    pixels = pixels.reshape(-1, 3).astype(float)
    centers = pixels[_squares(pixels, pixels.mean(axis=0)[None])[:, 0].argmax()][None]
    for _ in range(COLORS - 1):
        furthest = _squares(pixels, centers).min(axis=1).argmax()
        centers = np.concatenate([centers, pixels[furthest][None]])
    for _ in range(_ROUNDS):
        nearest = _squares(pixels, centers).argmin(axis=1)
        groups = [pixels[nearest == k] for k in range(COLORS)]
        centers = np.stack([group.mean(axis=0) if len(group) else centers[k] for k, group in enumerate(groups)])
    colors = pixels[_squares(pixels, centers).argmin(axis=0)]
    return Palette(colors[luminance(colors).argsort(kind="stable")])


def _squares(pixels: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Return the squared distances of (N, 3) pixels to (K, 3) centers, (N, K)."""
    return ((pixels[:, None] - centers[None]) ** 2).sum(axis=2)
