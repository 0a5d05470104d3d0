"""A run of several phases: each from its own file, with checkpoints, log and exact resume; what is trained is open."""

from __future__ import annotations

import ctypes
import json
import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from styleplugin.errors import WeightsError
from styleplugin.loading.build import save_model
from styleplugin.networks.model import StyleModel, load_tensors
from styleplugin.tensorfile import TEACHER, read_weights
from styleplugin.train.data.augment import random_crops
from styleplugin.train.data.lessons import Lessons
from styleplugin.train.data.pictures import Pictures, step_generator
from styleplugin.train.evaluation.gate import verdict
from styleplugin.train.evaluation.page import write_page
from styleplugin.train.loop.fit import Intervals, PruningStepper, Stepper, fit, measure_speed
from styleplugin.train.loop.logbook import Logbook, Row
from styleplugin.train.loop.setting import Setting
from styleplugin.train.loop.state import Checkpoints, Progress
from styleplugin.train.networks.parts import read_card
from styleplugin.train.networks.teachers import LossNetwork
from styleplugin.train.pruning.pruned import PrunedAutoencoder
from styleplugin.train.recipe.options import PhaseOptions, RunRecipe
from styleplugin.train.recipe.plan import PhasePlan, Plan, peak_memory_mb

PROBES = 64
"""Pictures for dead channels and validation."""
SHEET = 8
"""Columns of a contact sheet."""
MEASURED = 16
"""Pictures for the validation loss."""
PROBE_SECONDS = 2.0
"""For measuring the speed of a phase."""
TIME_OVERRUN = 1.3
"""Share of its planned time after which a phase of a time-boxed run ends with the steps done so far."""
BEST = "best.safetensors"
"""The best student so far, in the run's folder until the finished one is there."""
LATEST = "latest.safetensors"
"""The student as it was when the run was last stopped, in the form of the finished file; until that is there."""


Network = TypeVar("Network", bound=nn.Module)


class Trainable(Protocol):
    """What a phase works on."""

    trained: nn.Module
    """The part that learns."""


