"""Stylization by optimization: the slow way, which gives the richest pictures, at any size.

for progress in (run := styleplugin.Optimization("photo.jpg", "painting.jpg", steps=300)):
    print(progress.step, progress.losses.total)
run.result().save("out.png")
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from styleplugin import zoo
from styleplugin.checkpoint import Limits, check_identity, read_weights, write_weights
from styleplugin.engine.device import free_memory, is_out_of_memory, pick_device
from styleplugin.engine.fields import extend
from styleplugin.engine.stream import OnStep
from styleplugin.errors import MaskError, ResourceError, StylePluginWarning, UsageError
from styleplugin.finish import blended, lab_map, limited
from styleplugin.images.picture import Picture, read_mask, to_picture, to_pil
from styleplugin.importers.vgg import WHOLE_VGG, import_vgg
from styleplugin.methods.descent import HISTORY, Descent
from styleplugin.methods.optimization import (
    ALIGNMENT,
    Losses,
    Objective,
    ObjectiveWeights,
    OptimizationEncoder,
    StyleTarget,
    measure,
)
from styleplugin.models.pairs import PairModel
from styleplugin.models.vgg import CONVS, Encoder, VGGSpec
from styleplugin.options import MIN_TILE, EngineOptions, OptimizeOptions, StylizeOptions
from styleplugin.registry import load_tensors
from styleplugin.report import Report
from styleplugin.style import SUFFIX
from styleplugin.stylizer import MIN_SIDE, Result, load, options_from, scaled, weighted

METHOD = "optimization"
SMALLEST_SCALE = 128
"""Shorter side in pixels of the smallest picture that a coarse scale works at."""
TILES = {"cpu": 512, "cuda": 2048, "mps": 1024, "xpu": 2048}
"""Side of a tile without its halo where a picture is too large for one piece."""
_CHECKPOINT = Limits(header_bytes=1 << 20, file_bytes=1 << 34, value=float("inf"))
_PICTURES = 10
"""Pictures in memory at once beside what L-BFGS remembers: content, current, best, gradients, steps, and copies."""
_HISTORY_BYTES = 512 << 20
"""L-BFGS remembers no more steps than fit, as long as two do; a step has the size of a picture."""
_VALUES = 3.0
"""Values in memory per value of the feature maps while a tile's gradient is computed: padded, activated, gradient."""


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
        checkpoint: A file, ending in .safetensors, for all that is needed to go on.
        checkpoint_every: Steps between two of them.
        resume: Go on from the checkpoint, if there is one.
        allow_unknown_model: Admit local files that are not in the list of known models, with a warning.
        on_step: Called after every tile with (done, total, stage); raise `Cancelled` in it to stop. The best picture so
            far can still be taken.
        **options: Fields of `OptimizeOptions`, `StylizeOptions` and `EngineOptions`.

    Raises:
        UsageError: SP1xx, an option out of range; SP150, a style file; InputImageError: SP2xx; WeightsError: SP3xx;
        CheckpointError: SP801, the checkpoint is of another run.
    """

    def __init__(
        self,
        content: Any,
        style: Any,
        *,
        mask: Any = None,
        checkpoint: str | Path | None = None,
        checkpoint_every: int = 25,
        resume: bool = False,
        allow_unknown_model: bool = False,
        on_step: OnStep | None = None,
        **options: Any,
    ) -> None:
        self.options, self._finish, self._engine = _sorted(options)
        self._device = pick_device(self._engine.device)
        self._like = torch.empty(0, device=self._device)
        self._on_step, self._unknown = on_step, allow_unknown_model
        self.report = Report(
            settings={
                "method": METHOD,
                **dataclasses.asdict(self.options),
                **dataclasses.asdict(self._finish),
                **dataclasses.asdict(self._engine),
            },
            device=str(self._device),
        )
        self.content = to_picture(content)
        self.report.content_size = self.content.size
        self._styles = [(part.weight, _style_picture(part.style)) for part in weighted(style)]
        for name, picture in [("content", self.content), *(("style", picture) for _, picture in self._styles)]:
            for warning in picture.warnings:
                self.report.warn(f"{name}: {warning}")
        self._where = self._read_mask(mask)
        network, self.report.model_sha256 = load_encoder(self.options.encoder, allow_unknown=allow_unknown_model)
        self._encoder = OptimizationEncoder(network, self._like)
        self._factors = self._scales()
        self._shares = _steps_of_scales(self.options.steps, len(self._factors))
        self._checkpoint = None if checkpoint is None else Path(checkpoint)
        self._every = checkpoint_every
        self._resume = resume
        self._descent: Descent | None = None
        self._tile = self._planned_tile()
        self._remembered = self._history()

    def __iter__(self) -> Iterator[Progress]:
        """Do the steps; yields after each."""
        started = time.perf_counter()
        if self._untouched:
            return
        saved = self._saved()
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

    def result(self) -> Result:
        """Return the best picture so far, at full size, finished as the options ask."""
        report = dataclasses.replace(
            self.report, seconds=dict(self.report.seconds), warnings=list(self.report.warnings)
        )
        report.seconds["total"] = sum(report.seconds.values())
        rgb = self.content.rgb
        if not self._untouched and self._descent is not None:
            height, width = self.content.size
            number = self._number
            best = _cropped(self._descent.best, self._size(number))
            if number + 1 < len(self._factors):
                best = _resized(best, (height, width))
            output = best.float().cpu().clone(memory_format=torch.channels_last)
            output = limited(self.content, output, self._finish, lambda: None)
            colors = None
            if self._finish.keep_color == "lab":
                colors = lab_map([(self.content.rgb, output)], lambda: None)
            rgb = blended(self.content, output, self._where, self._finish, colors, lambda: None)
        return Result(dataclasses.replace(self.content, rgb=rgb, warnings=()), report)

    def preview(self, side: int = 512) -> Image.Image:
        """Return the best picture so far, small and unfinished: without mask, alpha and kept colors.

        Args:
            side: The longer side in pixels.
        """
        best = self.content.rgb if self._descent is None else self._best()
        scale = min(1.0, side / max(best.shape[2:]))
        height, width = (max(1, round(length * scale)) for length in best.shape[2:])
        small = _resized(best, (height, width))
        return to_pil(Picture(rgb=small.float().cpu().clamp(0, 1)))

    def save(self) -> None:
        """Write the checkpoint.

        Raises:
            OutputError: SP601 to SP604, it cannot be written.
        """
        if self._checkpoint is None or self._descent is None:
            return
        tensors, data = self._descent.state()
        metadata = {"architecture": "optimization-state", "scale": self._number, "descent": data}
        write_weights(self._checkpoint, tensors, metadata | {"identity": self._identity()}, limits=_CHECKPOINT)

    @property
    def steps_done(self) -> int:
        """Steps done so far, over all scales."""
        return 0 if self._descent is None else sum(self._shares[: self._number]) + self._descent.step_number

    @property
    def memory_needed(self) -> int:
        """Bytes a run needs at most, beside the program and the pictures handed in."""
        side = max(self.content.size)
        tile = self._tile_bytes(min(self._tile or side, side))
        return tile + (_PICTURES + self._remembered) * self._picture_bytes

    @property
    def _untouched(self) -> bool:
        """Whether the content is the result."""
        return self._finish.strength == 0 or (self._counted is not None and not bool(self._counted.any()))

    @property
    def _counted(self) -> Tensor | None:
        """How much each pixel counts in the statistics: mask and alpha; None where all count alike."""
        alpha = self.content.alpha
        if self._where is None or alpha is None:
            return alpha if self._where is None else self._where
        return self._where * alpha

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
        height, width = self.content.size
        factor = self._factors[number]
        return (height, width) if factor == 1 else (max(1, round(height * factor)), max(1, round(width * factor)))

    def _scales(self) -> list[float]:
        """Return the factor of each scale, coarsest first; those too small to show anything are left out."""
        factors = [0.5**i for i in reversed(range(self.options.scales))]
        return [f for f in factors if f == 1 or min(self.content.size) * f >= SMALLEST_SCALE]

    def _read_mask(self, mask: Any) -> Tensor | None:
        if mask is None:
            return None
        where, notes = read_mask(mask, self.content.size)
        for note in notes:
            self.report.warn(f"mask: {note}")
        if not where.any():
            self.report.warn("empty_mask: the mask is black everywhere; the content is returned as it is.")
        return None if bool((where == 1).all()) else where

    def _normalize(self) -> None:
        """Give every channel the mean 1 over the pictures of the coarsest scale."""
        pictures = [self._canvas(_resized(self.content.rgb, self._size(0)))]
        pictures += [self._style_canvas(picture, 0)[0] for _, picture in self._styles]
        measured = [measure(self._encoder, picture, tile=self._tile, on_tile=self._tick) for picture in pictures]
        means = [torch.stack([m.mean for m in level]).mean(0) for level in zip(*measured, strict=True)]
        self._encoder.normalize(means)

    def _begin(self, number: int, saved: Any) -> Descent:
        """Set up a scale: its start, from the scale before, and its objective."""
        size = self._size(number)
        content = _resized(self.content.rgb, size).clamp(0, 1).to(self._like)
        targets, shares = self._targets(number), [weight for weight, _ in self._styles]
        styles = [(share / sum(shares), goal) for share, goal in zip(shares, targets, strict=True)]
        counted = self._counted
        if counted is not None:
            counted = extend(_resized(counted, size).to(self._like), ALIGNMENT, MIN_SIDE)
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
                styles,
                weights,
                style_loss=self.options.style_loss,
                content_level=level,
                counted=counted,
                tile=tile if max(size) > tile else 0,
                on_tile=self._tick,
            )

        current = [objective(self._tile)]

        def evaluate(picture: Tensor) -> tuple[Losses, Tensor]:
            while True:
                try:
                    losses, gradient = current[0](picture)
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error) or not self._with_smaller_tiles():
                        raise
                    current[0] = objective(self._tile)
                    continue
                return losses, gradient if counted is None else gradient.mul_(counted)

        start = canvas if saved else self._start(number, content)
        descent = Descent(
            evaluate,
            start,
            steps=self._shares[number],
            optimizer=self.options.optimizer,
            step_size=self.options.step_size,
            history=self._remembered,
            note=self.report.warn,
        )
        if saved:
            descent.restore(saved.tensors, saved.metadata["descent"])
        self._descent, self._number = descent, number
        self.report.tile = self._tile if max(size) > self._tile else 0
        return descent

    def _start(self, number: int, content: Tensor) -> Tensor:
        """Return the picture a scale starts from: the coarser scale's best, with the details of the plain start."""
        size = (content.shape[2], content.shape[3])
        if self.options.start == "noise" and self._descent is None:
            generator = torch.Generator().manual_seed(self.options.seed)
            start = torch.rand((1, 3, *size), generator=generator).to(self._like)
        elif self.options.start == "noise":
            start = _resized(self._best(), size)
        else:
            start = self._stylized(number, content) if self.options.start == "stylized" else content
            if self._descent is not None:
                small = self._size(number - 1)
                start = start + _resized(self._best() - _resized(start, small), size)
        if self._where is not None:
            start = torch.lerp(content, start, _resized(self._where, size).to(start))
        return self._canvas(start.clamp(0, 1))

    def _best(self) -> Tensor:
        """Return the best picture of the scale that is running, or was the last to run."""
        assert self._descent is not None
        return _cropped(self._descent.best, self._size(self._number))

    def _stylized(self, number: int, content: Tensor) -> Tensor:
        options = dataclasses.asdict(self._engine)
        stylizer = load(self.options.start_model, allow_unknown_model=self._unknown, **options)
        styles = [(self._style_rgb(picture, number), weight) for weight, picture in self._styles if weight]
        with warnings.catch_warnings():
            # What they warn of, the run measures itself.
            warnings.simplefilter("ignore", StylePluginWarning)
            return stylizer(content.cpu(), styles, on_step=lambda *_: self._tick()).tensor.to(self._like)

    def _targets(self, number: int) -> list[list[StyleTarget]]:
        targets = []
        self.report.style_sizes = []
        for _, picture in self._styles:
            canvas, weights = self._style_canvas(picture, number)
            moments = measure(self._encoder, canvas, weights=weights, tile=self._tile, on_tile=self._tick)
            for level in moments:
                level.check_finite("style")
            if all(level.is_degenerate for level in moments):
                self.report.warn("degenerate_style: the style has no contrast; only its color is transferred.")
            targets.append([StyleTarget.of(level) for level in moments])
            self.report.style_sizes.append(self._style_size(picture, number))
        return targets

    def _style_size(self, picture: Picture, number: int) -> tuple[int, int]:
        height, width = self._style_rgb(picture, number).shape[2:]
        return height, width

    def _style_rgb(self, picture: Picture, number: int) -> Tensor:
        return scaled(picture.rgb, self._finish.style_scale * self._factors[number])

    def _style_canvas(self, picture: Picture, number: int) -> tuple[Tensor, Tensor | None]:
        canvas = self._canvas(self._style_rgb(picture, number))
        if picture.alpha is None:
            return canvas, None
        alpha = scaled(picture.alpha, self._finish.style_scale * self._factors[number])
        return canvas, extend(alpha.to(self._like), ALIGNMENT, MIN_SIDE)

    def _canvas(self, rgb: Tensor) -> Tensor:
        return extend(rgb.to(self._like), ALIGNMENT, MIN_SIDE)

    def _tick(self) -> None:
        if self._on_step is not None:
            self._on_step(self._done, self._total, "optimize")

    def _planned_tile(self) -> int:
        """Return the side of a tile, or 0; the smallest that is not slow where memory is short."""
        if self._engine.tile != "auto":
            return 0 if self._engine.tile == "whole" else int(self._engine.tile)
        tile, budget = TILES[self._device.type], self._budget()
        while tile > MIN_TILE and self._tile_bytes(tile) > budget // 2:
            tile //= 2
        return tile

    def _tile_bytes(self, tile: int) -> int:
        side = tile + 2 * self._encoder.halo
        return int(_VALUES * 4 * side * side * _values_per_pixel(self._encoder.encoder))

    def _budget(self) -> int:
        limit = self._engine.memory_limit_mb
        return free_memory(self._device) // 2 if limit is None else limit << 20

    def _history(self) -> int:
        """Return how many steps L-BFGS can remember within the memory planned for."""
        if self.options.optimizer == "adam":
            return 1
        room = self._budget() - self._tile_bytes(self._tile) - _PICTURES * self._picture_bytes
        most = min(HISTORY, max(2, _HISTORY_BYTES // self._picture_bytes))
        history = min(most, room // self._picture_bytes)
        if history < 2:
            needed = self._tile_bytes(self._tile) + (_PICTURES + 2) * self._picture_bytes
            raise ResourceError(
                "SP503",
                f"L-BFGS needs about {needed >> 20} MB for a picture of {self.content.width} x {self.content.height}, "
                f"but {self._budget() >> 20} MB are planned for.",
                "Use --optimizer adam, raise --memory-limit-mb, or take a smaller picture.",
            )
        if history < most:
            self.report.warn(f"memory: L-BFGS remembers {history} steps instead of {most}.")
        return history

    @property
    def _picture_bytes(self) -> int:
        return 12 * self.content.size[0] * self.content.size[1]

    def _with_smaller_tiles(self) -> bool:
        smaller = (self._tile or 2 * TILES[self._device.type]) // 2 // ALIGNMENT * ALIGNMENT
        if smaller < MIN_TILE:
            return False
        self.report.warn(f"Out of memory with tiles of {self._tile or 'the whole picture'}; went on with {smaller}.")
        self._tile = smaller
        return True

    def _saved(self) -> Any:
        """Return the checkpoint to go on from, or None."""
        if not self._resume or self._checkpoint is None or not self._checkpoint.exists():
            return None
        saved = read_weights(self._checkpoint, limits=_CHECKPOINT, require_metadata=True)
        check_identity(saved.metadata["identity"], self._identity())
        return saved

    def _identity(self) -> dict[str, Any]:
        """Return what must be the same to go on."""
        pictures = [self.content, *(picture for _, picture in self._styles)]
        return {
            "options": dataclasses.asdict(self.options),
            "style_scale": self._finish.style_scale,
            "strength": self._finish.strength,
            "weights": [weight for weight, _ in self._styles],
            "pictures": [_fingerprint(picture.rgb) for picture in pictures],
            "mask": "" if self._where is None else _fingerprint(self._where),
            "encoder": self.report.model_sha256,
        }


def refuse_model(model: str | None) -> None:
    """Raise UsageError SP152 if a model was named."""
    if model is not None:
        raise UsageError(
            "SP152",
            f"The model {model} was named, but the method optimization has none.",
            "Name what sees the pictures with --encoder, and the model of the start with --start-model.",
        )


def load_encoder(source: str, *, allow_unknown: bool = False) -> tuple[Encoder, str]:
    """Load what sees the pictures.

    Args:
        source: A model whose deepest pair is taken, by name or source; or a VGG-19, whole or its first layers, as
            file:PATH or hub:OWNER/REPO@REVISION.
        allow_unknown: Admit a local model file that is not in the list of known models, with a warning.

    Returns:
        The encoder, and the sha256 of the file.

    Raises:
        WeightsError: SP301 to SP319, the file cannot be used.
        UsageError: SP151, a model without a VGG encoder.
    """
    located = zoo.resolve(source)
    sha256 = hashlib.sha256(located.path.read_bytes()).hexdigest()
    if located.path.suffix == ".safetensors" and read_weights(located.path, limits=WHOLE_VGG).metadata:
        model, info = zoo.load(source, allow_unknown=allow_unknown)
        if not isinstance(model, PairModel):
            raise UsageError(
                "SP151",
                f"The model {info.name} has no VGG encoder, which the optimization needs.",
                "Use cd-wct.x16, cd-adain.x16, or a VGG-19 as file:PATH.",
            )
        return model.pair(max(model.levels)).encoder, sha256
    layers = import_vgg(located.path)
    convs = [conv for conv in CONVS if f"conv{conv}.weight" in layers]
    level = max(int(conv[0]) for conv in convs if conv.endswith("_1"))
    convs = convs[: convs.index(f"{level}_1") + 1]
    encoder = Encoder(VGGSpec(level=level, widths=tuple(len(layers[f"conv{conv}.weight"]) for conv in convs)))
    wanted = {name: value for name, value in layers.items() if name.split(".")[0].removeprefix("conv") in convs}
    load_tensors(encoder, wanted, located.path.name)
    return encoder, sha256


def _sorted(options: dict[str, Any]) -> tuple[OptimizeOptions, StylizeOptions, EngineOptions]:
    """Sort options into their classes; unknown names are errors of the first."""
    known = {f.name: cls for cls in (StylizeOptions, EngineOptions) for f in fields(cls)}
    parts: dict[type, dict[str, Any]] = {OptimizeOptions: {}, StylizeOptions: {}, EngineOptions: {}}
    for name, value in options.items():
        parts[known.get(name, OptimizeOptions)][name] = value
    optimize, stylize, engine = (options_from(cls, values) for cls, values in parts.items())
    return optimize, stylize, engine


def _style_picture(style: Any) -> Picture:
    if isinstance(style, (str, Path)) and Path(style).suffix == SUFFIX:
        raise UsageError(
            "SP150",
            f"The style {Path(style).name} is a style file; the optimization needs the picture.",
            "Give the picture it was made from.",
        )
    picture = to_picture(style)
    if picture.alpha is not None and not bool(picture.alpha.any()):
        raise MaskError("SP223", "The style picture is transparent everywhere.", "Give a picture that can be seen.")
    return picture


def _steps_of_scales(steps: int, scales: int) -> list[int]:
    """Share out steps: coarse scales, which are cheap, get more; each at least one."""
    parts = list(range(scales, 0, -1))
    counts = [max(1, steps * part // sum(parts)) for part in parts]
    counts[-1] = max(1, steps - sum(counts[:-1]))
    return counts


def _values_per_pixel(encoder: Encoder) -> float:
    """Return the values of all feature maps per pixel."""
    total, area = 3.0, 1.0
    for layer in encoder.layers()[1:]:
        area = area / 4 if layer is encoder.pool else area
        total += area * getattr(layer, "out_channels", 0) * 2
    return total


def _resized(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (1, C, H, W) to (height, width)."""
    if picture.shape[2:] == size:
        return picture
    return F.interpolate(picture, size=size, mode="bicubic", antialias=True)


def _cropped(picture: Tensor, size: tuple[int, int]) -> Tensor:
    return picture[:, :, : size[0], : size[1]]


def _fingerprint(values: Tensor) -> str:
    return hashlib.sha256(values.detach().cpu().contiguous().numpy().tobytes()).hexdigest()[:16]
