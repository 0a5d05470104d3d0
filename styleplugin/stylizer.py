"""From options to a picture: model, method, engine, report."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styleplugin.clip import check_reference, no_statistics, paired
from styleplugin.engine.device import pick_device
from styleplugin.engine.feature_map import StoredMap, extend
from styleplugin.engine.memory import keep_freed_memory
from styleplugin.engine.plan import Plan, make_plan
from styleplugin.engine.stream import Engine, OnStep
from styleplugin.errors import ResourceError, UsageError
from styleplugin.files import PathLike, has_suffix
from styleplugin.finish import OnBand, blended, lab_map, limited, steady
from styleplugin.guard import guarded, guarded_steps, is_out_of_memory
from styleplugin.job import (
    MIN_SIDE,
    PADDING_MULTIPLE,
    Content,
    Result,
    options_from,
    part_of,
    read_content,
    read_style,
    scaled,
    settings_of,
    weighted,
)
from styleplugin.loading import index
from styleplugin.loading.build import ModelInfo
from styleplugin.methods import registry
from styleplugin.methods.palette import MEASURED, MODEL, Finish, color_finish, level_finish
from styleplugin.methods.run import Maps, measure_style, run_stages
from styleplugin.methods.stage import Method, StyleCode
from styleplugin.networks.model import StyleModel
from styleplugin.networks.pairs import PairModel
from styleplugin.options import EngineOptions, FrameOptions, StylizeOptions
from styleplugin.paths import paths_among
from styleplugin.regions import has_regions, refuse_regions, stylize_regions
from styleplugin.report import Report, noted_by
from styleplugin.style import SUFFIX, Style, code_shapes, mix_styles
from styleplugin.tensorfile import shortened
from styleplugin.transforms.affine import AffineMap
from styleplugin.transforms.moments import Moments
from styleplugin.values import shown

_PRECISIONS = (torch.float32, torch.float64)


@dataclass(frozen=True, eq=False)
class _Frame:
    """A content on its way."""

    content: Content
    report: Report
    untouched: bool
    """Whether the content is the result."""


@dataclass(eq=False)
class _Pass:
    """A method that a shot runs through, and once they are solved, its maps."""

    method: Method
    code: StyleCode
    """Of the style."""
    options: StylizeOptions
    maps: Maps = field(default_factory=dict)


@dataclass(eq=False)
class _Shot:
    """What frames share."""

    passes: Sequence[_Pass]
    """The method, and what its palette runs behind it."""
    options: StylizeOptions
    files: tuple[PathLike, ...] = ()
    """Of the style."""
    label: int | None = None
    """Of the contents' masks."""
    is_blank: bool = False
    """Whether the maps were solved from frames without contrast."""
    colors: AffineMap | None = None
    """The map that keeps the content's color statistics."""

    @property
    def is_solved(self) -> bool:
        """Whether the maps are there."""
        return bool(self.passes[0].maps)


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
        canvas, weights = self._canvas(rgb), self._weights(counted)

        stages = [*self._method.stages, *(stage for finish in finishes for stage in finish.method.stages)]
        macs = sum(stage.macs_per_pixel for stage in stages) * math.prod(canvas.size)

        def run(plan: Plan) -> tuple[StyleCode, dict[str, Moments]]:
            engine = Engine(plan, picture_size=canvas.size, total_macs=macs, on_step=on_step)
            code, palette = measure_style(self._method, canvas, weights, engine), {}
            for finish in finishes:
                palette |= finish.measure(canvas, weights, engine)
            return code, palette

        code, palette = self._with_smaller_tiles(run, canvas.size, 1, notes.append)
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
        files = paths_among(style)

        def new_shot() -> _Shot:
            passes = [_Pass(self._method, mixed.code, chosen)]
            passes += [_Pass(f.method, code, f.options(chosen)) for f, code in zip(finishes, codes, strict=True)]
            return _Shot(passes, chosen, files, label)

        def run(some: Sequence[tuple[Any, Any]], shot: _Shot, place: int) -> Iterator[Result]:
            return self._together(some, shot, report, part_of(on_step, place, (count or 1) // len(some)))

        def by_reference() -> Iterator[Result]:
            shot = new_shot()
            waiting = deque(islice(pairs, sharing.frame + 1))
            if not waiting:
                return
            check_reference(sharing.frame, len(waiting))
            (result,) = run([waiting.pop()], shot, 0)
            if not shot.is_solved and chosen.strength:
                raise no_statistics(sharing.frame, "is hidden by its mask")
            if shot.is_blank:
                waiting.extend(islice(pairs, 1))
                if waiting:
                    raise no_statistics(sharing.frame, "has no contrast")
            for place in range(1, sharing.frame + 1):
                yield from run([waiting.popleft()], shot, place)
            yield result
            for place, pair in enumerate(pairs, sharing.frame + 1):
                yield from run([pair], shot, place)

        def results() -> Iterator[Result]:
            if sharing.statistics == "one frame":
                yield from by_reference()
            elif sharing.statistics == "whole batch":
                if together := list(pairs):
                    yield from run(together, new_shot(), 0)
            else:
                for place, pair in enumerate(pairs):
                    yield from run([pair], new_shot(), place)

        return results()

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
        return self._plan(size, frames, budget=1 << 62).bytes

    @guarded_steps
    def _together(
        self, pairs: Sequence[tuple[Any, Any]], shot: _Shot, report: Report, on_step: OnStep | None
    ) -> Iterator[Result]:
        """Stylize contents with their masks, all with the shot's maps; what is not solved yet is solved from them."""
        started = time.perf_counter()
        frames = [self._frame(content, mask, shot.label, report) for content, mask in pairs]
        outputs = self._outputs([frame for frame in frames if not frame.untouched], shot, on_step)
        seconds = (time.perf_counter() - started) / len(frames)
        for frame, (content, mask) in zip(frames, pairs, strict=True):
            started = time.perf_counter()
            picture, where = frame.content.picture, frame.content.where
            rgb = picture.rgb
            if not frame.untouched:
                rgb = blended(picture, outputs.pop(0), where, shot.options, shot.colors, _tick(on_step))
            seconds_here = seconds + time.perf_counter() - started
            frame.report.seconds["stylize"] = seconds_here
            frame.report.seconds["total"] = report.seconds["prepare"] + seconds_here
            inputs = paths_among(content, mask, shot.files)
            yield Result(dataclasses.replace(picture, rgb=rgb, warnings=()), frame.report, inputs)

    def _outputs(self, frames: Sequence[_Frame], shot: _Shot, on_step: OnStep | None) -> list[Tensor]:
        """Return the networks' outputs for frames, within their range."""
        if not frames:
            return []
        macs = sum(part.method.macs_per_pixel(part.options) for part in shot.passes)
        # Of one color, as between two scenes, a frame says nothing about the others.
        telling = [f for f in frames if not f.content.is_blank] or frames
        pictures = [f.content.picture for f in frames]
        counted = [
            f.content.counted if f in telling else torch.zeros_like(f.content.picture.rgb[:, :1]) for f in frames
        ]
        weights = [self._weights(part) for part in counted]
        if not shot.is_solved:
            shot.is_blank = telling[0].content.is_blank

        def run(plan: Plan) -> list[Tensor]:
            canvases = [self._canvas(self._method.seen(picture.rgb, shot.options)) for picture in pictures]
            sizes = [canvas.size for canvas in canvases]
            total = macs * sum(map(math.prod, sizes))
            engine = Engine(plan, picture_size=max(sizes, key=math.prod), total_macs=total, on_step=on_step)
            for frame in frames:
                frame.report.tile = plan.tile
            for part in shot.passes:
                given = (canvases, weights, part.code, part.options, engine, part.maps)
                canvases, part.maps = run_stages(part.method, *given)
            return [canvas.tensor for canvas in canvases]

        def note(message: str) -> None:
            for frame in frames:
                frame.report.warn(message)

        size = max((picture.size for picture in pictures), key=math.prod)
        outputs = self._with_smaller_tiles(run, size, len(frames), note)
        for i, picture in enumerate(pictures):
            height, width = picture.size
            output = outputs[i][:, :, :height, :width].float().cpu().contiguous(memory_format=torch.channels_last)
            outputs[i] = limited(picture, output, shot.options, _tick(on_step))
        if len(telling) > 1:
            steady(
                [f.content.picture.rgb for f in telling],
                [output for f, output in zip(frames, outputs, strict=True) if f in telling],
                [f.content.counted for f in telling],
                _tick(on_step),
            )
        if shot.options.keep_color == "lab" and shot.colors is None:
            rgbs = [picture.rgb for picture in pictures]
            shot.colors = lab_map(zip(rgbs, outputs, counted, strict=True), _tick(on_step))
        return outputs

    def _frame(self, content: Any, mask: Any, label: int | None, report: Report) -> _Frame:
        """Read a content and its mask; the frame's report is a copy of the one given."""
        report = dataclasses.replace(report, seconds=dict(report.seconds), warnings=list(report.warnings))
        read = read_content(content, mask, report, label=label, max_megapixels=self.options.max_megapixels)
        return _Frame(read, report, report.settings["strength"] == 0 or read.is_hidden)

    def _with_smaller_tiles(
        self, run: Callable[[Plan], Any], size: tuple[int, int], frames: int, note: Callable[[str], None]
    ) -> Any:
        """Run within the memory plan; if an allocation fails all the same, with smaller tiles, and say so."""
        plan: Plan | None = self._plan(size, frames)
        while plan is not None:
            try:
                with noted_by(note):
                    return run(plan)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                failed, plan = plan, plan.halved()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            if plan is not None:
                note(f"Out of memory with tiles of {failed.tile or 'the whole picture'}; went on with {plan.tile}.")
        raise ResourceError(
            "SP502",
            f"A picture of {size[1]} x {size[0]} does not fit in memory, not even in the smallest tiles.",
            "Close other programs, use another device, or take a smaller picture.",
        )

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

    def _canvas(self, rgb: Tensor) -> StoredMap:
        return StoredMap(extend(rgb.to(self._like), PADDING_MULTIPLE, MIN_SIDE))

    def _weights(self, weights: Tensor | None) -> Tensor | None:
        if weights is None or bool((weights == 1).all()):
            return None
        return extend(weights.to(self._like), PADDING_MULTIPLE, MIN_SIDE)

    def _plan(self, size: tuple[int, int], frames: int, budget: int | None = None) -> Plan:
        bytes_per_value = self._like.element_size()
        return make_plan(size, self.device, self.options, frames=frames, bytes_per_value=bytes_per_value, budget=budget)


def load(model: str, *, allow_unknown_model: bool = False, **options: Any) -> Stylizer:
    """Load a model by name or source.

    Args:
        model: `cd-wct.x16`, `builtin:NAME`, `file:PATH`, `hub:OWNER/REPO@REVISION/FILE`, or a path of weights.
        allow_unknown_model: Admit a local file that is not in the list of known models, with a warning.
        **options: Fields of `EngineOptions`, for example device="auto" or tile=512.

    Raises:
        WeightsError: SP3xx; HubError: SP4xx; UsageError: SP1xx; ResourceError: SP510, no such device.
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


def run(
    content: Any,
    style: Any,
    *,
    method: str | None = None,
    model: str | None = None,
    allow_unknown_model: bool = False,
    mask: Any = None,
    label: int | None = None,
    on_step: OnStep | None = None,
    **options: Any,
) -> Result:
    """Stylize one picture by a feed-forward method; see `styleplugin.stylize`.

    Raises:
        UsageError: SP108, the model is for another method; others as `load` and `Stylizer`.
    """
    known = {f.name for f in fields(EngineOptions)}
    engine_options = {name: options.pop(name) for name in list(options) if name in known}
    options_from(StylizeOptions, options)
    stylizer = load(model or choose_model(method, style), allow_unknown_model=allow_unknown_model, **engine_options)
    if method is not None and stylizer.info.method != method:
        raise UsageError(
            "SP108",
            f"The model {stylizer.info.name} is for the method {stylizer.info.method}, but `method` was {method}.",
            "Leave one of them out.",
        )
    return stylizer(content, style, mask=mask, label=label, on_step=on_step, **options)


def choose_model(method: str | None, style: Any) -> str:
    """Return the model for a method and styles, where none was named.

    Raises:
        UsageError: SP102, an unknown method.
    """
    if method is None:
        for part in weighted(style):
            given = part.style
            if isinstance(given, (str, os.PathLike)) and has_suffix(given, SUFFIX):
                given = Style.load(given)
            if isinstance(given, Style):
                return _embedded_model_of(given)
    models = registry.default_models()
    method = method or next(iter(models))
    if method not in models:
        raise UsageError(
            "SP102", f"`method` was {shown(method)}; it must be one of {', '.join(models)}.", "Use one of these."
        )
    return models[method]


def _embedded_model_of(style: Style) -> str:
    """Return the model's name, which nobody typed: a file may not choose what is downloaded or opened."""
    if not index.NAME.fullmatch(style.model) or style.model.endswith(SUFFIX):
        raise UsageError(
            "SP110",
            f"The style {style.name or 'given'} was prepared with {shortened(style.model)}, no embedded model.",
            "Name the model with `model=`.",
        )
    return style.model


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


def _tick(on_step: OnStep | None) -> OnBand:
    """Return what to call while a picture is finished: all is computed, but a stop is still heard."""
    return (lambda: None) if on_step is None else lambda: on_step(1.0, 1.0, "finish")
