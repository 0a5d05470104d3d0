"""Boxes of a grid of pixels or feature cells, and the cutting of a grid into tiles or bands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from torch import Tensor

AT_ONCE = 1 << 20
"""Pixels, or values of a long sum, that are worked on at once: bounds the memory of what comes in between, and the time
until a stop is heard."""


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

    def cells(self, stride: int) -> Box:
        """Return the cells of a grid of this stride that belong to a box of pixels."""
        return self.map(lambda span: Span(span.start // stride, span.stop // stride))

    def of(self, tensor: Tensor) -> Tensor:
        """Return the view of this box of an (N, C, H, W) tensor."""
        return tensor[:, :, self.rows.start : self.rows.stop, self.cols.start : self.cols.stop]


class Tile(NamedTuple):
    """A box of a picture that is computed at once, and the crop that its values depend on.

    At a cut a crop is treated as if the picture ended there. That is wrong, and reaches as far into the crop as the
    halo: the tile's own values know nothing of it.
    """

    box: Box
    crop: Box

    def own(self, values: Tensor, stride: int = 1) -> Tensor:
        """Return a view of the tile's own cells in what was computed of its crop, on a grid of this stride."""
        return self.box.relative_to(self.crop).cells(stride).of(values)


def bands(size: Sequence[int], cells: int = AT_ONCE) -> Iterator[slice]:
    """Cut the rows of a grid of (height, width) into bands of about so many cells, at least of one row."""
    height, width = size
    step = max(1, cells // max(1, width))
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def tiles_with_halo(size: tuple[int, int], side: int, halo: int, *, multiple: int = 4) -> list[Tile]:
    """Cut a grid of (height, width) as `tiles` does, and give each tile `halo` cells more on all sides, as far as there
    are any; a side of 0 leaves the grid in one piece."""
    boxes = tiles(size, side or max(size), multiple=multiple)
    return [Tile(box, box.map(lambda span: Span(span.start - halo, span.stop + halo)).clip(size)) for box in boxes]


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
