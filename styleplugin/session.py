"""A run: what is asked, solved and rendered.

`solve` measures contents and solves for the maps of all transform points; `render` sends one picture through them.
Nothing is computed twice: what `solve` has computed of a content on the way, `render` takes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import compress

import torch
from torch import Tensor

from styleplugin.engine.feature_map import StoredMap, extend
from styleplugin.engine.plan import Plan, make_plan
from styleplugin.engine.retry import with_smaller_tiles
from styleplugin.engine.stream import Engine, OnStep
from styleplugin.finish import OnBand, blend, lab_map, limit, steady
from styleplugin.job import Content
from styleplugin.methods.run import Maps, run_stages
from styleplugin.methods.stage import Method, StyleCode
from styleplugin.options import EngineOptions, StylizeOptions
from styleplugin.transforms.affine import AffineMap

Note = Callable[[str], None]
"""Takes a warning."""


@dataclass(eq=False)
class Pass:
    """A method, and the style that it is to give: what a palette runs follows the method itself."""

    method: Method
    code: StyleCode
    options: StylizeOptions
    maps: Maps = field(default_factory=dict)
    """Those that are solved."""


class Session:
    """Pictures that share a style and, once they are solved, the maps to it.

    Args:
        passes: One after the other, each on the output of the one before.
        options: Of the finished picture.
        engine: Tiles and memory.
        like: Gives device and dtype.
        on_step: Called after every tile; raise `Cancelled` in it to stop.
    """

    def __init__(
        self,
        passes: Sequence[Pass],
        options: StylizeOptions,
        engine: EngineOptions,
        like: Tensor,
        on_step: OnStep | None = None,
    ) -> None:
        self._passes, self._options, self._engine, self._like = passes, options, engine, like
        self.on_step = on_step
        self.tile = 0
        """Side of the tiles of the last run; 0 for the whole picture."""
        self.is_blank = False
        """Whether the maps were solved from contents without contrast."""
        self._colors: AffineMap | None = None
        """The map that keeps the content's color statistics."""
        self._outputs: dict[Content, Tensor] = {}
        """Of contents that were solved from, and are not rendered yet."""

    @property
    def is_solved(self) -> bool:
        """Whether the maps are there."""
        return bool(self._passes[0].maps)

    def solve(self, contents: Sequence[Content], note: Note) -> None:
        """Measure contents together, and solve for the maps and kept colors that they share; steady their outputs.

        Args:
            contents: At least one; those of one color say nothing about the others.
            note: Takes warnings.

        Raises:
            ResourceError: SP501 or SP502, not enough memory; NumericalError: SP7xx; Cancelled.
        """
        self.is_blank = all(content.is_blank for content in contents)
        telling = [self.is_blank or not content.is_blank for content in contents]
        counted = [_counted(*part) for part in zip(contents, telling, strict=True)]
        outputs = self._run(contents, counted, note)
        rgbs = [content.picture.rgb for content in contents]
        if sum(telling) > 1:
            steady(
                list(compress(rgbs, telling)),
                list(compress(outputs, telling)),
                list(compress(counted, telling)),
                self._tick,
            )
        if self._options.keep_color == "lab":
            self._colors = lab_map(zip(rgbs, outputs, counted, strict=True), self._tick)
        self._outputs |= dict(zip(contents, outputs, strict=True))

    def render(self, content: Content, note: Note) -> Tensor:
        """Return a content's finished picture, (1, 3, H, W), through the maps that are solved.

        Raises:
            ResourceError: SP501 or SP502, not enough memory; NumericalError: SP703; Cancelled.
        """
        output = self._outputs.pop(content, None)
        if output is None:
            (output,) = self._run([content], [content.counted], note)
        return blend(content.picture, output, content.where, self._options, self._colors, self._tick)

    def _run(self, contents: Sequence[Content], counted: Sequence[Tensor | None], note: Note) -> list[Tensor]:
        """Return the networks' outputs for contents, within their range; what is not solved yet is solved from them."""
        pictures = [content.picture for content in contents]
        weights = [pad_weights(part, self._like) for part in counted]

        def run(plan: Plan) -> list[Tensor]:
            seen = self._passes[0].method.seen
            canvases = [pad(seen(picture.rgb, self._options), self._like) for picture in pictures]
            sizes = [canvas.size for canvas in canvases]
            macs = sum(part.method.macs_per_pixel(part.options) for part in self._passes) * sum(map(math.prod, sizes))
            engine = Engine(plan, picture_size=max(sizes, key=math.prod), total_macs=macs, on_step=self.on_step)
            for part in self._passes:
                canvases, part.maps = run_stages(
                    part.method, canvases, weights, part.code, part.options, engine, part.maps
                )
            return [canvas.tensor for canvas in canvases]

        size = max((picture.size for picture in pictures), key=math.prod)
        plan = plan_of(size, self._like, self._engine, frames=len(contents))
        outputs, plan = with_smaller_tiles(run, plan, size, note)
        self.tile = plan.tile
        for i, picture in enumerate(pictures):
            height, width = picture.size
            output = outputs[i][:, :, :height, :width].float().cpu().contiguous(memory_format=torch.channels_last)
            outputs[i] = limit(picture, output, self._options, self._tick)
        return outputs

    @property
    def _tick(self) -> OnBand:
        """What to call while a picture is finished: all is computed, but a stop is still heard."""
        on_step = self.on_step
        return (lambda: None) if on_step is None else lambda: on_step(1.0, 1.0, "finish")


def pad(rgb: Tensor, like: Tensor) -> StoredMap:
    """Return (1, 3, H, W) as a map, continued to sides that the deepest stride divides."""
    return StoredMap(extend(rgb.to(like)))


def pad_weights(weights: Tensor | None, like: Tensor) -> Tensor | None:
    """Return (1, 1, H, W) continued as the picture is; None where all pixels count alike."""
    if weights is None or bool((weights == 1).all()):
        return None
    return extend(weights.to(like))


def plan_of(
    size: tuple[int, int], like: Tensor, options: EngineOptions, *, frames: int = 1, budget: int | None = None
) -> Plan:
    """Plan a run of pictures of (height, width); see `make_plan`."""
    return make_plan(size, like.device, options, frames=frames, bytes_per_value=like.element_size(), budget=budget)


def _counted(content: Content, is_telling: bool) -> Tensor | None:
    """Return how much each pixel of a content counts: not at all where the content says nothing."""
    return content.counted if is_telling else torch.zeros_like(content.picture.rgb[:, :1])
