"""Regions of a grid of pixels or feature cells, and the cutting of a grid into tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

from torch import Tensor


class Span(NamedTuple):
    """Half-open range of rows or columns."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def clip(self, size: int) -> Span:
        """Return the part inside [0, size)."""
        return Span(max(self.start, 0), min(self.stop, size))


class Box(NamedTuple):
    """Rectangle of rows and columns."""

    rows: Span
    cols: Span

    @classmethod
    def whole(cls, size: tuple[int, int]) -> Box:
        """Return the box of a complete grid of (height, width)."""
        return cls(Span(0, size[0]), Span(0, size[1]))

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.rows.stop - self.rows.start, self.cols.stop - self.cols.start

    @property
    def area(self) -> int:
        """Number of cells."""
        height, width = self.size
        return height * width

    def map(self, function: Callable[[Span], Span]) -> Box:
        """Apply a function to rows and columns."""
        return Box(function(self.rows), function(self.cols))

    def clip(self, size: tuple[int, int]) -> Box:
        """Return the part inside a grid of (height, width)."""
        return Box(self.rows.clip(size[0]), self.cols.clip(size[1]))

    def relative_to(self, other: Box) -> Box:
        """Return this box in the coordinates of one that contains it."""
        rows, cols = other.rows.start, other.cols.start
        return Box(
            Span(self.rows.start - rows, self.rows.stop - rows), Span(self.cols.start - cols, self.cols.stop - cols)
        )

    def of(self, tensor: Tensor) -> Tensor:
        """Return the view of this box of an (N, C, H, W) tensor."""
        return tensor[:, :, self.rows.start : self.rows.stop, self.cols.start : self.cols.stop]


def tiles(size: tuple[int, int], side: int, *, multiple: int = 4) -> Iterator[Box]:
    """Cut a grid of (height, width) into tiles of nearly equal size, about `side` by `side`, row by row.

    Every cell is in exactly one tile, as the sums of `Moments` need it; equal tiles let prepared kernels be reused.
    """
    cols = _cut(size[1], side, multiple)
    for rows in _cut(size[0], side, multiple):
        for span in cols:
            yield Box(rows, span)


def _cut(length: int, side: int, multiple: int) -> list[Span]:
    count = -(-length // side)
    # Bounds in multiples of 4 keep the blocks of pooling, upsampling and the last convolution together.
    bounds = [min(length, -(-length * i // count // multiple) * multiple) for i in range(count)] + [length]
    return [Span(a, b) for a, b in pairwise(bounds) if b > a]
