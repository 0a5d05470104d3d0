"""Stylization by optimization: the slow way, which gives the richest pictures, at any size.

for progress in (run := styleplugin.Optimization("photo.jpg", "painting.jpg", steps=300)):
    print(progress.step, progress.losses.total)
run.result().save("out.png")
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from styleplugin import values
from styleplugin.engine.device import pick_device
from styleplugin.engine.feature_map import extend, extended_size
from styleplugin.engine.gradient_plan import GradientPlan, make_gradient_plan
from styleplugin.engine.stream import OnStep
from styleplugin.errors import UsageError, WeightsError
from styleplugin.files import has_suffix
from styleplugin.finish import blended, lab_map, limited
from styleplugin.guard import guarded, guarded_steps, is_out_of_memory
from styleplugin.images.picture import Picture, to_pil
from styleplugin.job import (
    Result,
    options_from,
    read_content,
    read_style,
    scaled,
    settings_of,
    weighted,
)
from styleplugin.kinds import CHECKPOINT, OPTIMIZATION_STATE
from styleplugin.loading.encoders import load_encoder
from styleplugin.methods.optimization import SPEC
from styleplugin.methods.optimization.descent import HISTORY, Descent, check_state
from styleplugin.methods.optimization.objective import (
    Losses,
    Objective,
    ObjectiveWeights,
    OptimizationEncoder,
    StyleTarget,
    measure,
)
from styleplugin.options import EngineOptions, OptimizeOptions, StyleWeight, StylizeOptions
from styleplugin.paths import Written, check_paths, paths_among, source_paths
from styleplugin.regions import refuse_regions
from styleplugin.report import Report, noted_by, silent_reports
from styleplugin.style import SUFFIX
from styleplugin.stylizer import load
from styleplugin.tensorfile import Limits, Weights, check_identity, parsing_metadata, read_weights, write_weights
from styleplugin.transforms.moments import Moments, normalized_weights

SMALLEST_SCALE = 128
"""Shorter side in pixels of the smallest picture that a coarse scale works at."""
_CHECKPOINT = Limits(header_bytes=1 << 20, file_bytes=1 << 34, value=float("inf"))


class _Style(NamedTuple):
    """A style picture at the size of a scale."""

    rgb: Tensor
    alpha: Tensor | None


@dataclass(frozen=True)
class Progress:
    """Where a run stands."""

    step: int
    """Steps done, over all scales."""
    steps: int
    size: tuple[int, int]
    """(height, width) of the scale it works at."""
    losses: Losses
    """Of the picture before this step."""
    share: float
    """Of the work that is done, in (0, 1]."""
    seconds: float
    """Since the run began."""
    seconds_left: float
    """Until it ends, from the pixels done so far."""


class Optimization:
    """A run: iterate over it for its progress, and take its best picture at any time.

    Args:
        content: Path, Pillow image, array, tensor or `Picture`.
        style: The same, or a list of pictures, of (picture, weight) or of `StyleWeight`. Style files cannot be used:
            they are statistics of other encoders.
        mask: Where the style applies: white is stylized, black is left exactly as it is.
        label: The value that is stylized, where the mask is a picture of labels.
        checkpoint: A file for all that is needed to go on, written in the format safetensors.
        checkpoint_every: Steps between two of them.
        resume: Go on from the checkpoint, if there is one.
        overwrite: Replace a checkpoint that exists; it must be of the same pictures and options.
        allow_unknown_model: Admit local files that are not in the list of known models, with a warning.
        on_step: Called after every tile with (done, total, stage); raise `Cancelled` in it to stop. The best picture so
            far can still be taken.
        **options: Fields of `OptimizeOptions`, `StylizeOptions` and `EngineOptions`.

    Raises:
        UsageError: SP1xx, an option out of range; SP150, a style file; InputImageError: SP2xx; WeightsError: SP3xx;
        ResourceError: SP503, not enough memory; OutputError: SP6xx, the checkpoint cannot be written or would replace
        something else; CheckpointError: SP801, it is of another run; WeightsError: SP301 to SP310, it is damaged.
    """

    @guarded()
    def __init__(
        self,
        content: Any,
        style: Any,
        *,
        mask: Any = None,
        label: int | None = None,
        checkpoint: str | Path | None = None,
        checkpoint_every: int = 25,
        resume: bool = False,
        overwrite: bool = False,
        allow_unknown_model: bool = False,
        on_step: OnStep | None = None,
        **options: Any,
    ) -> None:
        self.options, self._finish, self._engine = _sorted(options)
        self._inputs = paths_among(content, style, mask)
        if checkpoint is not None:
            sources = source_paths(self.options.encoder) + source_paths(self.options.start_model)
            check_paths([*self._inputs, *sources], [Written(checkpoint, CHECKPOINT, overwrite or resume)])
        self._checkpoint = None if checkpoint is None else Path(checkpoint)
        self._device = pick_device(self._engine.device)
        self._like = torch.empty(0, device=self._device, dtype=torch.float32)
        self._on_step, self._unknown = on_step, allow_unknown_model
        self.report = Report(
            settings={"method": SPEC.name, **settings_of(self.options, self._finish, self._engine)},
            device=str(self._device),
        )
        limit = self._engine.max_megapixels
        self.content = read_content(content, mask, self.report, label=label, max_megapixels=limit)
        parts = weighted(style)
        refuse_regions(parts, "the optimization")
        self._weights = normalized_weights([part.weight for part in parts])
        self._pictures = [self._style_picture(part) for part in parts]
        loaded = load_encoder(self.options.encoder, allow_unknown=allow_unknown_model)
        self.report.model_sha256 = loaded.sha256
        self.report.settings["metric"] = "channel means" if loaded.roots is None else "of the teacher"
        self._metrics = [_fingerprint(root) for root in loaded.roots or ()]
        self._encoder = OptimizationEncoder(loaded.encoder, self._like, loaded.roots)
        self._factors = self._scales()
        self._shares = _steps_of_scales(self.options.steps, len(self._factors))
        self._every = int(values.number("checkpoint_every", checkpoint_every, 1, 1 << 31, whole=True))
        self._resume = resume
        self._descent: Descent | None = None
        self._number = 0
        self._plan = self._planned()
        self._earlier()

    @guarded_steps
    def __iter__(self) -> Iterator[Progress]:
        """Do the steps; yields after each."""
        started = time.perf_counter()
        if self._untouched:
            return
        saved = self._earlier() if self._resume else None
        first = saved.metadata["scale"] if saved else 0
        self._normalize()
        done_before = None
        for number in range(first, len(self._factors)):
            descent = self._begin(number, saved if number == first else None)
            if done_before is None:
                begun, done_before = time.perf_counter(), self._done
            while not descent.is_done:
                losses = descent.step()
                if descent.step_number % self._every == 0 or descent.is_done:
                    self.save()
                now = time.perf_counter()
                self.report.seconds["stylize"] = now - started
                left = (now - begun) * (self._total - self._done) / (self._done - done_before)
                yield Progress(
                    self.steps_done,
                    sum(self._shares),
                    self._size(number),
                    losses,
                    self._done / self._total,
                    now - started,
                    left,
                )
        assert self._descent is not None
        self._descent.finish()
        self.report.seconds["stylize"] = time.perf_counter() - started

    @guarded()
    def result(self) -> Result:
        """Return the best picture so far, at full size, finished as the options ask."""
        seconds = self.report.seconds | {"total": sum(self.report.seconds.values())}
        report = dataclasses.replace(self.report, seconds=seconds, warnings=list(self.report.warnings))
        picture, rgb = self.content.picture, self.content.picture.rgb
        if not self._untouched and self._descent is not None:
            output = _resized(self._best(), picture.size).float().cpu().clone(memory_format=torch.channels_last)
            output = limited(picture, output, self._finish, _nothing)
            colors = None
            if self._finish.keep_color == "lab":
                colors = lab_map([(rgb, output, self.content.counted)], _nothing)
            rgb = blended(picture, output, self.content.where, self._finish, colors, _nothing)
        return Result(dataclasses.replace(picture, rgb=rgb, warnings=()), report, self._inputs)

    @guarded()
    def preview(self, side: int = 512) -> Image.Image:
        """Return the best picture so far, small and unfinished: without mask, alpha and kept colors.

        Args:
            side: The longer side in pixels.
        """
        best = self.content.picture.rgb if self._descent is None else self._best()
        scale = min(1.0, side / max(best.shape[2:]))
        height, width = (max(1, round(length * scale)) for length in best.shape[2:])
        small = _resized(best, (height, width))
        return to_pil(Picture(rgb=small.float().cpu().clamp(0, 1)))

    @guarded()
    def save(self) -> None:
        """Write the checkpoint.

        Raises:
            OutputError: SP601 to SP604, it cannot be written.
        """
        if self._checkpoint is None or self._descent is None:
            return
        tensors, data = self._descent.state()
        metadata = {"architecture": OPTIMIZATION_STATE, "scale": self._number, "descent": data}
        write_weights(
            self._checkpoint, tensors, metadata | {"identity": self._identity}, limits=_CHECKPOINT, kind=CHECKPOINT
        )

    @property
    def steps_done(self) -> int:
        """Steps done so far, over all scales."""
        return 0 if self._descent is None else sum(self._shares[: self._number]) + self._descent.step_number

    @property
    def memory_needed(self) -> int:
        """Bytes a run needs at most, beside the program and the pictures handed in."""
        return self._plan.bytes

    @property
    def _untouched(self) -> bool:
        """Whether the content is the result."""
        return self._finish.strength == 0 or self.content.is_hidden

    @property
    def _done(self) -> float:
        """The work that is done, in pixels."""
        if self._descent is None:
            return 0.0
        whole = sum(self._work(i, self._shares[i]) for i in range(self._number))
        return whole + self._work(self._number, self._descent.step_number)

    @property
    def _total(self) -> float:
        """All of it."""
        return sum(self._work(i, steps) for i, steps in enumerate(self._shares))

    def _work(self, number: int, steps: int) -> float:
        """Return the pixels of some steps at a scale."""
        height, width = self._size(number)
        return float(steps * height * width)

    def _size(self, number: int) -> tuple[int, int]:
        height, width = self.content.picture.size
        factor = self._factors[number]
        return (height, width) if factor == 1 else (max(1, round(height * factor)), max(1, round(width * factor)))

    def _scales(self) -> list[float]:
        """Return the factor of each scale, coarsest first; those too small to show anything are left out."""
        factors = [0.5**i for i in reversed(range(self.options.scales))]
        return [f for f in factors if f == 1 or min(self.content.picture.size) * f >= SMALLEST_SCALE]

    def _normalize(self) -> None:
        """Without metrics, let every channel count by its mean over the pictures of the coarsest scale."""
        if self._encoder.roots:
            return
        content = _Style(_resized(self.content.picture.rgb, self._size(0)), self._counted(self._size(0)))
        measured = [self._measured(picture) for picture in (content, *self._styles(0))]
        means = [torch.stack([moments.mean for moments in level]).mean(0) for level in zip(*measured, strict=True)]
        self._encoder.normalize(means)

    def _begin(self, number: int, saved: Any) -> Descent:
        """Set up a scale: its start, from the scale before, and its objective."""
        size = self._size(number)
        content = _resized(self.content.picture.rgb, size).clamp(0, 1).to(self._like)
        styles = self._styles(number)
        targets = list(zip(self._weights, self._targets(styles), strict=True))
        counted = self._counted(size)
        if counted is not None:
            counted = self._canvas(counted)
        canvas = self._canvas(content)
        level = min(4, len(self._encoder.levels))
        weights = ObjectiveWeights(
            content=self.options.content_weight,
            style=self.options.style_weight * self._finish.strength,
            smoothness=self.options.smoothness_weight,
        )

        def objective(tile: int) -> Objective:
            return Objective(
                self._encoder,
                canvas,
                targets,
                weights,
                style_loss=self.options.style_loss,
                content_level=level,
                counted=counted,
                tile=tile if max(size) > tile else 0,
                on_tile=self._tick,
            )

        current = [objective(self._plan.tile)]

        def evaluate(picture: Tensor) -> tuple[Losses, Tensor]:
            while True:
                try:
                    with noted_by(self.report.warn):
                        losses, gradient = current[0](picture)
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error) or not self._with_smaller_tiles():
                        raise
                    current[0] = objective(self._plan.tile)
                    continue
                return losses, gradient if counted is None else gradient.mul_(counted)

        start = canvas if saved else self._start(number, content, styles)
        descent = Descent(
            evaluate,
            start,
            steps=self._shares[number],
            optimizer=self.options.optimizer,
            step_size=self.options.step_size,
            history=self._plan.history,
            note=self.report.warn,
        )
        if saved:
            descent.restore(saved.tensors, saved.metadata["descent"])
        self._descent, self._number = descent, number
        self.report.tile = self._plan.tile if max(size) > self._plan.tile else 0
        return descent

    def _start(self, number: int, content: Tensor, styles: Sequence[_Style]) -> Tensor:
        """Return the picture a scale starts from: the coarser scale's best, with the details of the plain start."""
        size = (content.shape[2], content.shape[3])
        if self.options.start == "noise" and self._descent is None:
            generator = torch.Generator().manual_seed(self.options.seed)
            start = torch.rand((1, 3, *size), generator=generator, dtype=torch.float32, device="cpu").to(self._like)
        elif self.options.start == "noise":
            start = _resized(self._best(), size)
        else:
            start = self._stylized(content, styles) if self.options.start == "stylized" else content
            if self._descent is not None:
                small = self._size(number - 1)
                start = start + _resized(self._best() - _resized(start, small), size)
        if self.content.where is not None:
            start = torch.lerp(content, start, _resized(self.content.where, size).to(start))
        return self._canvas(start.clamp(0, 1))

    def _best(self) -> Tensor:
        """Return the best picture of the scale that is running, or was the last to run."""
        assert self._descent is not None
        return _cropped(self._descent.best, self._size(self._number))

    def _stylized(self, content: Tensor, styles: Sequence[_Style]) -> Tensor:
        options = dataclasses.asdict(self._engine)
        stylizer = load(self.options.start_model, allow_unknown_model=self._unknown, **options)
        parts = [
            StyleWeight(style=style.rgb, weight=weight, mask=style.alpha)
            for style, weight in zip(styles, self._weights, strict=True)
            if weight
        ]
        counted = self._counted((content.shape[2], content.shape[3]))
        # What they warn of, the run measures itself.
        with silent_reports():
            result = stylizer(
                content.cpu(),
                parts,
                mask=counted,
                on_step=lambda *_: self._tick(),
                levels=stylizer.info.levels,
                grain=0.0,
            )
        return result.tensor.to(self._like)

    def _styles(self, number: int) -> list[_Style]:
        """Return the style pictures at the size of a scale."""
        scale = self._finish.style_scale * self._factors[number]
        return [
            _Style(scaled(picture.rgb, scale), None if picture.alpha is None else scaled(picture.alpha, scale))
            for picture in self._pictures
        ]

    def _targets(self, styles: Sequence[_Style]) -> list[list[StyleTarget]]:
        targets = []
        self.report.style_sizes = []
        for style in styles:
            moments = self._measured(style)
            for level in moments:
                level.check_finite("style")
            if all(level.is_degenerate for level in moments):
                self.report.warn("degenerate_style: the style has no contrast; only its color is transferred.")
            targets.append(
                [StyleTarget.of(level, root) for level, root in zip(moments, self._encoder.roots, strict=True)]
            )
            self.report.style_sizes.append((style.rgb.shape[2], style.rgb.shape[3]))
        return targets

    def _measured(self, picture: _Style) -> list[Moments]:
        """Return the moments of what counts of a picture, for each level."""
        weights = None if picture.alpha is None else self._canvas(picture.alpha)
        rgb = self._canvas(picture.rgb)
        return measure(self._encoder, rgb, weights=weights, tile=self._plan.tile, on_tile=self._tick)

    def _counted(self, size: tuple[int, int]) -> Tensor | None:
        """Return how much each pixel of the content counts at a size, (1, 1, H, W); None where all count alike."""
        counted = self.content.counted
        return None if counted is None else _resized(counted, size).clamp(0, 1)

    def _canvas(self, picture: Tensor) -> Tensor:
        return extend(picture.to(self._like))

    def _tick(self) -> None:
        if self._on_step is not None:
            self._on_step(self._done, self._total, "optimize")

    def _style_picture(self, part: StyleWeight) -> Picture:
        if isinstance(part.style, (str, Path)) and has_suffix(part.style, SUFFIX):
            raise UsageError(
                "SP150",
                f"The style {Path(part.style).name} is a style file; the optimization needs the picture.",
                "Give the picture it was made from.",
            )
        limit = self._engine.max_megapixels
        picture = read_style(part.style, part.mask, trim=self._finish.trim_style, max_megapixels=limit)
        for note in picture.warnings:
            self.report.warn(f"style: {note}")
        return picture

    def _planned(self) -> GradientPlan:
        plan = make_gradient_plan(
            self.content.picture.size,
            self._device,
            self._engine,
            halo=self._encoder.halo,
            bytes_per_pixel=self._encoder.bytes_per_pixel,
            history=HISTORY[self.options.optimizer],
        )
        most = HISTORY[self.options.optimizer][1]
        if plan.history < most:
            self.report.warn(f"memory: L-BFGS remembers {plan.history} steps instead of {most}.")
        return plan

    def _with_smaller_tiles(self) -> bool:
        smaller = self._plan.halved()
        if smaller is None:
            return False
        self.report.warn(
            f"Out of memory with tiles of {self._plan.tile or 'the whole picture'}; went on with {smaller.tile}."
        )
        self._plan = smaller
        return True

    def _earlier(self) -> Weights | None:
        """Return the checkpoint that is there, which must be of this run, or None."""
        if self._checkpoint is None or not self._checkpoint.exists() or not self._checkpoint.stat().st_size:
            return None
        saved = read_weights(self._checkpoint, limits=_CHECKPOINT, require_metadata=True)
        name = saved.path.name
        with parsing_metadata(name):
            check_identity(saved.metadata["identity"], self._identity)
            number, data = saved.metadata["scale"], saved.metadata["descent"]
            if type(number) is not int or number not in range(len(self._factors)):
                raise ValueError(f"it has no scale {number!r}")
        if ("optimizer.count" in saved.tensors) != (self.options.optimizer == "adam"):
            raise WeightsError(
                "SP310", f"{name} does not hold the state of the optimizer {self.options.optimizer}.", "Start anew."
            )
        height, width = extended_size(self._size(number))
        check_state(saved.tensors, data, shape=(1, 3, height, width), steps=self._shares[number], where=name)
        return saved

    @cached_property
    def _identity(self) -> dict[str, Any]:
        """What must be the same to go on."""
        pictures = [self.content.picture, *self._pictures]
        return {
            "options": dataclasses.asdict(self.options),
            "style_scale": self._finish.style_scale,
            "strength": self._finish.strength,
            "weights": self._weights,
            "pictures": [_fingerprint(picture.rgb) for picture in pictures],
            "mask": "" if self.content.where is None else _fingerprint(self.content.where),
            "style_masks": ["" if style.alpha is None else _fingerprint(style.alpha) for style in self._pictures],
            "encoder": self.report.model_sha256,
            "metrics": self._metrics,
        }


