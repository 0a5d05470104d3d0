"""From options to a picture: model, method, engine, report."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styleplugin.clip import Clip, check_reference, paired
from styleplugin.engine.device import pick_device
from styleplugin.engine.memory import keep_freed_memory
from styleplugin.engine.plan import Plan
from styleplugin.engine.retry import with_smaller_tiles
from styleplugin.engine.stream import Engine, OnStep
from styleplugin.errors import UsageError
from styleplugin.files import has_suffix
from styleplugin.guard import guarded
from styleplugin.job import (
    Result,
    options_from,
    read_style,
    scaled,
    settings_of,
    weighted,
)
from styleplugin.loading import index
from styleplugin.loading.build import ModelInfo
from styleplugin.methods import registry
from styleplugin.methods.palette import MEASURED, MODEL, Finish, color_finish, level_finish
from styleplugin.methods.run import measure_style
from styleplugin.methods.stage import StyleCode
from styleplugin.networks.model import StyleModel
from styleplugin.networks.pairs import PairModel
from styleplugin.options import EngineOptions, FrameOptions, StylizeOptions
from styleplugin.paths import paths_among
from styleplugin.regions import has_regions, refuse_regions, stylize_regions
from styleplugin.report import Report
from styleplugin.session import Pass, Session, pad, pad_weights, plan_of
from styleplugin.style import SUFFIX, Style, code_shapes, mix_styles
from styleplugin.transforms.moments import Moments

_PRECISIONS = (torch.float32, torch.float64)


class Stylizer:
    """A loaded model, ready to stylize many pictures.

    Args:
        model: From `index.load`; moved to the device.
        info: Its descriptor.
        options: Device, tiles and memory.
        dtype: torch.float32, or torch.float64 for reference runs.
        source: Where the model was loaded from; with it the stylizer can be copied and sent to other processes, which
            load the same file, by its hash.

    Raises:
        UsageError: SP102, another dtype. ResourceError: SP510, no such device; SP511, it fails.

    Example:
        >>> import styleplugin
        >>> import numpy as np
        >>> content, style = np.random.default_rng(0).random((2, 64, 64, 3), np.float32)
        >>> stylizer = styleplugin.load("cd-adain.x16", device="cpu")
        >>> prepared = stylizer.prepare(style)
        >>> [stylizer(picture, prepared).picture.size for picture in (content, content[:48])]
        [(64, 64), (48, 64)]
    """

    @guarded()
    def __init__(
        self,
        model: StyleModel,
        info: ModelInfo,
        options: EngineOptions | None = None,
        *,
        dtype: torch.dtype = torch.float32,
        source: str | Path | None = None,
    ) -> None:
        if dtype not in _PRECISIONS:
            raise UsageError(
                "SP102",
                f"`dtype` was {dtype}; it must be one of {', '.join(map(str, _PRECISIONS))}.",
                "In half precision the statistics of a style lose their small directions, and the picture its colors.",
            )
        self.info = info
        self._source = source
        self.model = model
        self.options = options or EngineOptions()
        self.device = pick_device(self.options.device)
        if self.device.type == "cpu":
            keep_freed_memory()
        self._like = torch.empty(0, device=self.device, dtype=dtype)
        self._method = registry.imported(registry.find(model.method).method)(model, self._like)
        self._finish = cache(partial(_finish_of, like=self._like))
        self._encoders = model.encoder_ids
        self._shapes = code_shapes(model.points, diagonal=self._method.diagonal)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._source is None:
            raise UsageError(
                "SP170",
                f"This stylizer of {self.info.name} was made from a model in memory, which cannot be copied.",
                "Make it with styleplugin.load.",
            )
        return _rebuilt, (self._source, self.info.sha256, self.options, self._like.dtype)

    def prepare(
        self,
        style: Any,
        *,
        mask: Any = None,
        label: int | None = None,
        style_scale: float = 1.0,
        trim_style: bool = False,
        on_step: OnStep | None = None,
    ) -> Style:
        """Measure a style picture once, to apply it to many pictures.

        Args:
            style: Path, Pillow image, array or tensor of a picture; a path of a style file; or a `Style`, which is
                checked and returned.
            mask: Which part of the picture counts, as a picture: white counts, black does not.
            label: The value that counts, where the mask is a picture of labels.
            style_scale: Size of the picture relative to itself when it is encoded.
            trim_style: Leave uniform borders of the picture out.
            on_step: Called after every tile; raise `Cancelled` in it to stop.

        Raises:
            InputImageError: SP2xx, a picture that cannot be used; SP223, a mask that is black everywhere.
            WeightsError: SP3xx, a style file that cannot be used.
            UsageError: SP110, a style of another model; SP117, a mask for a style without its picture.
        """
        finishes = self._finishes(*MEASURED)
        settings = {"mask": mask, "label": label, "style_scale": style_scale, "trim_style": trim_style}
        return self._prepared(style, finishes, on_step, **settings)

    @guarded()
    def _prepared(
        self,
        style: Any,
        finishes: Sequence[Finish],
        on_step: OnStep | None,
        *,
        mask: Any,
        label: int | None = None,
        style_scale: float,
        trim_style: bool,
    ) -> Style:
        """Prepare a style; of a picture, for no other finishes than these."""
        style_scale = StylizeOptions(style_scale=style_scale).style_scale
        if isinstance(style, (str, os.PathLike)) and has_suffix(style, SUFFIX):
            style = Style.load(style)
        if isinstance(style, Style):
            if mask is not None:
                raise UsageError(
                    "SP117", "A mask was given for a style without its picture.", "Give the picture of the style."
                )
            style.check_fits(self._encoders, self.info.name, self._shapes)
            return style
        limit = self.options.max_megapixels
        picture = read_style(style, mask, label=label, trim=trim_style, max_megapixels=limit)
        notes = list(picture.warnings)
        rgb = scaled(picture.rgb, style_scale)
        counted = None if picture.alpha is None else scaled(picture.alpha, style_scale)
        canvas, weights = pad(rgb, self._like), pad_weights(counted, self._like)

        stages = [*self._method.stages, *(stage for finish in finishes for stage in finish.method.stages)]
        macs = sum(stage.macs_per_pixel for stage in stages) * math.prod(canvas.size)

        def run(plan: Plan) -> tuple[StyleCode, dict[str, Moments]]:
            engine = Engine(plan, picture_size=canvas.size, total_macs=macs, on_step=on_step)
            code, palette = measure_style(self._method, canvas, weights, engine), {}
            for finish in finishes:
                palette |= finish.measure(canvas, weights, engine)
            return code, palette

        plan = plan_of(canvas.size, self._like, self.options)
        (code, palette), _ = with_smaller_tiles(run, plan, canvas.size, notes.append)
        prepared = Style(
            code,
            self.info.name,
            self._encoders,
            picture.name,
            (rgb.shape[2], rgb.shape[3]),
            tuple(notes),
            palette,
        )
        for moments in (*(point for stage in code for point in stage), *palette.values()):
            moments.check_finite("style")
        return prepared

    @guarded()
    def __call__(
        self,
        content: Any,
        style: Any,
        *,
        mask: Any = None,
        label: int | None = None,
        on_step: OnStep | None = None,
        **options: Any,
    ) -> Result:
        """Stylize a picture.

        Args:
            content: Path, Pillow image, array, tensor or `Picture`.
            style: As for `prepare`, or a list of styles, of (style, weight) or of `StyleWeight` to mix; these
                can have regions of their own.
            mask: Where the style applies, as a picture: white is stylized, black is left exactly as it is.
            label: The value that is stylized, where the mask is a picture of labels.
            on_step: Called after every tile with (done, total, stage); raise `Cancelled` in it to stop.
            **options: Fields of `StylizeOptions`.

        Returns:
            A picture of the content's size, with its alpha.

        Raises:
            UsageError: SP1xx, an option out of range; InputImageError: SP2xx; WeightsError: SP3xx;
            ResourceError: SP5xx, not enough memory; NumericalError: SP7xx; Cancelled.
        """
        options_from(StylizeOptions, options)

        def paint(content: Any, style: Any, mask: Any, on_step: OnStep | None, *, label: int | None = None) -> Result:
            (result,) = self.frames([content], style, masks=[mask], label=label, on_step=on_step, **options)
            return result

        parts = weighted(style)
        if has_regions(parts):
            limit = self.options.max_megapixels
            return stylize_regions(content, parts, mask, paint, on_step, label=label, max_megapixels=limit)
        return paint(content, style, mask, on_step, label=label)

    def frames(
        self,
        contents: Iterable[Any],
        style: Any,
        *,
        masks: Iterable[Any] | None = None,
        label: int | None = None,
        on_step: OnStep | None = None,
        **options: Any,
    ) -> Iterator[Result]:
        """Stylize the frames of a shot in one style, steadily if their statistics are shared.

        Frames are read when their turn comes, and only one is in memory at a time; with the statistics of the whole
        batch all of them are, since every level needs the previous one of all frames.

        Args:
            contents: Paths, Pillow images, arrays, tensors, `Picture`: a list, or an iterator, which is read as the
                results are asked for, and with the statistics of one frame up to that frame first; a path is one frame.
            style: As for a single picture.
            masks: One for each frame, None for frames without, or the path of one for all; see `__call__`.
            label: Of the masks; see `__call__`.
            on_step: Called after every tile with (done, total, stage), over all frames, or over one where nobody knows
                how many an iterator has; raise `Cancelled` in it to stop.
            **options: Fields of `StylizeOptions` and `FrameOptions`.

        Returns:
            An iterator over the results, in the order of the frames; none for no frames.

        Raises:
            MaskError: SP222, another number of masks than frames; of iterators, once one of them ends.
            UsageError: SP118, the frame for the statistics does not exist, is masked out, or is of one color; others as
                for a picture.
        """
        started = time.perf_counter()
        shared = {f.name: options.pop(f.name) for f in fields(FrameOptions) if f.name in options}
        chosen, sharing = options_from(StylizeOptions, options), options_from(FrameOptions, shared)
        if chosen.grain is None:
            chosen = dataclasses.replace(chosen, grain=float(sharing.statistics == "per frame"))
        pairs, count = paired(contents, masks)
        if sharing.statistics == "one frame" and count:
            check_reference(sharing.frame, count)
        finishes = self._finishes(chosen.palette)
        # What auto means stands in the report.
        chosen = dataclasses.replace(chosen, palette=finishes[0].palette if finishes else "off")
        report = Report(
            settings={
                "method": self._method.name,
                "model": self.info.name,
                **settings_of(chosen, sharing, self.options),
            },
            model_sha256=self.info.sha256,
            palette_sha256="".join(finish.sha256 for finish in finishes),
            device=str(self.device),
        )
        mixed = self._mixed(style, finishes, chosen, report, on_step)
        codes = [mixed.code_for(finish) for finish in finishes]
        report.seconds["prepare"] = time.perf_counter() - started

        def new_session() -> Session:
            passes = [Pass(self._method, mixed.code, chosen)]
            passes += [Pass(f.method, code, f.options(chosen)) for f, code in zip(finishes, codes, strict=True)]
            return Session(passes, chosen, self.options, self._like)

        clip = Clip(
            new_session=new_session,
            report=report,
            files=paths_among(style),
            label=label,
            max_megapixels=self.options.max_megapixels,
            count=count,
            on_step=on_step,
        )
        return clip.results(pairs, sharing)

    def macs_per_pixel(self, **options: Any) -> float:
        """Return the multiply-adds per picture pixel of a run.

        Args:
            **options: Fields of `StylizeOptions`.
        """
        chosen = options_from(StylizeOptions, options)
        palettes = (f.method.macs_per_pixel(f.options(chosen)) for f in self._finishes(chosen.palette))
        return self._method.macs_per_pixel(chosen) + sum(palettes)

    def memory_needed(self, size: tuple[int, int], *, frames: int = 1) -> int:
        """Return the bytes a run needs beside the program, the model and the pictures handed in, if there is room.

        Args:
            size: (height, width) of a picture.
            frames: How many share the statistics of the whole batch.
        """
        return plan_of(size, self._like, self.options, frames=frames, budget=1 << 62).bytes

    @guarded()
    def _finishes(self, *palettes: str) -> list[Finish]:
        """Return what palettes run behind the method: nothing for off, and for methods that have none."""
        own = self._method.palette
        chosen = [] if own is None else [own if palette == "auto" else palette for palette in palettes]
        return [self._finish(palette) for palette in chosen if palette != "off"]

    def _mixed(
        self,
        style: Any,
        finishes: Sequence[Finish],
        options: StylizeOptions,
        report: Report,
        on_step: OnStep | None,
    ) -> Style:
        parts = weighted(style)
        refuse_regions(parts, "a clip")
        settings = {"style_scale": options.style_scale, "trim_style": options.trim_style}
        styles = [self._prepared(part.style, finishes, on_step, mask=part.mask, **settings) for part in parts]
        report.style_sizes = [prepared.size for prepared in styles]
        mixed = mix_styles(styles, [part.weight for part in parts])
        for note in mixed.warnings:
            report.warn(f"style: {note}")
        if mixed.is_degenerate:
            report.warn("degenerate_style: the style has no contrast; only its color is transferred.")
        elif not self._method.diagonal and mixed.positions < 1:
            report.warn(
                "small_style: the style picture has fewer feature cells than channels; its covariance was completed."
            )
        return mixed


def load(model: str, *, allow_unknown_model: bool = False, **options: Any) -> Stylizer:
    """Load a model by name or source.

    Args:
        model: `cd-wct.x16`, `builtin:NAME`, `file:PATH`, `hub:OWNER/REPO@REVISION/FILE`, or a path of weights.
        allow_unknown_model: Admit a local file that is not in the list of known models, with a warning.
        **options: Fields of `EngineOptions`, for example device="auto" or tile=512.

    Raises:
        WeightsError: SP3xx; HubError: SP4xx; UsageError: SP1xx; ResourceError: SP510, no such device.

    Example:
        >>> stylizer = load("cd-adain.x16", device="cpu", tile=512)
        >>> stylizer.info.method, stylizer.options.tile
        ('adain', '512')
    """
    engine_options = options_from(EngineOptions, options)
    module, info = index.load(model, allow_unknown=allow_unknown_model)
    return Stylizer(module, info, engine_options, source=index.absolute(model))


def _rebuilt(source: str | Path, sha256: str, options: EngineOptions, dtype: torch.dtype) -> Stylizer:
    """Return a copy of a stylizer, in whatever process and folder.

    Raises:
        WeightsError: SP301, the file is gone; SP313, it is another one now.
    """
    module, info = index.load(source, sha256=sha256)
    return Stylizer(module, info, options, dtype=dtype, source=source)


def _finish_of(palette: str, like: Tensor) -> Finish:
    """Return what map, level1 or level2 runs; raises WeightsError SP313 or SP316 if its weights are not there."""
    if palette == "map":
        return color_finish()
    model, info = _palette_model()
    return level_finish(palette, model, info.sha256, like)


@cache
def _palette_model() -> tuple[PairModel, ModelInfo]:
    model, info = index.load(f"builtin:{MODEL}")
    assert isinstance(model, PairModel)
    return model, info
