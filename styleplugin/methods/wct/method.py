"""Multi-level whitening and coloring: levels from 5 to 1, each on the output of the one before.

Source: Li et al. 2017; with the compressed pairs of Wang et al. 2020 (Collaborative Distillation).
"""

from __future__ import annotations

from torch import Tensor

from styleplugin.engine.stream import Stage
from styleplugin.errors import UsageError
from styleplugin.images.grain import with_grain
from styleplugin.methods.stage import EncoderDecoderStage, Method
from styleplugin.networks.pairs import PairModel
from styleplugin.options import StylizeOptions
from styleplugin.transforms.affine import AffineMap
from styleplugin.transforms.moments import Moments
from styleplugin.transforms.wct import wct_map


class WCT(Method):
    """One stage per level, deepest first."""

    name = "wct"
    diagonal = False
    adds_up = True

    def __init__(self, model: PairModel, like: Tensor) -> None:
        super().__init__([EncoderDecoderStage(model.pair(level), like) for level in model.levels])
        self._levels = model.levels

    def seen(self, picture: Tensor, options: StylizeOptions) -> Tensor:
        """Return the content with its grain, which a small strength would leave in the picture: so it has less then."""
        assert options.grain is not None
        amount = options.grain * self.share(options)
        return with_grain(picture, amount) if amount else picture

    def solve(self, point: int, content: Moments, style: Moments, options: StylizeOptions) -> AffineMap:
        """Return the whitening-coloring map."""
        return wct_map(content, style, regularization=options.regularization)

    def selected(self, options: StylizeOptions) -> list[tuple[int, Stage]]:
        """Return the levels asked for that the model has, in the order asked for.

        Raises:
            UsageError: SP107, a level that the model does not have, or none.
        """
        missing = [level for level in options.levels if level not in self._levels]
        if missing or not options.levels:
            raise UsageError(
                "SP107",
                f"`levels` was {list(options.levels)}; the model has the levels {list(self._levels)}.",
                "Choose one or more of these.",
            )
        return [(place, self.stages[place]) for place in map(self._levels.index, options.levels)]
