"""Palettes: a shallow method behind another one, which takes away what has leaked of the content's colors.

AdaIN and KBStyle match the channels of their features one by one, so that colors of the content come through: a blue
sea in a gray style. Behind them follows either one linear map of the colors, or whitening and coloring at the
shallowest levels, where features are little more than colors and edges.

Source: Pitie and Kokaram 2007 for the colors, Li et al. 2017 for the levels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator
from dataclasses import dataclass

from torch import Tensor

from styleplugin.engine.feature_map import FeatureMap, StoredMap, through
from styleplugin.engine.operations import Mapped
from styleplugin.engine.stream import Engine
from styleplugin.methods.run import measure_style
from styleplugin.methods.stage import Method
from styleplugin.methods.wct.method import WCT
from styleplugin.networks.pairs import PairModel
from styleplugin.options import StylizeOptions
from styleplugin.transforms.affine import AffineMap
from styleplugin.transforms.colors import color_map
from styleplugin.transforms.moments import Moments

MODEL = "cd-wct.x16"
"""The embedded model whose levels are used."""
COLORS = "colors"
"""Stands for an encoder where pictures are measured themselves."""
LEVELS = {"level1": (1,), "level2": (2, 1)}
"""Those that the palettes run."""
MEASURED = ("map", "level2")
"""Palettes that, together, need all that any palette does of a style."""


class ColorStage:
    """The colors of the picture are its features. One transform point."""

    name = COLORS
    macs_per_pixel = 9.0

    def style_features(self, style: FeatureMap) -> list[FeatureMap]:
        """Return the picture itself."""
        return [style]

    def run(self, content: FeatureMap) -> Generator[FeatureMap, AffineMap, FeatureMap]:
        """Yield the picture, receive the map of its colors, return the mapped one."""
        affine = yield content
        return through(content, [Mapped(affine)])


class ColorMap(Method):
    """One linear map of the colors, solved from their means and covariances."""

    name = COLORS
    diagonal = False
    # It follows the method's own points.
    adds_up = True

    def __init__(self) -> None:
        super().__init__([ColorStage()])

    def solve(self, point: int, content: Moments, style: Moments, options: StylizeOptions) -> AffineMap:
        """Return the map that moves the colors least."""
        return color_map(content, style)


@dataclass(frozen=True)
class Finish:
    """What the option `palette` runs behind a method."""

    palette: str
    method: Method
    encoders: tuple[str, ...]
    """Pairing ids of its encoders, one for each stage: what it needs of a style."""
    points: tuple[tuple[int, ...], ...]
    """Channels at the transform point of each stage."""
    levels: tuple[int, ...] = ()
    sha256: str = ""
    """Of the weights file, if it has one."""

    def options(self, chosen: StylizeOptions) -> StylizeOptions:
        """Return the options of this run for those of the whole."""
        return dataclasses.replace(chosen, levels=self.levels)

    def measure(self, style: StoredMap, weights: Tensor | None, engine: Engine) -> dict[str, Moments]:
        """Return the moments of a style picture by encoder; see `measure_style`."""
        code = measure_style(self.method, style, weights, engine)
        return dict(zip(self.encoders, (points[0] for points in code), strict=True))


def color_finish() -> Finish:
    """Return what the palette map runs."""
    return Finish("map", ColorMap(), (COLORS,), ((3,),))


def level_finish(palette: str, model: PairModel, sha256: str, like: Tensor) -> Finish:
    """Return what level1 or level2 runs.

    Args:
        palette: Which of them.
        model: `MODEL`.
        sha256: Of its file.
        like: Gives device and dtype.
    """
    shallow = PairModel(model.method, [model.pair(level) for level in LEVELS[palette]])
    method = WCT(shallow, like)
    return Finish(palette, method, shallow.encoder_ids, shallow.points, shallow.levels, sha256)
