"""Feature maps, pictures included, that are computed box by box, when somebody reads them.

A stage describes its networks on feature maps; nothing is computed until the engine reads a box, and then only what
that box needs. One that the engine has decided to keep is in memory as a whole and forgets what it was made from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor

from styleplugin.engine.compile import segments
from styleplugin.engine.operations import Operation
from styleplugin.images.box import Box
from styleplugin.options import DEEPEST_STRIDE


class FeatureMap(Protocol):
    """A map of `channels` values per cell on a grid of `size`, (height, width)."""

    size: tuple[int, int]
    channels: int
    like: Tensor
    """Any tensor of the feature map's batch size, dtype and device."""
    sources: tuple[FeatureMap, ...]
    """What it is computed from; none if it is in memory."""

    @property
    def macs(self) -> float:
        """Multiply-adds to compute all of it from what is in memory, without halos."""
        ...

    @property
    def peak_values(self) -> float:
        """Values per cell that reading it holds in memory at the widest place."""
        ...

    def read(self, box: Box) -> Tensor:
        """Return the (N, C, h, w) values of a box inside the grid; not to be written to."""
        ...


class StoredMap:
    """A feature map that is in memory: (N, C, H, W), channels-last."""

    sources: tuple[FeatureMap, ...] = ()
    macs = 0.0

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor.contiguous(memory_format=torch.channels_last)
        self.size = (tensor.shape[2], tensor.shape[3])
        self.channels = tensor.shape[1]
        self.peak_values = float(self.channels)
        self.like = tensor[:, :, :0]

    def read(self, box: Box) -> Tensor:
        """Return a view of the box."""
        return box.of(self.tensor)


class LazyMap:
    """A feature map that is a few operations away from another feature map."""

    def __init__(self, source: FeatureMap, operations: Sequence[Operation]) -> None:
        self.sources: tuple[FeatureMap, ...] = (source,)
        self.operations = operations
        self._sizes = [source.size]
        for operation in operations:
            self._sizes.append(operation.output_size(self._sizes[-1]))
        self.size = self._sizes[-1]
        self.channels = operations[-1].out_channels
        self.like = source.like
        self.kept: Tensor | None = None
        self.readers = 0
        """How many feature maps are computed from it."""
        _count_reader(self)

    @property
    def macs(self) -> float:
        """Multiply-adds of its operations, and of its source's if that is not kept."""
        if self.kept is not None:
            return 0.0
        own = sum(op.macs * h * w for op, (h, w) in zip(self.operations, self._sizes[1:], strict=True))
        return own + self.sources[0].macs

    @property
    def peak_values(self) -> float:
        """Values per cell at the widest place, the source included."""
        if self.kept is not None:
            return float(self.channels)
        per_cell = [self.sources[0].peak_values, *(op.out_channels for op in self.operations)]
        values = max(c * h * w for c, (h, w) in zip(per_cell, self._sizes, strict=True))
        return values / (self.size[0] * self.size[1])

    def keep(self, tensor: Tensor) -> None:
        """Take the complete feature map; its source is let go."""
        self.kept, self.sources = tensor, ()

    def read(self, box: Box) -> Tensor:
        """Return a box: a view if the feature map is kept, else computed."""
        return self.compute(box) if self.kept is None else box.of(self.kept)

    def compute(self, box: Box) -> Tensor:
        """Compute a box from the source.

        At the picture's edges a tile runs like any other: it reads and computes a few cells beyond them, and before
        each operation the first row or column beyond is replaced by what the operation's padding wants there. So no
        layer copies its input to pad it, and all tiles of a feature map have nearly the same shapes.
        """
        (source,) = self.sources
        wanted = [box]
        for operation in reversed(self.operations):
            wanted.append(wanted[-1].map(operation.input_span))
        x = _read_beyond(source, wanted[-1])
        for operation, size, output, given in zip(
            self.operations, self._sizes[:-1], wanted[-2::-1], wanted[:0:-1], strict=True
        ):
            _continue(x, given, size, operation.padding)
            x = operation.run(x, output)
        return x


