"""KBStyle: AdaIN with modulators at two depths of one small network; see `styleplugin.methods.kbstyle.model`."""

from __future__ import annotations

from collections.abc import Generator
from copy import deepcopy

import torch
from torch import Tensor

from styleplugin.engine.compile import compile_layers
from styleplugin.engine.feature_map import FeatureMap, through
from styleplugin.methods.kbstyle.model import KBModel
from styleplugin.methods.stage import Method, macs_per_pixel
from styleplugin.options import StylizeOptions
from styleplugin.transforms.affine import AffineMap
from styleplugin.transforms.moments import Moments
from styleplugin.transforms.statistics import EPSILON


class KBStage:
    """Encode; decode to half size behind the first map, to the picture behind the second. Two transform points."""

    name = "kbstyle"

    def __init__(self, model: KBModel, like: Tensor) -> None:
        """Prepare a model for the device and dtype of `like`."""
        _, half, quarter = model.spec.widths
        self._like, self._widths = like, (quarter, half)
        self._content, self._style = (
            [compile_layers(encoder.shallow, like), compile_layers(encoder.deep, like, channels=half)]
            for encoder in (model.content_encoder, model.style_encoder)
        )
        self._decoder = [list(model.decoder.deep), list(model.decoder.shallow)]
        decoder = (
            compile_layers(layers, like, channels=width)
            for layers, width in zip(self._decoder, self._widths, strict=True)
        )
        self.macs_per_pixel = macs_per_pixel(*self._content, *decoder)

    def style_features(self, style: FeatureMap) -> list[FeatureMap]:
        """Describe the features of the two transform points, deepest first."""
        shallow = through(style, self._style[0])
        return [through(shallow, self._style[1]), shallow]

    def run(self, content: FeatureMap) -> Generator[FeatureMap, AffineMap, FeatureMap]:
        """Yield the features of each transform point, receive the map for them, return the picture."""
        features = through(through(content, self._content[0]), self._content[1])
        for layers, channels in zip(self._decoder, self._widths, strict=True):
            affine = yield features
            features = through(features, compile_layers(layers, self._like, affine, channels))
        return features


class KBStyle(Method):
    """One stage with two transform points."""

    name = "kbstyle"
    diagonal = True
    blends_styles = True
    palette = "level1"

    def __init__(self, model: KBModel, like: Tensor) -> None:
        super().__init__([KBStage(model, like)])
        self._modulators = [deepcopy(modulator).double().cpu() for modulator in model.modulators]

    @torch.no_grad()
    def solve(self, point: int, content: Moments, style: Moments, options: StylizeOptions) -> AffineMap:
        """Return the map to the modulated means and deviations."""
        mean, scale = self._modulators[point](style.mean, (style.deviations.square() + EPSILON).sqrt())
        scale = scale / (content.deviations.square() + EPSILON).sqrt()
        return AffineMap(scale, mean - scale * content.mean)
