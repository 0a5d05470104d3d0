"""From options to a picture: model, method, engine, report."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from styleplugin import zoo
from styleplugin.engine.device import is_out_of_memory, pick_device
from styleplugin.engine.fields import Canvas, extend
from styleplugin.engine.plan import Plan, make_plan
from styleplugin.engine.stream import Engine, Measure, OnStep
from styleplugin.errors import NumericalError, ResourceError, UsageError
from styleplugin.images.color import lab_to_rgb, rgb_to_lab, with_luminance_of
from styleplugin.images.picture import Picture, read_mask, to_picture, to_pil
from styleplugin.images.small import losses, write_image
from styleplugin.images.smooth import guided_filter
from styleplugin.methods.adain import AdaIN
from styleplugin.methods.base import Method
from styleplugin.methods.photorealistic import Photorealistic
from styleplugin.methods.wct import WCT
from styleplugin.options import EngineOptions, StyleWeight, StylizeOptions
from styleplugin.registry import ModelInfo, StyleModel
from styleplugin.report import Report
from styleplugin.style import SUFFIX, Style, mix_styles
from styleplugin.transforms.adain import adain_map
from styleplugin.transforms.moments import Moments

METHODS: dict[str, Callable[[Any, Tensor], Method]] = {"wct": WCT, "adain": AdaIN, "photorealistic": Photorealistic}

PADDING_MULTIPLE, MIN_SIDE = 16, 32
"""Pictures are continued by reflection to sides that the deepest stride divides, with two feature cells at least."""

_BAND = 512
# Rows that are finished at once: bounds the memory of color conversions.


@dataclass(frozen=True, eq=False)
class Result:
    """A stylized picture and the account of how it was made."""

    picture: Picture
    report: Report = field(default_factory=Report)

    @property
    def image(self) -> Image.Image:
        """The picture as an 8-bit Pillow image, RGB or RGBA."""
        return to_pil(self.picture)

    @property
    def tensor(self) -> Tensor:
        """The colors as (1, 3, H, W) float32 in [0, 1]."""
        return self.picture.rgb

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False, quality: int = 95) -> None:
        """Write the picture; see `styleplugin.images.small.write_image` for formats and errors."""
        write_image(self.picture, path, overwrite=overwrite, quality=quality)
        self.report.warnings += [note for note in losses(self.picture, path) if note not in self.report.warnings]


class Stylizer:
    """A loaded model, ready to stylize many pictures.

    Args:
        model: From `zoo.load`; moved to the device.
        info: Its descriptor.
        options: Device, tiles and memory.
        dtype: torch.float32, or torch.float64 for reference runs.
    """

    def __init__(
        self,
        model: StyleModel,
        info: ModelInfo,
        options: EngineOptions | None = None,
        *,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.info = info
        self.model = model
        self.options = options or EngineOptions()
        self.device = pick_device(self.options.device)
        self._like = torch.empty(0, device=self.device, dtype=dtype)
        self._method = METHODS[model.method](model, self._like)
        self.macs_per_pixel = sum(stage.macs_per_pixel for stage in self._method.stages)
        self._encoders = model.encoder_ids

    def prepare(self, style: Any, *, style_scale: float = 1.0, on_step: OnStep | None = None) -> Style:
        """Measure a style picture once, to apply it to many pictures.

        Args:
            style: Path, Pillow image, array or tensor of a picture; a path of a style file; or a `Style`, which is
                checked and returned.
            style_scale: Size of the picture relative to itself when it is encoded.
            on_step: Called after every tile; raise `Cancelled` in it to stop.

        Raises:
            InputImageError: SP2xx, a picture that cannot be used.
            WeightsError: SP3xx, a style file that cannot be used.
            UsageError: SP110, a style of another model.
        """
        if isinstance(style, (str, os.PathLike)) and Path(style).suffix == SUFFIX:
            style = Style.load(style)
        if isinstance(style, Style):
            style.check_fits(self._encoders, self.info.name)
            return style
        picture = to_picture(style)
        rgb, alpha = _scaled(picture.rgb, style_scale), picture.alpha
        alpha = None if alpha is None else _scaled(alpha, style_scale)
        canvas, weights = self._canvas(rgb), self._weights(alpha)

        def run(plan: Plan) -> tuple[tuple[Moments, ...], ...]:
            engine = Engine(plan, picture_size=canvas.size, total_macs=self._macs(canvas.size), on_step=on_step)
            measure = Measure(diagonal=self._method.diagonal, weights=weights)
            code = []
            for stage in self._method.stages:
                engine.stage_name = f"style {stage.name}"
                code.append(tuple(engine.measure(features, measure) for features in stage.style_features(canvas)))
            return tuple(code)

        notes = list(picture.warnings)
        code = self._with_smaller_tiles(run, canvas.size, notes.append)
        prepared = Style(
            code,
            self.info.name,
            self._encoders,
            picture.name,
            (rgb.shape[2], rgb.shape[3]),
            tuple(notes),
        )
        for stage in code:
            for moments in stage:
                moments.check_finite("style")
        return prepared

    def __call__(
        self,
        content: Any,
        style: Any,
        *,
        mask: Any = None,
        on_step: OnStep | None = None,
        **options: Any,
    ) -> Result:
        """Stylize a picture.

        Args:
            content: Path, Pillow image, array, tensor or `Picture`.
            style: As for `prepare`, or a list of styles, of (style, weight) or of `StyleWeight` to mix.
            mask: Where the style applies, as a picture: white is stylized, black is left exactly as it is.
            on_step: Called after every tile with (done, total, stage); raise `Cancelled` in it to stop.
            **options: Fields of `StylizeOptions`.

        Returns:
            A picture of the content's size, with its alpha.

        Raises:
            UsageError: SP1xx, an option out of range; InputImageError: SP2xx; WeightsError: SP3xx;
            ResourceError: SP5xx, not enough memory; NumericalError: SP7xx; Cancelled.
        """
        started = time.perf_counter()
        chosen = options_from(StylizeOptions, options)
        report = Report(
            settings={
                "method": self._method.name,
                "model": self.info.name,
                **dataclasses.asdict(chosen),
                **dataclasses.asdict(self.options),
            },
            model_sha256=self.info.sha256,
            device=str(self.device),
        )
        picture = to_picture(content)
        report.content_size = picture.size
        for note in picture.warnings:
            report.warn(f"content: {note}")
        where = self._where(mask, picture, report)
        code = self._mixed(style, chosen, report, on_step)
        prepared = time.perf_counter()
        if chosen.strength == 0 or (where is not None and not where.any()):
            rgb = picture.rgb
        else:
            rgb = self._stylized(picture, code, where, chosen, report, on_step)
        done = time.perf_counter()
        report.seconds = {"prepare": prepared - started, "stylize": done - prepared, "total": done - started}
        return Result(dataclasses.replace(picture, rgb=rgb, warnings=()), report)

    def _stylized(
        self,
        picture: Picture,
        style: Style,
        where: Tensor | None,
        options: StylizeOptions,
        report: Report,
        on_step: OnStep | None,
    ) -> Tensor:
        stages = self._method.selected(options)
        canvas = self._canvas(picture.rgb)
        visible = picture.alpha if where is None else where if picture.alpha is None else where * picture.alpha
        measure = Measure(diagonal=self._method.diagonal, weights=self._weights(visible))

        def run(plan: Plan) -> Tensor:
            report.tile = plan.tile
            total = sum(stage.macs_per_pixel for _, stage in stages) * canvas.size[0] * canvas.size[1]
            engine = Engine(plan, picture_size=canvas.size, total_macs=total, on_step=on_step)
            output = canvas
            for place, stage in stages:
                points = style.code[place]
                output = engine.run(
                    stage,
                    output,
                    lambda point, content, points=points: self._method.solve(content, points[point], options).blend(
                        options.strength
                    ),
                    measure,
                )
            return output.tensor

        output = self._with_smaller_tiles(run, canvas.size, report.warn)
        height, width = picture.size
        return _finished(picture, output[:, :, :height, :width].float().cpu(), where, options)

    def _with_smaller_tiles(
        self, run: Callable[[Plan], Any], size: tuple[int, int], note: Callable[[str], None]
    ) -> Any:
        """Run within the memory plan; if an allocation fails all the same, with smaller tiles, and say so."""
        plan: Plan | None = make_plan(size, self.device, self.options, self._like.element_size())
        while plan is not None:
            try:
                with torch.inference_mode():
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

    def _mixed(self, style: Any, options: StylizeOptions, report: Report, on_step: OnStep | None) -> Style:
        parts = _weighted(style)
        styles = [self.prepare(part.style, style_scale=options.style_scale, on_step=on_step) for part in parts]
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

    def _where(self, mask: Any, picture: Picture, report: Report) -> Tensor | None:
        """Return the mask, or None where it is white everywhere."""
        if mask is None:
            return None
        where, notes = read_mask(mask, picture.size)
        for note in notes:
            report.warn(f"mask: {note}")
        if not where.any():
            report.warn("empty_mask: the mask is black everywhere; the content is returned as it is.")
        return None if bool((where == 1).all()) else where

    def _canvas(self, rgb: Tensor) -> Canvas:
        return Canvas(extend(rgb.to(self._like), PADDING_MULTIPLE, MIN_SIDE))

    def _weights(self, weights: Tensor | None) -> Tensor | None:
        if weights is None or bool((weights == 1).all()):
            return None
        return extend(weights.to(self._like), PADDING_MULTIPLE, MIN_SIDE)

    def _macs(self, size: tuple[int, int]) -> float:
        return self.macs_per_pixel * size[0] * size[1]


def load(model: str, *, allow_unknown_model: bool = False, **options: Any) -> Stylizer:
    """Load a model by name or source.

    Args:
        model: `cd-wct.x16`, `builtin:NAME`, `file:PATH`, `hub:OWNER/REPO@REVISION`, or a path of weights.
        allow_unknown_model: Admit a local file that is not in the list of known models, with a warning.
        **options: Fields of `EngineOptions`, for example device="auto" or tile=512.

    Raises:
        WeightsError: SP3xx; HubError: SP4xx; UsageError: SP1xx; ResourceError: SP510, no such device.
    """
    engine_options = options_from(EngineOptions, options)
    module, info = zoo.load(model, allow_unknown=allow_unknown_model)
    assert isinstance(module, StyleModel)
    return Stylizer(module, info, engine_options)


def stylize(
    content: Any,
    style: Any,
    *,
    method: str | None = None,
    model: str | None = None,
    allow_unknown_model: bool = False,
    mask: Any = None,
    on_step: OnStep | None = None,
    **options: Any,
) -> Result:
    """Stylize one picture.

    Args:
        content: Path, Pillow image, array, tensor or `Picture`.
        style: The same, a style file, a `Style`, or a list of styles, of (style, weight) or of `StyleWeight`.
        method: "wct" (the default), "adain" or "photorealistic".
        model: Name or source of a model; by default the method's own, or the one a style file was made with.
        allow_unknown_model: Admit a local file that is not in the list of known models, with a warning.
        mask: Where the style applies: white is stylized, black is left exactly as it is.
        on_step: Called after every tile with (done, total, stage); raise `Cancelled` in it to stop.
        **options: Fields of `StylizeOptions` and `EngineOptions`: strength, keep_color, style_scale, levels,
            regularization, device, tile, memory_limit_mb.

    Raises:
        StylePluginError: With a code, see `styleplugin.errors`.
    """
    known = {f.name for f in fields(EngineOptions)}
    engine_options = {name: options.pop(name) for name in list(options) if name in known}
    options_from(StylizeOptions, options)
    stylizer = load(model or choose_model(method, style), allow_unknown_model=allow_unknown_model, **engine_options)
    if method is not None and stylizer.info.method != method:
        raise UsageError(
            "SP108",
            f"The model {stylizer.info.name} is for the method {stylizer.info.method}, but --method was {method}.",
            "Leave one of them out.",
        )
    return stylizer(content, style, mask=mask, on_step=on_step, **options)


def choose_model(method: str | None, style: Any) -> str:
    """Return the model for a method and styles, where none was named.

    Raises:
        UsageError: SP102, an unknown method.
    """
    if method is None:
        for part in _weighted(style):
            given = part.style
            if isinstance(given, (str, os.PathLike)) and Path(given).suffix == SUFFIX:
                given = Style.load(given)
            if isinstance(given, Style):
                return given.model
        method = "wct"
    if method not in zoo.DEFAULT_MODELS:
        raise UsageError(
            "SP102",
            f"--method was {method!r}; it must be one of {', '.join(zoo.DEFAULT_MODELS)}.",
            "Use one of these.",
        )
    return zoo.DEFAULT_MODELS[method]


def options_from(cls: type, values: dict[str, Any]) -> Any:
    """Make an options object.

    Raises:
        UsageError: SP100, an unknown name; SP101 to SP103, a value out of range.
    """
    known = [f.name for f in fields(cls)]
    for name in values:
        if name not in known:
            close = get_close_matches(name, known, 1)
            hint = f"Did you mean {close[0]}?" if close else f"Known options: {', '.join(known)}."
            raise UsageError("SP100", f"There is no option {name!r} here.", hint)
    return cls(**values)


def _weighted(style: Any) -> list[StyleWeight]:
    """Return one or several styles as a list with weights."""
    if not isinstance(style, (list, tuple)):
        return [style if isinstance(style, StyleWeight) else StyleWeight(style=style)]
    if not style:
        raise UsageError("SP109", "The list of styles is empty; at least one style is needed.", "Give a style.")
    parts = []
    for part in cast(Sequence[Any], style):
        if isinstance(part, tuple) and len(part) == 2:
            part = StyleWeight(style=part[0], weight=part[1])
        parts.append(part if isinstance(part, StyleWeight) else StyleWeight(style=part))
    return parts


def _scaled(picture: Tensor, scale: float) -> Tensor:
    """Resize (1, C, H, W) by a factor, at least to one pixel; smaller with antialiasing."""
    if scale == 1:
        return picture
    size = [max(1, round(side * scale)) for side in picture.shape[2:]]
    return F.interpolate(picture, size=size, mode="bicubic", antialias=True).clamp(0, 1)


def _finished(content: Picture, output: Tensor, where: Tensor | None, options: StylizeOptions) -> Tensor:
    """Return the output within its range, with the content's colors if asked for, blended by strength and mask.

    The features are blended by strength already, but strength 0 would then give the pair's reconstruction and not the
    content; so for small strengths the pictures are blended as well, with the share 1 - (1 - strength)^4, which is
    0 at 0, 1 at 1, and over 0.99 from 0.7 on.
    """
    output = output.clamp(0, 1) if content.bits <= 16 else output
    if not bool(torch.isfinite(torch.stack(torch.aminmax(output))).all()):
        raise NumericalError("SP703", "The stylized picture holds values that are not finite.", "Try another style.")
    if options.smooth:
        output = guided_filter(content.rgb, output, options.smooth).clamp(0, 1)
    bands = list(zip(content.rgb.split(_BAND, 2), output.split(_BAND, 2), strict=True))
    if options.keep_color == "luminance":
        output = torch.cat([with_luminance_of(o, c).clamp(0, 1) for c, o in bands], 2)
    elif options.keep_color == "lab":
        wanted, given = (
            sum((Moments.of(rgb_to_lab(band[i]), diagonal=True) for band in bands), Moments.empty(3, diagonal=True))
            for i in range(2)
        )
        colors = adain_map(given, wanted)
        output = torch.cat([lab_to_rgb(colors.apply(rgb_to_lab(o))).clamp(0, 1) for _, o in bands], 2)
    if options.keep_luminance:
        bands = zip(content.rgb.split(_BAND, 2), output.split(_BAND, 2), strict=True)
        output = torch.cat([with_luminance_of(c, o).clamp(0, 1) for c, o in bands], 2)
    share = 1 - (1 - options.strength) ** 4
    if share == 1 and where is None:
        return output.contiguous()
    weight = torch.tensor(share) if where is None else share * where
    return torch.lerp(content.rgb, output, weight.to(output)).contiguous()
