"""Stylization by optimization: the slow way, which gives the richest pictures, at any size.

for progress in (run := styleplugin.Optimization("photo.jpg", "painting.jpg", steps=300)):
    print(progress.step, progress.losses.total)
run.result().save("out.png")
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from styleplugin import values
from styleplugin.engine.device import pick_device
from styleplugin.engine.gradient_plan import GradientPlan, make_gradient_plan
from styleplugin.engine.stream import OnStep
from styleplugin.errors import UsageError
from styleplugin.files import has_suffix
from styleplugin.finish import blend, lab_map, limit
from styleplugin.guard import guarded, guarded_steps
from styleplugin.images.picture import Picture, to_pil
from styleplugin.job import Result, options_from, read_content, read_style, scaled, settings_of, weighted
from styleplugin.kinds import CHECKPOINT
from styleplugin.loading.encoders import load_encoder
from styleplugin.methods.optimization import SPEC
from styleplugin.methods.optimization.checkpoint import Checkpoint, Saved, fingerprint
from styleplugin.methods.optimization.descent import HISTORY, Descent
from styleplugin.methods.optimization.objective import Losses, ObjectiveWeights, OptimizationEncoder, StyleTarget
from styleplugin.methods.optimization.scales import Scale, coarse_to_fine, resized
from styleplugin.methods.optimization.tiled import Sample, TiledEncoder
from styleplugin.options import EngineOptions, OptimizeOptions, StyleWeight, StylizeOptions
from styleplugin.paths import Written, check_paths, paths_among, source_paths
from styleplugin.regions import refuse_regions
from styleplugin.report import Report, silent_reports
from styleplugin.style import SUFFIX
from styleplugin.stylizer import load
from styleplugin.transforms.moments import normalized_weights


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

    Example:
        >>> import numpy as np
        >>> content, style = np.random.default_rng(0).random((2, 64, 64, 3), np.float32)
        >>> run = Optimization(content, style, steps=2, scales=1, start="content", device="cpu")
        >>> for progress in run:
        ...     print(progress.step, progress.steps, progress.losses.total > 0)
        1 2 True
        2 2 True
        >>> run.result().picture.size
        (64, 64)
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
        self._metrics = [fingerprint(root) for root in loaded.roots or ()]
        encoder = OptimizationEncoder(loaded.encoder, self._like, loaded.roots)
        size = self.content.picture.size
        self._encoder = TiledEncoder(
            encoder, self._planned(encoder), self._like, size=size, note=self.report.warn, on_tile=self._tick
        )
        self._scales = coarse_to_fine(size, self.options.scales, self.options.steps)
        self._every = int(values.number("checkpoint_every", checkpoint_every, 1, 1 << 31, whole=True))
        self._resume = resume
        self._descent: Descent | None = None
        self._number = 0
        self._checkpoint = None
        if checkpoint is not None:
            self._checkpoint = Checkpoint(
                path=Path(checkpoint),
                identity=self._identity(),
                scales=self._scales,
                optimizer=self.options.optimizer,
            )
            self._checkpoint.read()

    @guarded_steps
    def __iter__(self) -> Iterator[Progress]:
        """Do the steps; yields after each."""
        started = time.perf_counter()
        if self._untouched:
            return
        saved = self._checkpoint.read() if self._checkpoint and self._resume else None
        coarsest = self._scales[0]
        content = Sample(resized(self.content.picture.rgb, coarsest.size), self._counted(coarsest.size))
        self._encoder.normalize([content, *self._styles(coarsest)])
        first = saved.number if saved else 0
        begun, done_before = started, 0.0
        for number in range(first, len(self._scales)):
            self._descent, self._number = self._begun(number, saved if number == first else None), number
            if number == first:
                begun, done_before = time.perf_counter(), self._done
            while not self._descent.is_done:
                losses = self._descent.step()
                if self._descent.step_number % self._every == 0 or self._descent.is_done:
                    self.save()
                now = time.perf_counter()
                self.report.seconds["stylize"] = now - started
                self.report.tile = self._tile
                yield Progress(
                    step=self.steps_done,
                    steps=sum(scale.steps for scale in self._scales),
                    size=self._scales[number].size,
                    losses=losses,
                    share=self._done / self._total,
                    seconds=now - started,
                    seconds_left=(now - begun) * (self._total - self._done) / (self._done - done_before),
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
            output = resized(self._best(), picture.size).float().cpu().clone(memory_format=torch.channels_last)
            output = limit(picture, output, self._finish, _nothing)
            colors = None
            if self._finish.keep_color == "lab":
                colors = lab_map([(rgb, output, self.content.counted)], _nothing)
            rgb = blend(picture, output, self.content.where, self._finish, colors, _nothing)
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
        small = resized(best, (height, width))
        return to_pil(Picture(rgb=small.float().cpu().clamp(0, 1)))

    @guarded()
    def save(self) -> None:
        """Write the checkpoint.

        Raises:
            OutputError: SP601 to SP604, it cannot be written.
        """
        if self._checkpoint is not None and self._descent is not None:
            self._checkpoint.write(self._number, self._descent)

    @property
    def steps_done(self) -> int:
        """Steps done so far, over all scales."""
        if self._descent is None:
            return 0
        return sum(scale.steps for scale in self._scales[: self._number]) + self._descent.step_number

    @property
    def memory_needed(self) -> int:
        """Bytes a run needs at most, beside the program and the pictures handed in."""
        return self._encoder.plan.bytes

    @property
    def _tile(self) -> int:
        """Side of a tile of the finest scale; 0 if that is one piece."""
        tile = self._encoder.plan.tile
        return tile if max(self.content.picture.size) > tile else 0

    @property
    def _untouched(self) -> bool:
        """Whether the content is the result."""
        return self._finish.strength == 0 or self.content.is_hidden

    @property
    def _done(self) -> float:
        """The work that is done, in pixels."""
        if self._descent is None:
            return 0.0
        whole = sum(scale.work(scale.steps) for scale in self._scales[: self._number])
        return whole + self._scales[self._number].work(self._descent.step_number)

    @property
    def _total(self) -> float:
        """All of it."""
        return sum(scale.work(scale.steps) for scale in self._scales)

    def _begun(self, number: int, saved: Saved | None) -> Descent:
        """Return the descent of a scale, at its start or where it was saved."""
        scale = self._scales[number]
        content = resized(self.content.picture.rgb, scale.size).clamp(0, 1).to(self._like)
        styles = self._styles(scale)
        weights = ObjectiveWeights(
            content=self.options.content_weight,
            style=self.options.style_weight * self._finish.strength,
            smoothness=self.options.smoothness_weight,
        )
        evaluate = self._encoder.objective(
            Sample(content, self._counted(scale.size)), self._targets(styles), weights, self.options.style_loss
        )
        descent = Descent(
            evaluate,
            self._encoder.canvas(content if saved else self._start(number, content, styles)),
            steps=scale.steps,
            optimizer=self.options.optimizer,
            step_size=self.options.step_size,
            history=self._encoder.plan.history,
            note=self.report.warn,
        )
        if saved:
            descent.restore(saved.tensors, saved.data)
        return descent

    def _start(self, number: int, content: Tensor, styles: Sequence[Sample]) -> Tensor:
        """Return the picture a scale starts from: the coarser scale's best, with the details of the plain start."""
        size = (content.shape[2], content.shape[3])
        if self.options.start == "noise" and self._descent is None:
            generator = torch.Generator().manual_seed(self.options.seed)
            start = torch.rand((1, 3, *size), generator=generator, dtype=torch.float32, device="cpu").to(self._like)
        elif self.options.start == "noise":
            start = resized(self._best(), size)
        else:
            start = self._stylized(content, styles) if self.options.start == "stylized" else content
            if self._descent is not None:
                small = self._scales[number - 1].size
                start = start + resized(self._best() - resized(start, small), size)
        if self.content.where is not None:
            start = torch.lerp(content, start, resized(self.content.where, size).to(start))
        return start.clamp(0, 1)

    def _best(self) -> Tensor:
        """Return the best picture of the scale that is running, or was the last to run."""
        assert self._descent is not None
        height, width = self._scales[self._number].size
        return self._descent.best[:, :, :height, :width]

    def _stylized(self, content: Tensor, styles: Sequence[Sample]) -> Tensor:
        options = dataclasses.asdict(self._engine)
        stylizer = load(self.options.start_model, allow_unknown_model=self._unknown, **options)
        parts = [
            StyleWeight(style=style.rgb, weight=weight, mask=style.counted)
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

    def _styles(self, scale: Scale) -> list[Sample]:
        """Return the style pictures at the size of a scale."""
        factor = self._finish.style_scale * scale.factor
        return [
            Sample(scaled(picture.rgb, factor), None if picture.alpha is None else scaled(picture.alpha, factor))
            for picture in self._pictures
        ]

    def _targets(self, styles: Sequence[Sample]) -> list[tuple[float, list[StyleTarget]]]:
        """Return for each style its share and its targets."""
        self.report.style_sizes = [(style.rgb.shape[2], style.rgb.shape[3]) for style in styles]
        targets = []
        for style in styles:
            moments = self._encoder.measure(style)
            for level in moments:
                level.check_finite("style")
            if all(level.is_degenerate for level in moments):
                self.report.warn("degenerate_style: the style has no contrast; only its color is transferred.")
            targets.append(self._encoder.targets(moments))
        return list(zip(self._weights, targets, strict=True))

    def _counted(self, size: tuple[int, int]) -> Tensor | None:
        """Return how much each pixel of the content counts at a size, (1, 1, H, W); None where all count alike."""
        counted = self.content.counted
        return None if counted is None else resized(counted, size).clamp(0, 1)

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

    def _planned(self, encoder: OptimizationEncoder) -> GradientPlan:
        plan = make_gradient_plan(
            self.content.picture.size,
            self._device,
            self._engine,
            halo=encoder.halo,
            bytes_per_pixel=encoder.bytes_per_pixel,
            history=HISTORY[self.options.optimizer],
        )
        most = HISTORY[self.options.optimizer][1]
        if plan.history < most:
            self.report.warn(f"memory: L-BFGS remembers {plan.history} steps instead of {most}.")
        return plan

    def _identity(self) -> dict[str, Any]:
        """Return what must be the same to go on."""
        pictures = [self.content.picture, *self._pictures]
        return {
            "options": dataclasses.asdict(self.options),
            "style_scale": self._finish.style_scale,
            "strength": self._finish.strength,
            "weights": self._weights,
            "pictures": [fingerprint(picture.rgb) for picture in pictures],
            "mask": "" if self.content.where is None else fingerprint(self.content.where),
            "style_masks": ["" if style.alpha is None else fingerprint(style.alpha) for style in self._pictures],
            "encoder": self.report.model_sha256,
            "metrics": self._metrics,
        }


def stylize(
    content: Any,
    style: Any,
    method: str | None,
    *,
    model: str | None,
    options: dict[str, Any],
    **given: Any,
) -> Result:
    """Optimize a picture to the end: what `MethodSpec.run` is here.

    Raises:
        UsageError: SP152, a model was named; others as `Optimization`.
    """
    refuse_model(model)
    run = Optimization(content, style, **given, **options)
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


def _nothing() -> None:
    """Be called after every band of rows."""
