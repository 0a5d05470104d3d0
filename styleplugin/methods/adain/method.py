"""Adaptive instance normalization on one encoder-decoder pair.

Source: Huang and Belongie 2017; the compressed pair after Wang et al. 2020.
"""

from __future__ import annotations

from torch import Tensor

from styleplugin.methods.stage import EncoderDecoderStage, Method
from styleplugin.networks.pairs import PairModel
from styleplugin.options import StylizeOptions
from styleplugin.transforms.adain import adain_map
from styleplugin.transforms.affine import AffineMap
from styleplugin.transforms.moments import Moments


class AdaIN(Method):
    """A single stage at relu4_1."""

    name = "adain"
    diagonal = True
    palette = "level2"

    def __init__(self, model: PairModel, like: Tensor) -> None:
        super().__init__([EncoderDecoderStage(model.pair(level), like) for level in model.levels])

    def solve(self, point: int, content: Moments, style: Moments, options: StylizeOptions) -> AffineMap:
        """Return the map of means and deviations."""
        return adain_map(content, style)
