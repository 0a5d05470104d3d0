"""The engine: drives stages over one tile or many.

A stage is a coroutine on feature maps. It yields the features of a transform point; the engine measures them tile by
tile and sends back the affine map that was solved from their moments. Whatever a stage returns is computed tile by tile
in the same way. With one tile this is the plain run of the network.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Generator, Sequence
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor

from styleplugin.engine.feature_map import FeatureMap, LazyMap, StoredMap
from styleplugin.engine.memory import Arena
from styleplugin.engine.plan import Plan
from styleplugin.images.box import Box, tiles
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

    def style_features(self, style: FeatureMap) -> list[FeatureMap]:
        """Describe a style picture's features at each transform point; their moments are the style code."""
        ...

    def run(self, content: FeatureMap) -> Generator[FeatureMap, AffineMap, FeatureMap]:
        """Yield the features at each transform point, receive the map for them, return the output."""
        ...


class Engine:
    """Computes feature maps by tiles within a plan."""

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
        self, stage: Stage, contents: list[StoredMap], solve: Callable[[int, Sequence[FeatureMap]], AffineMap]
    ) -> list[StoredMap]:
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
        feature_map = [next(steps) for steps in runs]
        point, ended = 0, False
        while not ended:
            affine = solve(point, feature_map)
            for i, steps in enumerate(runs):
                try:
                    feature_map[i] = steps.send(affine)
                except StopIteration as end:
                    feature_map[i], ended = end.value, True
            point += 1
        # An output lets go of what it is computed from before the next begins.
        runs.clear()
        return [StoredMap(self.complete(feature_map.pop(0))) for _ in range(len(feature_map))]

    def measure(self, feature_map: FeatureMap, measure: Measure, *, last: bool = False) -> Moments:
        """Return the moments of a feature map, which is kept on the way if it is read again and that saves time.

        Args:
            feature map: Kept or not.
            measure: How moments are taken.
            last: Whether only feature maps that are described already read it again.
        """
        blocks = Blocks(feature_map.like, feature_map.channels, feature_map.size, diagonal=measure.diagonal)
        weights = measure.at(feature_map.size)
        self._materialize(feature_map)
        kept = None
        if isinstance(feature_map, LazyMap) and self._worth_keeping(
            feature_map, float(not last or feature_map.readers > 0)
        ):
            kept = self._buffer(feature_map)
        for box in self._tiles(feature_map):
            values = feature_map.read(box)
            if kept is not None:
                box.of(kept).copy_(values)
            corner = (box.rows.start, box.cols.start)
            blocks.add(values, None if weights is None else box.of(weights), corner=corner)
            self._step(feature_map, box)
        if isinstance(feature_map, LazyMap) and kept is not None:
            feature_map.keep(kept)
        return Moments(*blocks.merged())

    def complete(self, feature_map: FeatureMap) -> Tensor:
        """Compute a whole feature map."""
        if isinstance(feature_map, StoredMap):
            return feature_map.tensor
        assert isinstance(feature_map, LazyMap)
        if feature_map.kept is None:
            self._materialize(feature_map)
            self._fill(feature_map)
        assert feature_map.kept is not None
        return feature_map.kept

    def _fill(self, feature_map: LazyMap) -> None:
        output = self._buffer(feature_map)
        for box in self._tiles(feature_map):
            box.of(output).copy_(feature_map.read(box))
            self._step(feature_map, box)
        feature_map.keep(output)

    def _buffer(self, feature_map: FeatureMap) -> Tensor:
        return self._arena.empty((feature_map.like.shape[0], feature_map.channels, *feature_map.size), feature_map.like)

    def _tiles(self, feature_map: FeatureMap) -> Sequence[Box]:
        side = self._plan.side(feature_map.peak_values)
        boxes = list(tiles(feature_map.size, int(min(side, max(feature_map.size))), multiple=BLOCK))
        if self._shuffle is not None:
            self._shuffle.shuffle(boxes)
        return boxes

    def _materialize(self, feature_map: FeatureMap) -> None:
        """Keep what it is computed from where that takes less time than the halos of its tiles, or a second run."""
        for source in feature_map.sources:
            self._materialize(source)
            if isinstance(source, LazyMap) and self._worth_keeping(source, self._computed_again(source)):
                self._fill(source)

    def _computed_again(self, source: LazyMap) -> float:
        """Return the share of a source that is computed more than once if it is not kept."""
        if source.readers > 1:
            return 1.0
        stride = math.sqrt(self._pixels / (source.size[0] * source.size[1]))
        return RIM * stride / self._plan.tile if self._plan.tile else 0.0

    def _worth_keeping(self, feature_map: LazyMap, again: float) -> bool:
        values = feature_map.channels * feature_map.size[0] * feature_map.size[1]
        return values <= self._plan.keep_floats * self._pixels and feature_map.macs * again > KEEP_MACS * values

    def _step(self, feature_map: FeatureMap, box: Box) -> None:
        if self._on_step is None:
            return
        if isinstance(feature_map, LazyMap):
            share = box.area / (feature_map.size[0] * feature_map.size[1])
            self._done = min(self._total, self._done + feature_map.macs * share)
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
