"""Uniform borders of a picture: black bars, frames, margins of a scan."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

_TOLERANCE = 8 / 255
"""How far a border's pixels may be from its color: what JPEG adds to a flat area."""
_DRIFT = 1 / 255
"""How far the mean of a row may be from it: a clear sky that changes slowly from row to row is no border."""
_LEAST_SHARE = 0.01
"""Of a side; less is no border but the edge of something."""
_LEAST_PIXELS = 2


@dataclass(frozen=True)
class Borders:
    """Widths in pixels."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0

    def __bool__(self) -> bool:
        return any((self.top, self.bottom, self.left, self.right))

    def __str__(self) -> str:
        sides = {"top": self.top, "bottom": self.bottom, "left": self.left, "right": self.right}
        return ", ".join(f"{name} {width}" for name, width in sides.items() if width)

    def cut(self, picture: Tensor) -> Tensor:
        """Return (1, C, H, W) without them."""
        height, width = picture.shape[2:]
        return picture[:, :, self.top : height - self.bottom, self.left : width - self.right].clone()


def uniform_borders(rgb: Tensor) -> Borders:
    """Find the borders of (1, 3, H, W); a picture of one color has none."""
    height, width = rgb.shape[2:]
    top, bottom = _first(rgb), _first(rgb.flip(2))
    if top + bottom >= height:
        return Borders()
    inner = rgb[:, :, top : height - bottom].transpose(2, 3)
    left, right = _first(inner), _first(inner.flip(2))
    if left + right >= width:
        return Borders()
    return Borders(*_real((top, bottom), height), *_real((left, right), width))


def _first(rgb: Tensor) -> int:
    """Return how many rows from the top are of one color."""
    color = rgb[:, :, :1].mean(3, keepdim=True)
    for count in range(rgb.shape[2]):
        # Row by row: most pictures end this at the first.
        difference = rgb[:, :, count : count + 1] - color
        if float(difference.abs().max()) > _TOLERANCE or float(difference.mean(3).abs().max()) > _DRIFT:
            return count
    return rgb.shape[2]


def _real(widths: tuple[int, int], side: int) -> list[int]:
    least = max(_LEAST_PIXELS, _LEAST_SHARE * side)
    return [width if width >= least else 0 for width in widths]