class PhasedRun:
    """One model on its way; `train` does everything.

    A kind of model says what its phases are, what each trains and how its result is written.
    """

    target: str
    """Name of the finished weights file."""
    content: Pictures
    style: Pictures | None = None
    """For methods that are trained with styles."""
    lessons: Lessons | None = None
    """For students that learn from pictures."""
    teaching: tuple[str, ...] = ()
    """Phases whose results teach the student and are no part of it."""
    style_probes: Tensor
    """Validation styles, as many as there are validation contents at most."""

    def __init__(self, recipe: RunRecipe, out: Path, setting: Setting) -> None:
        self.recipe = recipe
        self.phases = recipe.phases
        self.out = out
        self.setting = setting
        self.device = setting.place
        self.log = Logbook(out, setting.on_event, silent=not setting.workers.is_main)
        self.steps_done: dict[str, int] = {}
        self.best = math.inf
        data = recipe.data
        self.content, self.held_out = setting.pictures(data, styles=False)
        self.probes = self.content.center_crops(data.crop, PROBES)
        self.validation = self.held_out.center_crops(data.crop, PROBES)
        self.identity = identity_of(recipe.to_dict()) | {"pictures": [self.content.fingerprint]}
        for phase in self.phases:
            setting.workers.check(recipe.phase(phase).batch)

    def begin(self, phase: str) -> Trainable:
        """Build what a phase trains, from the files of the phases before it."""
        raise NotImplementedError

    def task(self, trainable: Any, options: PhaseOptions) -> nn.Module:
        """Return the module that turns a batch into losses, on the device."""
        raise NotImplementedError

    def batch(self, phase: str, count: int, step: int) -> dict[str, Tensor]:
        """Return the arguments of the task, contents and styles if it has them; a pure function of phase and step."""
        generator = step_generator(self.recipe.seed, phase, step)
        if self.lessons is not None and self.recipe.phase(phase).learns_from_pictures:
            return self.lessons.batch(count, step, generator)
        batch = {"content": random_crops(self.content, count, self.recipe.data, generator)}
        if self.style is not None:
            batch["style"] = random_crops(self.style, count, self.recipe.data, generator)
        return batch

    def held_out_batch(self) -> dict[str, Tensor]:
        """Return the arguments of the task for the validation loss."""
        if self.style is None:
            return {"content": self.validation[:MEASURED]}
        content, style = self.held_out_pairs(MEASURED)
        batch = {"content": content, "style": style}
        return batch if self.lessons is None else batch | {"picture": self.lessons.paint(content, style)}

    def held_out_pairs(self, count: int) -> tuple[Tensor, Tensor]:
        """Return contents and styles of the validation sets, as many of each."""
        count = min(count, len(self.validation), len(self.style_probes))
        return self.validation[:count], self.style_probes[:count]

    def validate(self, task: Any, trainable: Any) -> tuple[Row, list[Tensor]]:
        """Return figures, and the rows of a contact sheet."""
        raise NotImplementedError

    def mend(self, phase: str, trainable: Any, step: int, steps: int) -> Row:
        """Change weights after a validation, the same ones at the same step; return what was done."""
        return {}

    def student(self, phase: str, trainable: Any) -> StyleModel | None:
        """Return a copy of the student as it is now, on the CPU; None in phases that have none yet."""
        raise NotImplementedError

    def write_part(self, path: Path, phase: str, trainable: Any, card: dict[str, Any]) -> None:
        """Write the result of a phase."""
        raise NotImplementedError

    def write_student(self, target: Path, student: StyleModel, card: dict[str, Any]) -> None:
        """Write a student as it is distributed."""
        save_model(target, student, license=self.recipe.license, card=card)

    def write_model(self, target: Path) -> None:
        """Evaluate and write the finished model."""
        raise NotImplementedError

    def teacher_card(self) -> dict[str, Any]:
        """Return the loss network, for the card."""
        raise NotImplementedError

    def card(self, metrics: dict[str, Any]) -> dict[str, Any]:
        """Return what the model was trained with, and its figures: the card, JSON data."""
        return {
            "name": self.recipe.name,
            "recipe": self.recipe.to_dict() | {"data": None, "teacher": None},
            "teacher": self.teacher_card() | ({"painter": self.lessons.painter} if self.lessons else {}),
            "data": self.data_card(),
            "steps": self.steps_done,
            "seed": self.recipe.seed,
            "continues": self.continued(),
            "metrics": metrics,
        }

    def continued(self) -> list[str]:
        """Return the sha256 of the finished files that the run goes on from; none where it begins anew."""
        inits = {self.recipe.phase(phase).init for phase in self.phases if phase not in self.teaching} - {""}
        return sorted({read_weights(init, limits=TEACHER).sha256 for init in inits})

    def evaluated(self, metrics: dict[str, Any]) -> dict[str, Any]:
        """Log the figures of the finished student and the verdict of the gate; return its card."""
        gate = verdict(self.recipe, metrics)
        self.log.write(event="evaluated", **metrics)
        self.log.write(event="gate", **gate)
        return self.card(metrics) | {"gate": gate}

    def data_card(self) -> dict[str, Any]:
        """Return what is known about the pictures, for the card."""
        data = self.recipe.data
        return {
            "name": data.name,
            "pictures": {"training": len(self.content), "validation": len(self.held_out)}
            | ({"styles": len(self.style)} if self.style else {}),
            "held out": self.content.fingerprint != self.held_out.fingerprint,
            "fingerprint": self.identity["pictures"],
            "prepared": f"shorter side {data.short_side} px, random crops of {data.crop} px, flipped",
        }

    def load_styles(self) -> None:
        """Load the artworks of the recipe."""
        self.style, self.style_held_out = self.setting.pictures(self.recipe.data, styles=True)
        self.style_probes = self.style_held_out.center_crops(self.recipe.data.crop, PROBES)
        self.identity["pictures"].append(self.style.fingerprint)

    def load_lessons(self, loss_network: LossNetwork) -> None:
        """Load the painter of the recipe, if there is one; the loss network measures the styles of its pictures."""
        if self.recipe.teacher.painter:
            assert self.style is not None
            self.lessons = Lessons(self.recipe, loss_network, self.content, self.style, self.out.parent)

    def train(self) -> Path:
        """Run the phases that have no result yet, and write the model."""
        target = self.out / self.target
        with self._backend():
            for phase in self.phases:
                self.setting.check_stop()
                self._phase(phase)
        if self.setting.workers.is_main:
            self.write_model(target)
            for name in (BEST, LATEST):
                (self.out / name).unlink(missing_ok=True)
            self.log.plot()
            write_page(self.out)
        self.setting.workers.wait()
        return target

    def dry_run(self) -> Plan:
        """Begin every phase without a result in a folder of its own, and measure some steps and a checkpoint.

        Raises:
            StylePluginError: Whatever would stop the run: pictures, teacher, shapes, memory.
        """
        out, log, self.steps_done = self.out, self.log, {}
        self.out = out / f".rehearsal-{self.setting.workers.rank}"
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()
        self.log = Logbook(self.out)
        try:
            with self._backend():
                plans = [plan for phase in self.phases if (plan := self._dry_run(phase, out))]
            disk = sum(path.stat().st_size for path in self.out.rglob("*.safetensors"))
        finally:
            shutil.rmtree(self.out, ignore_errors=True)
            self.out, self.log, self.steps_done = out, log, {}
        # Two checkpoints are kept while a third one is written.
        return Plan(
            phases=tuple(plans),
            device=str(self.device),
            memory_mb=peak_memory_mb(self.device),
            disk_mb=(3 * disk >> 20) + 1,
        )

    def _dry_run(self, phase: str, out: Path) -> PhasePlan | None:
        self.setting.check_stop()
        options, finished = self.recipe.phase(phase), out / self.result(phase).name
        if finished.exists():
            shutil.copy(finished, self.result(phase))
            return None
        trainable = self.begin(phase)
        seconds = 0.0
        if options.steps:
            stepper = self._stepper(trainable, options)
            batches = self._batches(phase, options.batch)
            seconds = 1 / measure_speed(stepper, batches, PROBE_SECONDS, self.setting.check_stop)
            progress = Progress(steps=options.steps)
            self._checkpoints(phase).save(progress, trainable.trained, stepper.optimizer, stepper.average)
        self.write_part(self.result(phase), phase, trainable, {})
        if not options.steps:
            return None
        return PhasePlan(run=self.recipe.name, phase=phase, steps=options.steps, seconds_per_step=seconds)

    def result(self, phase: str) -> Path:
        """Return the file of a phase."""
        return self.out / f"{phase}.safetensors"

    def autocast(self) -> torch.autocast:
        """Return the precision of the forward pass."""
        # Accelerate's own has one precision for the whole process; the pairs of a bundle may differ.
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16")

    def _batches(self, phase: str, count: int) -> Callable[[int], dict[str, Tensor]]:
        return lambda step: self.setting.workers.share(self.batch(phase, count, step))

    def _stepper(self, trainable: Trainable, options: PhaseOptions) -> Stepper:
        kind = PruningStepper if isinstance(trainable.trained, PrunedAutoencoder) else Stepper
        return kind(self.task(trainable, options), trainable.trained, options, self.autocast, self.setting.workers)

    def _phase(self, phase: str) -> None:
        path, options = self.result(phase), self.recipe.phase(phase)
        if path.exists():
            self.steps_done[phase] = read_card(path)["steps"]
            return
        trainable = self.begin(phase)
        # What was solved or chosen may differ in the last bits, and then in a channel.
        self.setting.workers.copy_from_first(trainable.trained)
        progress = Progress(steps=options.steps)
        if options.steps:
            progress = self._fit(phase, options, trainable)
        self.steps_done[phase] = progress.step
        if self.setting.workers.is_main:
            self.write_part(path, phase, trainable, self.card({}) | {"phase": phase, "steps": progress.step})
            self._checkpoints(phase).clear()
        self.setting.workers.wait()

    def _fit(self, phase: str, options: PhaseOptions, trainable: Trainable) -> Progress:
        setting, stepper = self.setting, self._stepper(trainable, options)
        checkpoints = self._checkpoints(phase)
        progress = checkpoints.restore(trainable.trained, stepper.optimizer, stepper.average)
        if progress is None:
            progress = Progress(steps=setting.workers.broadcast(self._planned_steps(phase, options)))
            if setting.workers.is_main and progress.steps != options.steps:
                # A resumed run must have the same steps, however fast the machine is then.
                checkpoints.save(progress, trainable.trained, stepper.optimizer, stepper.average)
        self.log.rewind(phase, progress.step)
        self.log.write(event="phase", phase=phase, step=progress.step, steps=progress.steps, device=str(self.device))
        self._read_best(phase)
        steps = progress.steps
        allowed = TIME_OVERRUN * (setting.seconds_left - setting.plan.after(self.recipe.name, phase))
        return fit(
            stepper,
            self._batches(phase, options.batch),
            progress=progress,
            checkpoints=checkpoints,
            intervals=Intervals(
                log=self.recipe.log_every,
                validate=self.recipe.validate_every,
                checkpoint=self.recipe.checkpoint_every,
            ),
            on_log=lambda row: self._log(phase, options, steps, row),
            on_validate=lambda step: self._validate(phase, stepper, trainable, step, steps),
            on_skip=lambda step: self._keep_batch(phase, options.batch, step),
            on_stop=lambda step: self._keep_latest(phase, stepper, trainable, step),
            should_stop=setting.should_stop,
            deadline=time.monotonic() + allowed if setting.plan.phases else setting.end,
        )

    def _planned_steps(self, phase: str, options: PhaseOptions) -> int:
        """Return the steps of a phase: the recipe's, or those that the time budget leaves."""
        if math.isinf(self.setting.end):
            return options.steps
        return self.setting.plan.steps_within(self.recipe.name, phase, self.setting.seconds_left) or options.steps

    def _log(self, phase: str, options: PhaseOptions, steps: int, row: Row) -> None:
        speed = row["images_per_s"] / options.batch
        left = (steps - row["step"]) / speed + self.setting.plan.after(self.recipe.name, phase)
        self.log.write(run=self.recipe.name, phase=phase, steps=steps, **row, seconds_left=round(left, 1))

    def _validate(self, phase: str, stepper: Stepper, trainable: Trainable, step: int, steps: int) -> None:
        """Log figures and a contact sheet, keep the best student, and mend weights."""
        with stepper.as_result():
            row, rows = self.validate(stepper.task, trainable)
            with torch.no_grad(), self.autocast():
                loss = float(stepper.task(**self.held_out_batch())["loss"])
            row = {"validation": round(loss, 5)} | row
            if self.setting.workers.is_main:
                self._keep_best(phase, trainable, step, row)
        mended = self.mend(phase, trainable, step, steps)
        self.setting.workers.copy_from_first(trainable.trained)
        self.log.write(phase=phase, step=step, **row, **mended)
        self.log.sheet(f"{phase}-{step:06}", rows)
        self.log.plot()
        if self.setting.workers.is_main:
            write_page(self.out)

    def _keep_best(self, phase: str, trainable: Trainable, step: int, row: Row) -> None:
        if not row["validation"] < self.best or (student := self.student(phase, trainable)) is None:
            return
        self.best = row["validation"]
        card = self._card_on_the_way(phase, step, row) | {"gate": verdict(self.recipe, row)}
        save_model(self.out / BEST, student, license=self.recipe.license, card=card)

    def _keep_latest(self, phase: str, stepper: Stepper, trainable: Trainable, step: int) -> None:
        if not self.setting.workers.is_main:
            return
        with stepper.as_result():
            student = self.student(phase, trainable)
        if student is not None:
            self.write_student(self.out / LATEST, student, self._card_on_the_way(phase, step, {}))

    def _card_on_the_way(self, phase: str, step: int, row: Row) -> dict[str, Any]:
        return self.card(row) | {"phase": phase, "steps": self.steps_done | {phase: step}}

    def _read_best(self, phase: str) -> None:
        """Go on with the best student of this phase; an earlier phase had other losses."""
        self.best = math.inf
        with suppress(WeightsError):
            card = read_card(self.out / BEST)
            self.best = card["metrics"]["validation"] if card["phase"] == phase else math.inf

    def _keep_batch(self, phase: str, count: int, step: int) -> None:
        batch = self.batch(phase, count, step)
        self.log.write(event="skipped", phase=phase, step=step)
        self.log.sheet(f"skipped-{phase}-{step:06}", [value for value in batch.values() if value.dim() == 4])

    def _backend(self) -> AbstractContextManager[None]:
        return backend_settings(self.device, keep_memory=self.setting.owns_process)

    def _checkpoints(self, phase: str) -> Checkpoints:
        folder = self.out / "checkpoints"
        folder.mkdir(exist_ok=True)
        return Checkpoints(folder, phase, self.identity)


def started_from(model: Network, path: str) -> Network:
    """Fill a model from a finished file of its architecture."""
    weights = read_weights(path)
    load_tensors(model, {name: value.float() for name, value in weights.tensors.items()}, weights.path.name)
    return model


def identity_of(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return what must stay the same in a resumed run: all but the places of files, whose contents are checked."""
    recipe = json.loads(json.dumps(recipe))
    recipe.pop("minutes", None)
    for table, name in (("data", "photos"), ("data", "paintings"), ("teacher", "root")):
        recipe[table].pop(name)
    return recipe


@contextmanager
def backend_settings(device: torch.device, *, keep_memory: bool) -> Iterator[None]:
    """Let cuDNN choose its fastest kernels for the block; the crops all have one size.

    Args:
        device: Where the run trains.
        keep_memory: On a CPU, keep freed memory in the process.
    """
    if device.type == "cpu" and keep_memory:
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
