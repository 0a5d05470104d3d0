"""The method: its stage, how it solves for the map of a transform point, and what its layer becomes."""

from __future__ import annotations

from collections.abc import Generator

import torch
from torch import Tensor

from styleplugin.images.box import Box
from styleplugin.methods import (
    AffineMap,
    FeatureMap,
    Mapped,
    Method,
    Moments,
    Operation,
    compile_layer,
    compile_layers,
    macs_per_pixel,
    through,
)
from styleplugin.options import StylizeOptions
from tint.model import Power, TintModel


class PowerOperation(Operation):
    """A power on boxes: it needs the same cells as it computes, and is done when they are."""

    macs = 10.0

    def __init__(self, exponent: float, channels: int) -> None:
        self._exponent, self.out_channels = exponent, channels

    def run(self, x: Tensor, box: Box) -> Tensor:
        """Compute a box."""
        return x.clamp_min(0) ** self._exponent


@compile_layer.register
def _(layer: Power, network) -> None:
    network.add(PowerOperation(float(layer.exponent), network.channels))


class TintStage:
    """To linear light, the map, and back. One transform point."""

    name = "tint"

    def __init__(self, model: TintModel, like: Tensor) -> None:
        self._encoder, self._decoder = (
            compile_layers([layer], like, channels=3) for layer in (model.encoder, model.decoder)
        )
        self.macs_per_pixel = macs_per_pixel(self._encoder, self._decoder)

    def style_features(self, style: FeatureMap) -> list[FeatureMap]:
        """Describe what is measured of a style."""
        return [through(style, self._encoder)]

    def run(self, content: FeatureMap) -> Generator[FeatureMap, AffineMap, FeatureMap]:
        """Yield the content's features, receive the map for them, return the picture."""
        features = through(content, self._encoder)
        affine = yield features
        return through(features, [Mapped(affine), *self._decoder])


class Tint(Method):
    """Means and deviations of the colors."""

    name = "tint"
    diagonal = True

    def __init__(self, model: TintModel, like: Tensor) -> None:
        super().__init__([TintStage(model, like)])

    def solve(self, point: int, content: Moments, style: Moments, options: StylizeOptions) -> AffineMap:
        """Return the map that gives the content the style's means and deviations."""
        scale = style.deviations / content.deviations.clamp_min(1e-6)
        return AffineMap(scale, torch.addcmul(style.mean, scale, content.mean, value=-1))