def stylize(
    content: Any,
    style: Any,
    *,
    method: str | None = None,
    model: str | None = None,
    **options: Any,
) -> Result:
    """Optimize a picture to the end; see `styleplugin.stylize`.

    Raises:
        UsageError: SP152, a model was named; others as `Optimization`.
    """
    refuse_model(model)
    run = Optimization(content, style, **options)
    for _ in run:
        pass
    return run.result()


def refuse_model(model: str | None) -> None:
    """Raise UsageError SP152 if a model was named for the optimization."""
    if model is not None:
        raise UsageError(
            "SP152",
            f"The model {model} was named, but the method optimization has none.",
            "Name what sees the pictures with `encoder`, and the model of the start with `start_model`.",
        )


def _sorted(options: dict[str, Any]) -> tuple[OptimizeOptions, StylizeOptions, EngineOptions]:
    """Sort options into their classes; unknown names are errors of the first."""
    known = {f.name: cls for cls in (StylizeOptions, EngineOptions) for f in fields(cls)}
    parts: dict[type, dict[str, Any]] = {OptimizeOptions: {}, StylizeOptions: {}, EngineOptions: {}}
    for name, value in options.items():
        parts[known.get(name, OptimizeOptions)][name] = value
    optimize, stylize, engine = (options_from(cls, values) for cls, values in parts.items())
    return optimize, stylize, engine


def _steps_of_scales(steps: int, scales: int) -> list[int]:
    """Share out steps: coarse scales, which are cheap, get more; each at least one."""
    parts = list(range(scales, 0, -1))
    counts = [max(1, steps * part // sum(parts)) for part in parts]
    counts[-1] = max(1, steps - sum(counts[:-1]))
    return counts


def _resized(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (1, C, H, W) to (height, width)."""
    if picture.shape[2:] == size:
        return picture
    return F.interpolate(picture, size=size, mode="bicubic", antialias=True)


def _cropped(picture: Tensor, size: tuple[int, int]) -> Tensor:
    return picture[:, :, : size[0], : size[1]]


def _fingerprint(values: Tensor) -> str:
    return hashlib.sha256(values.detach().cpu().contiguous().numpy().tobytes()).hexdigest()[:16]


def _nothing() -> None:
    """Be called after every band of rows."""
