"""The engine: drives stages over one tile or many.

A stage is a coroutine on fields. It yields the features of a transform point; the engine measures them tile by tile and
sends back the affine map that was solved from their moments. Whatever a stage returns is computed tile by tile in the
same way. With one tile this is the plain run of the network.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Generator, Sequence
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor

from styleplugin.engine.fields import Canvas, Computed, Field
from styleplugin.engine.memory import Arena
from styleplugin.engine.plan import Plan
from styleplugin.engine.region import Region, tiles
from styleplugin.transforms.affine import AffineMap
from styleplugin.transforms.blocks import BLOCK, Blocks
from styleplugin.transforms.moments import Moments

KEEP_MACS = 50.0
"""Multiply-adds that take as long as writing a value to memory and reading it again."""
RIM = 24.0
"""Cells of a map that a tile needs around its own, on all four sides together."""

OnStep = Callable[[float, float, str], None]
"""Called after every tile with (done, total, name of the stage); raise `Cancelled` in it to stop the run."""


class Stage(Protocol):
    """An image-to-image step that is local except at its transform points."""

    name: str
    macs_per_pixel: float
    """Multiply-adds per picture pixel, for the progress."""

    def style_features(self, style: Field) -> list[Field]:
        """Describe a style picture's features at each transform point; their moments are the style code."""
        ...

    def run(self, content: Field) -> Generator[Field, AffineMap, Field]:
        """Yield the features at each transform point, receive the map for them, return the output."""
        ...


class Engine:
    """Computes fields by tiles within a plan."""

    def __init__(
        self,
        plan: Plan,
        *,
        picture_size: tuple[int, int],
        total_macs: float = 0.0,
        on_step: OnStep | None = None,
        shuffle: random.Random | None = None,
    ) -> None:
        self._plan = plan
        self._pixels = picture_size[0] * picture_size[1]
        self._total, self._done = total_macs, 0.0
        self._on_step = on_step
        self._shuffle = shuffle
        self._arena = Arena()
        self.stage_name = ""

    def run(
        self, stage: Stage, contents: list[Canvas], solve: Callable[[int, Sequence[Field]], AffineMap]
    ) -> list[Canvas]:
        """Run one stage on pictures that share their maps.

        Args:
            stage: What to run.
            contents: (N, 3, H, W) each, sides multiples of the stage's stride. The list is emptied, so that the memory
                of a picture is free as soon as its output is there.
            solve: Called with the number of the transform point and the features of all pictures there.
        """
        self.stage_name = stage.name
        runs = [stage.run(content) for content in contents]
        contents.clear()
        fields = [next(steps) for steps in runs]
        point, ended = 0, False
        while not ended:
            affine = solve(point, fields)
            for i, steps in enumerate(runs):
                try:
                    fields[i] = steps.send(affine)
                except StopIteration as end:
                    fields[i], ended = end.value, True
            point += 1
        # An output lets go of what it is computed from before the next begins.
        runs.clear()
        return [Canvas(self.complete(fields.pop(0))) for _ in range(len(fields))]

    def measure(self, field: Field, measure: Measure, *, last: bool = False) -> Moments:
        """Return the moments of a field; the field is kept on the way if it is read again and that saves time.

        Args:
            field: Kept or not.
            measure: How moments are taken.
            last: Whether only fields that are described already read it again.
        """
        blocks = Blocks(field.like, field.channels, field.size, diagonal=measure.diagonal)
        weights = measure.at(field.size)
        self._settle(field)
        kept = None
        if isinstance(field, Computed) and self._worth_keeping(field, float(not last or field.readers > 0)):
            kept = self._buffer(field)
        for region in self._tiles(field):
            values = field.read(region)
            if kept is not None:
                region.of(kept).copy_(values)
            corner = (region.rows.start, region.cols.start)
            blocks.add(values, None if weights is None else region.of(weights), corner=corner)
            self._step(field, region)
        if isinstance(field, Computed) and kept is not None:
            field.keep(kept)
        return Moments(*blocks.merged())

    def complete(self, field: Field) -> Tensor:
        """Compute a whole field."""
        if isinstance(field, Canvas):
            return field.tensor
        assert isinstance(field, Computed)
        if field.kept is None:
            self._settle(field)
            self._fill(field)
        assert field.kept is not None
        return field.kept

    def _fill(self, field: Computed) -> None:
        output = self._buffer(field)
        for region in self._tiles(field):
            region.of(output).copy_(field.read(region))
            self._step(field, region)
        field.keep(output)

    def _buffer(self, field: Field) -> Tensor:
        return self._arena.empty((field.like.shape[0], field.channels, *field.size), field.like)

    def _tiles(self, field: Field) -> Sequence[Region]:
        side = self._plan.side(field.load)
        regions = list(tiles(field.size, int(min(side, max(field.size))), multiple=BLOCK))
        if self._shuffle is not None:
            self._shuffle.shuffle(regions)
        return regions

    def _settle(self, field: Field) -> None:
        """Keep what a field is computed from where that takes less time than the rims of its tiles, or a second run."""
        for source in field.sources:
            self._settle(source)
            if isinstance(source, Computed) and self._worth_keeping(source, self._computed_again(source)):
                self._fill(source)

    def _computed_again(self, source: Computed) -> float:
        """Return the share of a source that is computed more than once if it is not kept."""
        if source.readers > 1:
            return 1.0
        stride = math.sqrt(self._pixels / (source.size[0] * source.size[1]))
        return RIM * stride / self._plan.tile if self._plan.tile else 0.0

    def _worth_keeping(self, field: Computed, again: float) -> bool:
        values = field.channels * field.size[0] * field.size[1]
        return values <= self._plan.keep_floats * self._pixels and field.macs * again > KEEP_MACS * values

    def _step(self, field: Field, region: Region) -> None:
        if self._on_step is None:
            return
        if isinstance(field, Computed):
            share = region.area / (field.size[0] * field.size[1])
            self._done = min(self._total, self._done + field.macs * share)
        self._on_step(self._done, self._total, self.stage_name)


class Measure:
    """How moments are taken: all of the covariance or variances only, and how much each pixel counts."""

    def __init__(self, *, diagonal: bool = False, weights: Tensor | None = None) -> None:
        """Keep the weights of the pixels, (1, 1, H, W), or None where all count alike."""
        self.diagonal = diagonal
        self._weights = weights

    def at(self, size: tuple[int, int]) -> Tensor | None:
        """Return the weights on a grid of (height, width): the mean weight of each cell's pixels."""
        if self._weights is None:
            return None
        stride = self._weights.shape[2] // size[0]
        return F.avg_pool2d(self._weights, stride) if stride > 1 else self._weights