class JoinedMap:
    """Two feature maps of one grid as one: added, or the channels of the second stacked behind those of the first."""

    def __init__(self, first: FeatureMap, second: FeatureMap, kind: Literal["add", "stack"]) -> None:
        self.sources: tuple[FeatureMap, ...] = (first, second)
        self.kind = kind
        self.size = first.size
        self.channels = first.channels + (second.channels if kind == "stack" else 0)
        self.like = first.like
        _count_reader(self)

    @property
    def macs(self) -> float:
        """Multiply-adds of both, as far as they are not kept."""
        return sum(source.macs for source in self.sources)

    @property
    def peak_values(self) -> float:
        """Values per cell at the widest place: the joined ones and those of a source."""
        return self.channels + max(source.peak_values for source in self.sources)

    def read(self, box: Box) -> Tensor:
        """Compute a box from both."""
        first, second = (source.read(box) for source in self.sources)
        return first + second if self.kind == "add" else torch.cat([first, second], 1)


def _count_reader(feature_map: FeatureMap) -> None:
    for source in feature_map.sources:
        if isinstance(source, LazyMap):
            source.readers += 1


def _read_beyond(source: FeatureMap, box: Box) -> Tensor:
    """Read a box that may reach over the edges of the source; beyond them stand zeros."""
    inside = box.clip(source.size)
    values = source.read(inside)
    if inside == box:
        return values
    x = torch.empty(
        (*values.shape[:2], *box.size), dtype=values.dtype, device=values.device, memory_format=torch.channels_last
    )
    place = inside.relative_to(box)
    place.of(x).copy_(values)
    for dim, span in ((2, place.rows), (3, place.cols)):
        x.narrow(dim, 0, span.start).zero_()
        x.narrow(dim, span.stop, x.shape[dim] - span.stop).zero_()
    return x


def _continue(x: Tensor, box: Box, size: tuple[int, int], padding: Literal["reflect", "replicate"]) -> None:
    """Set what lies beyond each edge of a grid of `size` that a box reaches over: padding, and then zeros."""
    step = 2 if padding == "reflect" else 1
    for dim, span, length in ((3, box.cols, size[1]), (2, box.rows, size[0])):
        if span.start < 0:
            edge = -span.start
            x.select(dim, edge - 1).copy_(x.select(dim, edge - 1 + step))
            x.narrow(dim, 0, edge - 1).zero_()
        if span.stop > length:
            edge = length - span.start
            x.select(dim, edge).copy_(x.select(dim, edge - step))
            x.narrow(dim, edge + 1, span.stop - length - 1).zero_()


def through(source: FeatureMap, operations: Sequence[Operation]) -> FeatureMap:
    """Describe a network on a feature map: one computed feature map per segment."""
    feature_map = source
    for part in segments(operations):
        feature_map = LazyMap(feature_map, part)
    return feature_map


def extended_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) of a picture that is continued until the deepest stride divides its sides.

    They have two cells of the deepest features at least: a reflection needs two.
    """
    height, width = (max(2, -(-side // DEEPEST_STRIDE)) * DEEPEST_STRIDE for side in size)
    return height, width


def extend(picture: Tensor) -> Tensor:
    """Continue (N, C, H, W) to the right and downwards by reflection, to its `extended_size`.

    Args:
        picture: Sides of at least one pixel; where it is narrower than its own reflection is long, the reflection goes
            on to and fro, and a single row or column repeats.
    """
    for dim, target in zip((2, 3), extended_size((picture.shape[2], picture.shape[3])), strict=True):
        length = picture.shape[dim]
        if target > length:
            period = max(1, 2 * length - 2)
            index = torch.arange(target, device=picture.device, dtype=torch.int64) % period
            picture = picture.index_select(dim, torch.minimum(index, period - index).clamp(max=length - 1))
    return picture
