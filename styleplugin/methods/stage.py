"""What all methods share: the style code, the encoder-decoder stage, and the shape of a method."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import ClassVar

from torch import Tensor

from styleplugin.engine.compile import compile_layers
from styleplugin.engine.feature_map import FeatureMap, through
from styleplugin.engine.operations import Operation
from styleplugin.engine.stream import Stage
from styleplugin.networks.pairs import Pair
from styleplugin.options import StylizeOptions
from styleplugin.transforms.affine import AffineMap
from styleplugin.transforms.moments import Moments, mix_moments

StyleCode = tuple[tuple[Moments, ...], ...]
"""A style without its picture: its moments for each stage and each transform point of the stage."""


class EncoderDecoderStage:
    """Encode, map the features, decode: one level of WCT, or all of AdaIN. One transform point."""

    def __init__(self, pair: Pair, like: Tensor) -> None:
        """Prepare a pair for the device and dtype of `like`."""
        self.name = f"level {pair.level}"
        self._like = like
        self._encoder: Sequence[Operation] = compile_layers(pair.encoder.layers(), like)
        # The map folds into the first convolution of the decoder, which is compiled anew for each picture.
        first, *rest = pair.decoder.layers()
        self._first = first
        self._rest: Sequence[Operation] = compile_layers(rest, like)
        self.macs_per_pixel = macs_per_pixel(self._encoder, compile_layers([first], like), self._rest)

    def style_features(self, style: FeatureMap) -> list[FeatureMap]:
        """Describe the features whose moments are the style code."""
        return [through(style, self._encoder)]

    def run(self, content: FeatureMap) -> Generator[FeatureMap, AffineMap, FeatureMap]:
        """Yield the content's features, receive the map for them, return the picture."""
        features = through(content, self._encoder)
        affine = yield features
        return through(features, [*compile_layers([self._first], self._like, affine), *self._rest])


def macs_per_pixel(*parts: Sequence[Operation]) -> float:
    """Return the multiply-adds per picture pixel of operations that follow one another.

    Counted on a picture of 256 x 256, which every stride divides.
    """
    size, macs = (256, 256), 0.0
    for operation in (op for part in parts for op in part):
        size = operation.output_size(size)
        macs += operation.macs * size[0] * size[1]
    return macs / 256**2


class Method:
    """A method: its stages in the order they run, and how the map of a transform point is solved."""

    name: ClassVar[str]
    diagonal: ClassVar[bool]
    """Whether variances are enough."""
    blends_styles: ClassVar[bool] = False
    """Whether a strength below 1 blends the style with the content's own, and not the map with the identity: for a
    decoder that gives a picture back only from features that were mapped to its statistics."""
    adds_up: ClassVar[bool] = False
    """Whether its transform points follow one another."""
    palette: ClassVar[str | None] = None
    """What the option `palette` means by auto; None for methods through which no colors of the content come."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.stages = list(stages)

    def seen(self, picture: Tensor, options: StylizeOptions) -> Tensor:
        """Return what the stages see of a content, (1, 3, H, W) to the same; here the picture itself."""
        return picture

    def solve(self, point: int, content: Moments, style: Moments, options: StylizeOptions) -> AffineMap:
        """Return the full-strength map for one transform point of a stage, counted from 0."""
        raise NotImplementedError

    def share(self, options: StylizeOptions) -> float:
        """Return the share of the style at each transform point, at the strength of the options, from 0 to 1.

        Where several points follow one another, also those of a palette behind the method, each adds its share to those
        before. So it is less than the strength, such that each quarter of it brings at least a tenth of the whole
        change of style (benchmarks/strength.py).
        """
        strength = options.strength
        adds_up = self.adds_up or (self.palette is not None and options.palette != "off")
        return strength * (0.35 + 0.65 * strength**2) if adds_up else strength

    def selected(self, options: StylizeOptions) -> list[tuple[int, Stage]]:
        """Return the stages to run for these options, each with its place in the style code."""
        return list(enumerate(self.stages))

    def macs_per_pixel(self, options: StylizeOptions) -> float:
        """Return the multiply-adds per picture pixel of these stages."""
        return sum(stage.macs_per_pixel for _, stage in self.selected(options))


def mix_codes(codes: Sequence[StyleCode], weights: Sequence[float]) -> StyleCode:
    """Mix style codes of one model point by point; see `mix_moments`."""
    return tuple(
        tuple(mix_moments(points, weights) for points in zip(*stage, strict=True)) for stage in zip(*codes, strict=True)
    )
