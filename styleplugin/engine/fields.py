"""Fields: pictures and feature maps that are computed region by region, when somebody reads them.

A stage describes its networks on fields; nothing is computed until the engine reads a region, and then only what that
region needs. A field that the engine has decided to keep is in memory as a whole and forgets what it was made from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from styleplugin.engine.operations import Operation, segments
from styleplugin.engine.region import Region


class Field(Protocol):
    """A map of `channels` values per cell on a grid of `size`, (height, width)."""

    size: tuple[int, int]
    channels: int
    like: Tensor
    """Any tensor of the field's batch size, dtype and device."""

    def read(self, region: Region) -> Tensor:
        """Return the (N, C, h, w) values of a region inside the grid; not to be written to."""
        ...


class Canvas:
    """A field that is in memory: (N, C, H, W), channels-last."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor.contiguous(memory_format=torch.channels_last)
        self.size = (tensor.shape[2], tensor.shape[3])
        self.channels = tensor.shape[1]
        self.like = tensor[:, :, :0]

    def read(self, region: Region) -> Tensor:
        """Return a view of the region."""
        return region.of(self.tensor)


class Computed:
    """A field that is a few operations away from another field."""

    def __init__(self, source: Field, operations: Sequence[Operation]) -> None:
        self.source: Field | None = source
        self.operations = operations
        self._sizes = [source.size]
        for operation in operations:
            self._sizes.append(operation.output_size(self._sizes[-1]))
        self.size = self._sizes[-1]
        self.channels = operations[-1].out_channels
        self.like = source.like
        self.kept: Tensor | None = None

    @property
    def macs(self) -> float:
        """Multiply-adds of the whole field, without rims."""
        return sum(op.macs * h * w for op, (h, w) in zip(self.operations, self._sizes[1:], strict=True))

    @property
    def load(self) -> float:
        """Values per output cell at the operations' widest place: what a tile must hold in memory."""
        cells = self.size[0] * self.size[1]
        return max(op.out_channels * h * w / cells for op, (h, w) in zip(self.operations, self._sizes[1:], strict=True))

    def buffer(self) -> Tensor:
        """Allocate memory for the complete field."""
        shape = (self.like.shape[0], self.channels, *self.size)
        return torch.empty(shape, dtype=self.like.dtype, device=self.like.device, memory_format=torch.channels_last)

    def keep(self, tensor: Tensor) -> None:
        """Take the complete field; its source is let go."""
        self.kept, self.source = tensor, None

    def read(self, region: Region) -> Tensor:
        """Return a region: a view if the field is kept, else computed."""
        return self.compute(region) if self.kept is None else region.of(self.kept)

    def compute(self, region: Region) -> Tensor:
        """Compute a region from the source."""
        assert self.source is not None, "a kept field is read, not computed"
        wanted = [region]
        for operation, size in zip(reversed(self.operations), reversed(self._sizes[:-1]), strict=True):
            wanted.append(wanted[-1].map(operation.need).clip(size))
        x = self.source.read(wanted[-1])
        for operation, output, given in zip(self.operations, wanted[-2::-1], wanted[:0:-1], strict=True):
            x = operation.run(_pad(x, output.map(operation.need), given, operation.padding), output)
        return x


def _pad(x: Tensor, needed: Region, given: Region, mode: str) -> Tensor:
    """Continue a region over the picture's edges, by one cell where less is given than needed.

    Copying the rim by hand takes a third of the time of `F.pad` in channels-last memory.
    """
    left, right = given.cols.start - needed.cols.start, needed.cols.stop - given.cols.stop
    top, bottom = given.rows.start - needed.rows.start, needed.rows.stop - given.rows.stop
    if not (left or right or top or bottom):
        return x
    height, width = x.shape[2:]
    padded = torch.empty(
        (*x.shape[:2], height + top + bottom, width + left + right),
        dtype=x.dtype,
        device=x.device,
        memory_format=torch.channels_last,
    )
    padded[:, :, top : top + height, left : left + width] = x
    step = 1 if mode == "reflect" else 0
    # Columns first, inside the rows that are there; then whole rows, which brings the corners along.
    inner = padded[:, :, top : top + height]
    if left:
        inner[..., 0] = inner[..., left + step]
    if right:
        inner[..., -1] = inner[..., -2 - step]
    if top:
        padded[:, :, 0] = padded[:, :, top + step]
    if bottom:
        padded[:, :, -1] = padded[:, :, -2 - step]
    return padded


def through(source: Field, operations: Sequence[Operation]) -> Field:
    """Describe a network on a field: one computed field per segment."""
    field = source
    for part in segments(operations):
        field = Computed(field, part)
    return field


def extend(picture: Tensor, multiple: int, minimum: int) -> Tensor:
    """Continue (N, C, H, W) to the right and downwards by reflection.

    Args:
        picture: Sides of at least one pixel.
        multiple: Sides of the result are multiples of it.
        minimum: Smallest side of the result; where a picture is narrower than its own reflection is long, the
            reflection goes on to and fro, and a single row or column repeats.
    """
    for dim in (2, 3):
        length = picture.shape[dim]
        target = max(minimum, -(-length // multiple) * multiple)
        if target > length:
            period = max(1, 2 * length - 2)
            index = torch.arange(target, device=picture.device) % period
            picture = picture.index_select(dim, torch.minimum(index, period - index).clamp(max=length - 1))
    return picture
