"""From a recipe to the weights file of a pair: phases in order, each from its own file, and the model card."""

from __future__ import annotations

import ctypes
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styleplugin.errors import UsageError
from styleplugin.files import atomic_write
from styleplugin.importers.collaborative_distillation import EmbeddedEncoder
from styleplugin.models.pairs import Pair, PairModel, PairSpec
from styleplugin.models.vgg import Decoder
from styleplugin.registry import load_tensors, save_model
from styleplugin.train.bundles import run_bundle
from styleplugin.train.coders import (
    Coder,
    DistillTask,
    StudentDecoderCoder,
    StudentEncoderCoder,
    StudentPairCoder,
    TeacherDecoderCoder,
)
from styleplugin.train.config import PHASES, BundleRecipe, PhaseOptions, Recipe, read_recipe
from styleplugin.train.data import Pictures, load_pictures, step_generator
from styleplugin.train.evaluate import evaluate_pair, reconstruction_psnr
from styleplugin.train.lock import locked
from styleplugin.train.logbook import Logbook
from styleplugin.train.loop import Rhythm, Stepper, fit, measure_speed
from styleplugin.train.padding import pad_in_channels_last
from styleplugin.train.parts import load_part, read_card, save_part
from styleplugin.train.prune import dead_fraction, revive
from styleplugin.train.start import start_student_decoder, start_student_encoder, start_teacher_decoder
from styleplugin.train.state import Checkpoints, Progress, check_identity
from styleplugin.train.tasks import ReconstructionTask, StylizationTask
from styleplugin.train.teachers import build_judge

PROBES = 64
"""Pictures for dead channels and validation."""
STARTING = 16
"""Pictures for starting values."""
REVIVE_UNTIL = 0.9
"""Share of a phase's steps in which dead channels are revived."""
SHEET = 8
"""Columns of a contact sheet."""
PROBE_SECONDS = 4.0
"""For measuring the speed of a phase in a time-boxed run."""


def run(
    recipe: str | Path | Recipe | BundleRecipe,
    out: str | Path,
    *,
    resume: bool = False,
    teacher: str | None = None,
    device: str = "auto",
    data: str | Path | None = None,
    teachers: str | Path | None = None,
    seconds: float | None = None,
    on_event: Callable[[dict[str, Any]], None] | None = None,
) -> Path:
    """Train what a recipe describes.

    Args:
        recipe: TOML file or recipe.
        out: Folder of the run; gets pair.safetensors, the results of the phases, log.jsonl, loss.png and sheets/.
        resume: Go on with the run in `out`.
        teacher: `file:PATH` or `hub:...` of a full VGG-19 instead of the recipe's.
        device: auto, cpu, cuda or mps.
        data: Folder of the pictures instead of the recipe's.
        teachers: Folder of the teacher's files instead of the recipe's.
        seconds: Choose the steps of each phase so that the run takes this long. Such a run depends on the machine's
            speed; the card says how many steps it took.
        on_event: Gets every row of the log.

    Returns:
        The weights file.

    Raises:
        UsageError: SP120 to SP126 the recipe, SP130 to SP132 the pictures, SP140 the folder holds a run and `resume`
            is not set, SP142 another process trains there.
        WeightsError: The teacher is missing or not the recipe's.
        CheckpointError: SP801 to SP805, the state in `out` does not fit.
        NumericalError: SP710, the training diverged.
        Cancelled: After SIGINT or SIGTERM; a checkpoint is written.
    """
    out = Path(out)
    if not isinstance(recipe, (Recipe, BundleRecipe)):
        path = Path(recipe)
        recipe = read_recipe(path)
    else:
        path = Path()
    options = {"teacher": teacher, "device": device, "data": data, "teachers": teachers, "on_event": on_event}
    if isinstance(recipe, BundleRecipe):
        return run_bundle(recipe, path.parent, out, lambda r, o: run(r, o, resume=True, seconds=seconds, **options))
    recipe = replace(
        recipe,
        data=replace(recipe.data, root=str(data or recipe.data.root)),
        teacher=replace(
            recipe.teacher, root=str(teachers or recipe.teacher.root), source=teacher or recipe.teacher.source
        ),
    )
    start = recipe
    if recipe.grow_from:
        earlier = read_recipe(recipe.grow_from)
        assert isinstance(earlier, Recipe)
        folder = out.parent / earlier.name
        if not (folder / "pair.safetensors").exists():
            run(earlier, folder, resume=True, seconds=seconds, **options)
        start = _growing(recipe, earlier, folder)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        _check_folder(recipe, out, resume)
        return Run(recipe, out, device, seconds, on_event, start=start).train()


