"""An encoder that measures pictures, and what they are optimized for, in tiles that fit in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from styleplugin.engine.feature_map import extend
from styleplugin.engine.gradient_plan import GradientPlan
from styleplugin.engine.retry import with_smaller_tiles
from styleplugin.methods.optimization.descent import Evaluate
from styleplugin.methods.optimization.objective import (
    Losses,
    Objective,
    ObjectiveWeights,
    OptimizationEncoder,
    StyleTarget,
    measure,
)
from styleplugin.options import StyleLoss
from styleplugin.transforms.moments import Moments

R = TypeVar("R")


class Sample(NamedTuple):
    """A picture at the size of a scale."""

    rgb: Tensor
    """(1, 3, H, W) in [0, 1]."""
    counted: Tensor | None
    """How much each pixel counts in the statistics, (1, 1, H, W); None where all count alike."""


class TiledEncoder:
    """Measures samples of any size within a plan; where memory ends, smaller tiles are taken from then on.

    Args:
        encoder: What sees the pictures.
        plan: The first to try.
        like: Gives device and dtype.
        size: (height, width) of the largest picture, for messages.
        note: Takes a warning.
        on_tile: Called after every tile; whatever it raises stops the work.
    """

    def __init__(
        self,
        encoder: OptimizationEncoder,
        plan: GradientPlan,
        like: Tensor,
        *,
        size: tuple[int, int],
        note: Callable[[str], None] = lambda message: None,
        on_tile: Callable[[], None] = lambda: None,
    ) -> None:
        self._encoder, self._like, self._size = encoder, like, size
        self._note, self._on_tile = note, on_tile
        self.plan = plan
        """The plan that worked last."""

    def canvas(self, picture: Tensor) -> Tensor:
        """Return (1, C, H, W) on the device, continued to sides that the deepest stride divides."""
        return extend(picture.to(self._like))

    def normalize(self, samples: Sequence[Sample]) -> None:
        """Without a metric, let every channel count by its mean over these samples."""
        if self._encoder.roots:
            return
        measured = [self.measure(sample) for sample in samples]
        means = [torch.stack([moments.mean for moments in level]).mean(0) for level in zip(*measured, strict=True)]
        self._encoder.normalize(means)

    def measure(self, sample: Sample) -> list[Moments]:
        """Return the moments of what counts of a sample, for each level."""
        rgb, counted = self._canvases(sample)
        return self._in_tiles(partial(measure, self._encoder, rgb, counted, on_tile=self._on_tile))

    def targets(self, moments: Sequence[Moments]) -> list[StyleTarget]:
        """Return for each level what the result shall have in common with a style of these moments."""
        return [StyleTarget.of(level, root) for level, root in zip(moments, self._encoder.roots, strict=True)]

    def objective(
        self,
        content: Sample,
        styles: Sequence[tuple[float, Sequence[StyleTarget]]],
        weights: ObjectiveWeights,
        style_loss: StyleLoss,
    ) -> Evaluate:
        """Return what gives the losses of a canvas and their gradient; this is 0 where nothing of the content counts.

        Args:
            content: Whose shapes are kept.
            styles: For each style its share and its targets.
            weights: Of the terms.
            style_loss: Which style loss.
        """
        rgb, counted = self._canvases(content)
        levels = self._encoder.levels
        objective = self._in_tiles(
            lambda tile_side: Objective(
                self._encoder,
                rgb,
                styles,
                weights,
                style_loss=style_loss,
                content_level=min(4, len(levels)),
                counted=counted,
                tile_side=tile_side,
                on_tile=self._on_tile,
            )
        )
        return partial(self._evaluate, objective, counted)

    def _evaluate(self, objective: Objective, counted: Tensor | None, picture: Tensor) -> tuple[Losses, Tensor]:
        losses, gradient = self._in_tiles(partial(objective, picture))
        return losses, gradient if counted is None else gradient.mul_(counted)

    def _canvases(self, sample: Sample) -> tuple[Tensor, Tensor | None]:
        return self.canvas(sample.rgb), None if sample.counted is None else self.canvas(sample.counted)

    def _in_tiles(self, work: Callable[[int], R]) -> R:
        """Do work that asks for the side of its tiles."""
        done, self.plan = with_smaller_tiles(lambda plan: work(plan.tile), self.plan, self._size, self._note)
        return done
