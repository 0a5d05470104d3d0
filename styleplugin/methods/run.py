"""Running a method: the code of a style, and pictures that share their maps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from torch import Tensor

from styleplugin.engine.feature_map import FeatureMap, StoredMap
from styleplugin.engine.stream import Engine, Measure, Stage
from styleplugin.methods.stage import Method, StyleCode
from styleplugin.options import StylizeOptions
from styleplugin.transforms.affine import AffineMap
from styleplugin.transforms.moments import Moments, mix_moments

Maps = dict[tuple[int, int], AffineMap]
"""The solved map for each stage's place in the style code and each of its transform points."""


def measure_style(method: Method, style: StoredMap, weights: Tensor | None, engine: Engine) -> StyleCode:
    """Measure a style picture.

    Args:
        method: What the code is for.
        style: (1, 3, H, W), sides multiples of the deepest stride.
        weights: (1, 1, H, W), how much each pixel counts; None where all count alike.
        engine: What computes.
    """
    measure = Measure(diagonal=method.diagonal, weights=weights)
    code = []
    for stage in method.stages:
        engine.stage_name = f"style {stage.name}"
        # Deeper features are computed from shallower ones, which are kept once they are measured.
        shallow_first = stage.style_features(style)[::-1]
        code.append(tuple(engine.measure(feature_map, measure, last=True) for feature_map in shallow_first)[::-1])
    return tuple(code)


def run_stages(
    method: Method,
    contents: list[StoredMap],
    weights: Sequence[Tensor | None],
    code: StyleCode,
    options: StylizeOptions,
    engine: Engine,
    maps: Maps | None = None,
) -> tuple[list[StoredMap], Maps]:
    """Run a method's stages on pictures that share their maps.

    Args:
        method: Its stages, and how it solves for a map.
        contents: (1, 3, H, W) each, sides multiples of the deepest stride. The list is emptied, as by `Engine.run`.
        weights: Of each content's pixels, as for `measure_style`.
        code: Of the style.
        options: Which stages run, at which strength.
        engine: What computes.
        maps: What is solved already; the rest is solved from these contents.

    Returns:
        The outputs, and the maps of all transform points.
    """
    measures = [Measure(diagonal=method.diagonal, weights=part) for part in weights]
    solved = dict(maps or {})
    blends = method.blends_styles and options.strength < 1

    def measured(features: Sequence[FeatureMap], *, last: bool = False) -> Moments:
        parts = zip(features, measures, strict=True)
        moments = [engine.measure(feature_map, measure, last=last) for feature_map, measure in parts]
        return sum(moments[1:], moments[0])

    def solve(
        stage: Stage, place: int, inputs: Sequence[StoredMap], point: int, features: Sequence[FeatureMap]
    ) -> AffineMap:
        if (place, point) not in solved:
            content, style = measured(features), code[place][point]
            strength = method.share(options)
            if blends:
                own = measured([stage.style_features(canvas)[point] for canvas in inputs], last=True)
                style, strength = mix_moments([own, style], [1 - strength, strength]), 1.0
            solved[place, point] = method.solve(point, content, style, options).blend(strength)
        return solved[place, point]

    for place, stage in method.selected(options):
        # The engine lets go of its inputs as soon as it can.
        inputs = list(contents) if blends else []
        contents = engine.run(stage, contents, partial(solve, stage, place, inputs))
    return contents, solved