def _growing(recipe: Recipe, earlier: Recipe, folder: Path) -> Recipe:
    """Return a recipe whose phases begin with the results of an earlier run, as far as the widths agree."""
    sources = {"teacher_decoder": "teacher_decoder"}
    widths = earlier.student.widths
    if recipe.student.widths[: len(widths)] == widths:
        sources |= {"student_encoder": "student_pair", "student_decoder": "student_pair"}
    phases = {
        phase: replace(recipe.phase(phase), init=str(folder / f"{source}.safetensors"))
        for phase, source in sources.items()
        if not recipe.phase(phase).init
    }
    return replace(recipe, **phases)


def _check_folder(recipe: Recipe, out: Path, resume: bool) -> None:
    path = out / "recipe.json"
    if path.exists():
        if not resume:
            raise UsageError("SP140", f"{out} holds a run already.", "Use --resume, or choose another folder.")
        check_identity(_identity(json.loads(path.read_text())), _identity(recipe.to_dict()))
    with atomic_write(path) as file:
        file.write(json.dumps(recipe.to_dict(), indent=1).encode())


def _identity(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return what must stay the same in a resumed run: all but the places of files, whose contents are checked."""
    recipe = json.loads(json.dumps(recipe))
    recipe["data"].pop("root")
    recipe["teacher"].pop("root")
    return recipe


class Run:
    """One pair on its way; `train` does everything."""

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        device: str,
        seconds: float | None,
        on_event: Callable[[dict[str, Any]], None] | None,
        *,
        start: Recipe,
    ) -> None:
        from accelerate import Accelerator

        self.recipe = recipe
        self.start = start
        """The recipe with the files that the phases begin with."""
        self.out = out
        self.device = Accelerator(cpu=device == "cpu").device
        self.log = Logbook(out, on_event)
        self.end = time.monotonic() + seconds if seconds else math.inf
        self.steps_done: dict[str, int] = {}
        data = recipe.data
        self.content, self.held_out = self._load(data.content)
        self.style, self.style_held_out = self._load(data.style) if recipe.method == "adain" else (None, None)
        self.probes = self.content.center_crops(data.crop, PROBES)
        self.validation = self.held_out.center_crops(data.crop, PROBES)
        self.judge = build_judge(recipe.teacher, recipe.level, self.probes.cpu()).to(self.device)
        self.identity = _identity(recipe.to_dict()) | {
            "pictures": [p.fingerprint for p in (self.content, self.style) if p]
        }

    def _autocast(self) -> torch.autocast:
        # Accelerate's own has one precision for the whole process; the pairs of a bundle may differ.
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16")

    def _load(self, kind: str) -> tuple[Pictures, Pictures]:
        data = self.recipe.data
        training, validation = load_pictures(data.root, kind, short_side=data.short_side, smallest=data.crop)
        return training.to(self.device), validation.to(self.device)

    def train(self) -> Path:
        """Run the phases that have no result yet, and write the pair."""
        target = self.out / "pair.safetensors"
        with backend_settings(self.device):
            for phase in PHASES:
                self._phase(phase)
        pair = self._pair()
        metrics = evaluate_pair(pair, self.validation.cpu())
        self.log.write(event="evaluated", **metrics)
        save_model(target, PairModel(self.recipe.method, [pair]), license=self.recipe.license, card=self._card(metrics))
        return target

    def _result(self, phase: str) -> Path:
        return self.out / f"{phase}.safetensors"

    def _phase(self, phase: str) -> None:
        path, options = self._result(phase), self.recipe.phase(phase)
        if path.exists():
            self.steps_done[phase] = read_card(path)["steps"]
            return
        coder = self._coder(phase)
        progress = Progress(steps=options.steps)
        if options.steps:
            progress = self._fit(phase, options, coder)
        self.steps_done[phase] = progress.step
        save_part(path, phase, coder.trained.cpu(), self._card({}) | {"phase": phase, "steps": progress.step})
        self._checkpoints(phase).clear()

    def _fit(self, phase: str, options: PhaseOptions, coder: Coder) -> Progress:
        task = self._task(coder, options)
        stepper = Stepper(task, coder.trained, options, self._autocast)
        checkpoints = self._checkpoints(phase)
        progress = checkpoints.restore(coder.trained, stepper.optimizer)
        begin = time.monotonic()
        if progress is None:
            progress = Progress(steps=self._planned_steps(phase, options, stepper))
            stepper = Stepper(task, coder.trained, options, self._autocast)
        self.log.rewind(phase, progress.step)
        self.log.write(event="phase", phase=phase, step=progress.step, steps=progress.steps, device=str(self.device))
        steps = progress.steps
        return fit(
            stepper,
            lambda step: self._batch(phase, options.batch, step),
            progress=progress,
            checkpoints=checkpoints,
            rhythm=Rhythm(
                log=self.recipe.log_every,
                validate=self.recipe.validate_every,
                checkpoint=self.recipe.checkpoint_every,
            ),
            on_log=lambda row: self.log.write(phase=phase, **row),
            on_validate=lambda step: self._validate(phase, task, coder, step, steps),
            on_skip=lambda step: self._keep_batch(phase, options.batch, step),
            deadline=min(self.end, begin + 1.3 * self._budget(phase)),
        )

    def _budget(self, phase: str) -> float:
        """Return the seconds of a phase: its share of what is left."""
        ahead = (self.recipe.phase(name) for name in PHASES[PHASES.index(phase) :])
        shares = [options.share for options in ahead if options.steps]
        return (self.end - time.monotonic()) * shares[0] / sum(shares)

    def _planned_steps(self, phase: str, options: PhaseOptions, stepper: Stepper) -> int:
        if math.isinf(self.end):
            return options.steps
        budget = self._budget(phase)
        speed = measure_speed(stepper, lambda step: self._batch(phase, options.batch, step), PROBE_SECONDS)
        return max(1, int(speed * (0.92 * budget - PROBE_SECONDS)))

    def _batch(self, phase: str, count: int, step: int) -> dict[str, Tensor]:
        generator = step_generator(self.recipe.seed, phase, step)
        batch = {"content": self.content.random_crops(count, self.recipe.data.crop, generator)}
        if self.style:
            batch["style"] = self.style.random_crops(count, self.recipe.data.crop, generator)
        return batch

    def _coder(self, phase: str) -> Coder:
        """Build a phase from the files of the phases before it."""
        if phase == "teacher_decoder":
            return TeacherDecoderCoder(start_teacher_decoder(self.start, self.judge, self.probes[:STARTING]))
        if phase == "student_encoder":
            encoder = start_student_encoder(self.start, self.judge, self.probes[:STARTING])
            return StudentEncoderCoder(encoder, self._teacher_decoder())
        encoder, _ = load_part(self._result("student_encoder"), "student_encoder")
        assert isinstance(encoder, EmbeddedEncoder)
        if phase == "student_pair":
            decoder, _ = load_part(self._result("student_decoder"), "student_decoder")
            assert isinstance(decoder, Decoder)
            return StudentPairCoder(encoder, decoder)
        decoder = start_student_decoder(self.start, encoder, self._teacher_decoder, self.probes[:STARTING])
        return StudentDecoderCoder(encoder.encoder, decoder)

    def _teacher_decoder(self) -> Decoder:
        decoder, _ = load_part(self._result("teacher_decoder"), "teacher_decoder")
        assert isinstance(decoder, Decoder)
        return decoder

    def _task(self, coder: Coder, options: PhaseOptions) -> DistillTask:
        names = ("pixel", "perceptual", "embedding", "content", "style")
        kind = StylizationTask if self.recipe.method == "adain" else ReconstructionTask
        task = kind(self.judge, coder, {name: getattr(options, name) for name in names})
        task.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        pad_in_channels_last(task)
        return task

    def _validate(self, phase: str, task: DistillTask, coder: Coder, step: int, steps: int) -> None:
        with self._autocast():
            value = reconstruction_psnr(task.reconstruct, self.validation, 16)
            row: dict[str, Any] = {"psnr": round(value, 3)}
            rows = [self.validation[:SHEET], task.reconstruct(self.validation[:SHEET])]
            if isinstance(task, StylizationTask) and self.style_held_out:
                styles = self.style_held_out.center_crops(self.recipe.data.crop, SHEET)
                rows[1:] = [styles, task.stylize(self.validation[:SHEET], styles)]
        if phase != "teacher_decoder":
            seen = self._students(coder, self.validation)
            row["dead"] = round(max(dead_fraction(network, inputs) for network, inputs in seen), 4)
            # Later a channel that wakes up has no time left to part from its twin.
            if step <= REVIVE_UNTIL * steps:
                generator = step_generator(self.recipe.seed, f"revive {phase}", step)
                seen = self._students(coder, self.probes)
                row["revived"] = sum(revive(network, inputs, generator) for network, inputs in seen)
        self.log.write(phase=phase, step=step, **row)
        self.log.sheet(f"{phase}-{step:06}", rows)
        self.log.plot()

    @staticmethod
    @torch.no_grad()
    def _students(coder: Coder, images: Tensor) -> list[tuple[Any, Tensor]]:
        """Return the students in training and what each of them sees."""
        if isinstance(coder, StudentDecoderCoder):
            return [(coder.trained, coder.encoder(images))]
        if isinstance(coder, StudentPairCoder):
            encoder = coder.embedded.encoder
            return [(encoder, images), (coder.decoder, encoder(images))]
        return [(coder.trained.encoder, images)]

    def _keep_batch(self, phase: str, count: int, step: int) -> None:
        batch = self._batch(phase, count, step)
        self.log.write(event="skipped", phase=phase, step=step)
        self.log.sheet(f"skipped-{phase}-{step:06}", list(batch.values()))

    def _checkpoints(self, phase: str) -> Checkpoints:
        folder = self.out / "checkpoints"
        folder.mkdir(exist_ok=True)
        return Checkpoints(folder, phase, self.identity)

    def _pair(self) -> Pair:
        path = self._result("student_pair")
        (encoder, _), (decoder, _) = load_part(path, "student_encoder"), load_part(path, "student_decoder")
        assert isinstance(encoder, EmbeddedEncoder) and isinstance(decoder, Decoder)
        pair = Pair(PairSpec(encoder=replace(encoder.encoder.spec, final_relu=True), decoder=decoder.spec))
        load_tensors(pair.encoder, encoder.encoder.state_dict(), "the encoder")
        load_tensors(pair.decoder, decoder.state_dict(), "the decoder")
        return pair

    def _card(self, metrics: dict[str, float]) -> dict[str, Any]:
        recipe = self.recipe
        true = self.judge.vgg.spec.level
        judge = "VGG-19 at all levels"
        if true < recipe.level:
            judge = f"VGG-19 up to level {true}; above, the linear embeddings of the released x16 students stand in"
        counts = {"training": len(self.content), "validation": len(self.held_out)}
        counts |= {"styles": len(self.style)} if self.style else {}
        return {
            "name": recipe.name,
            "recipe": recipe.to_dict() | {"data": None, "teacher": None},
            "teacher": {"sha256": self.judge.sources, "judge": judge},
            "data": {
                "name": recipe.data.name,
                "pictures": counts,
                "fingerprint": self.identity["pictures"],
                "prepared": f"shorter side {recipe.data.short_side} px, random crops of {recipe.data.crop} px, flipped",
            },
            "steps": self.steps_done,
            "seed": recipe.seed,
            "metrics": metrics,
        }


@contextmanager
def backend_settings(device: torch.device) -> Iterator[None]:
    """Let cuDNN choose its fastest kernels for the block; the crops all have one size. On a CPU, keep freed memory."""
    if device.type == "cpu":
        _keep_freed_memory()
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = device.type == "cuda"
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def _keep_freed_memory() -> None:
    """Ask glibc not to give large freed blocks back to the system.

    Every step frees and allocates the same tensors; paging them in anew each time took more time than a copy of them.
    It stays for the process, which does nothing but train. Elsewhere than on Linux there is nothing to ask.
    """
    trim_threshold, mmap_threshold, size = -1, -3, 1 << 30
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_threshold, size)
        libc.mallopt(trim_threshold, size)
