"""A run of several phases: each from its own file, with checkpoints, log and exact resume; what is trained is open."""

from __future__ import annotations

import ctypes
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from styleplugin.train.config import PhaseOptions, RunRecipe
from styleplugin.train.data import Pictures, load_pictures, step_generator
from styleplugin.train.logbook import Logbook
from styleplugin.train.loop import PruningStepper, Rhythm, Stepper, fit, measure_speed
from styleplugin.train.parts import read_card
from styleplugin.train.pruned import PrunedCoder
from styleplugin.train.state import Checkpoints, Progress

PROBES = 64
"""Pictures for dead channels and validation."""
SHEET = 8
"""Columns of a contact sheet."""
PROBE_SECONDS = 4.0
"""For measuring the speed of a phase in a time-boxed run."""


class Trainee(Protocol):
    """What a phase works on."""

    trained: nn.Module
    """The part that learns."""


class PhasedRun:
    """One model on its way; `train` does everything.

    A kind of model says what its phases are, what each trains and how its result is written.
    """

    phases: tuple[str, ...]
    target: str
    """Name of the finished weights file."""
    content: Pictures

    def __init__(
        self,
        recipe: RunRecipe,
        out: Path,
        device: str,
        seconds: float | None,
        on_event: Callable[[dict[str, Any]], None] | None,
    ) -> None:
        from accelerate import Accelerator

        self.recipe = recipe
        self.out = out
        self.device = Accelerator(cpu=device == "cpu").device
        self.log = Logbook(out, on_event)
        self.end = time.monotonic() + seconds if seconds else math.inf
        self.steps_done: dict[str, int] = {}
        data = recipe.data
        self.content, self.held_out = self._load(data.photos)
        self.probes = self.content.center_crops(data.crop, PROBES)
        self.validation = self.held_out.center_crops(data.crop, PROBES)
        self.identity = identity_of(recipe.to_dict()) | {"pictures": [self.content.fingerprint]}

    def begin(self, phase: str) -> Trainee:
        """Build what a phase trains, from the files of the phases before it."""
        raise NotImplementedError

    def task(self, trainee: Any, options: PhaseOptions) -> nn.Module:
        """Return the module that turns a batch into losses, on the device."""
        raise NotImplementedError

    def batch(self, phase: str, count: int, step: int) -> dict[str, Tensor]:
        """Return the arguments of the task, a pure function of phase and step."""
        generator = step_generator(self.recipe.seed, phase, step)
        return {"content": self.content.random_crops(count, self.recipe.data.crop, generator)}

    def validate(self, phase: str, task: Any, trainee: Any, step: int, steps: int) -> None:
        """Log figures and a contact sheet; may change the weights, the same ones at the same step."""
        raise NotImplementedError

    def write_part(self, path: Path, phase: str, trainee: Any, card: dict[str, Any]) -> None:
        """Write the result of a phase."""
        raise NotImplementedError

    def write_model(self, target: Path) -> None:
        """Evaluate and write the finished model."""
        raise NotImplementedError

    def teacher_card(self) -> dict[str, Any]:
        """Return what judged, for the card."""
        raise NotImplementedError

    def card(self, metrics: dict[str, Any]) -> dict[str, Any]:
        """Return what the model was trained with, and its figures: the card, JSON data."""
        return {
            "name": self.recipe.name,
            "recipe": self.recipe.to_dict() | {"data": None, "teacher": None},
            "teacher": self.teacher_card(),
            "data": self.data_card(),
            "steps": self.steps_done,
            "seed": self.recipe.seed,
            "metrics": metrics,
        }

    def data_card(self) -> dict[str, Any]:
        """Return what is known about the pictures, for the card."""
        data = self.recipe.data
        return {
            "name": data.name,
            "pictures": {"training": len(self.content), "validation": len(self.held_out)},
            "fingerprint": self.identity["pictures"],
            "prepared": f"shorter side {data.short_side} px, random crops of {data.crop} px, flipped",
        }

    def train(self) -> Path:
        """Run the phases that have no result yet, and write the model."""
        target = self.out / self.target
        with backend_settings(self.device):
            for phase in self.phases:
                self._phase(phase)
        self.write_model(target)
        return target

    def result(self, phase: str) -> Path:
        """Return the file of a phase."""
        return self.out / f"{phase}.safetensors"

    def autocast(self) -> torch.autocast:
        """Return the precision of the forward pass."""
        # Accelerate's own has one precision for the whole process; the pairs of a bundle may differ.
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16")

    def _load(self, source: str) -> tuple[Pictures, Pictures]:
        data = self.recipe.data
        training, validation = load_pictures(source, short_side=data.short_side, smallest=data.crop)
        return training.to(self.device), validation.to(self.device)

    def _phase(self, phase: str) -> None:
        path, options = self.result(phase), self.recipe.phase(phase)
        if path.exists():
            self.steps_done[phase] = read_card(path)["steps"]
            return
        trainee = self.begin(phase)
        progress = Progress(steps=options.steps)
        if options.steps:
            progress = self._fit(phase, options, trainee)
        self.steps_done[phase] = progress.step
        self.write_part(path, phase, trainee, self.card({}) | {"phase": phase, "steps": progress.step})
        self._checkpoints(phase).clear()

    def _fit(self, phase: str, options: PhaseOptions, trainee: Trainee) -> Progress:
        task = self.task(trainee, options)
        kind = PruningStepper if isinstance(trainee.trained, PrunedCoder) else Stepper
        stepper = kind(task, trainee.trained, options, self.autocast)
        checkpoints = self._checkpoints(phase)
        progress = checkpoints.restore(trainee.trained, stepper.optimizer)
        begin = time.monotonic()
        if progress is None:
            progress = Progress(steps=self._planned_steps(phase, options, stepper))
            stepper = kind(task, trainee.trained, options, self.autocast)
        self.log.rewind(phase, progress.step)
        self.log.write(event="phase", phase=phase, step=progress.step, steps=progress.steps, device=str(self.device))
        steps = progress.steps
        return fit(
            stepper,
            lambda step: self.batch(phase, options.batch, step),
            progress=progress,
            checkpoints=checkpoints,
            rhythm=Rhythm(
                log=self.recipe.log_every,
                validate=self.recipe.validate_every,
                checkpoint=self.recipe.checkpoint_every,
            ),
            on_log=lambda row: self.log.write(phase=phase, **row),
            on_validate=lambda step: self.validate(phase, task, trainee, step, steps),
            on_skip=lambda step: self._keep_batch(phase, options.batch, step),
            deadline=min(self.end, begin + 1.3 * self._budget(phase)),
        )

    def _budget(self, phase: str) -> float:
        """Return the seconds of a phase: its share of what is left."""
        ahead = (self.recipe.phase(name) for name in self.phases[self.phases.index(phase) :])
        shares = [options.share for options in ahead if options.steps]
        return (self.end - time.monotonic()) * shares[0] / sum(shares)

    def _planned_steps(self, phase: str, options: PhaseOptions, stepper: Stepper) -> int:
        if math.isinf(self.end):
            return options.steps
        budget = self._budget(phase)
        speed = measure_speed(stepper, lambda step: self.batch(phase, options.batch, step), PROBE_SECONDS)
        return max(1, int(speed * (0.92 * budget - PROBE_SECONDS)))

    def _keep_batch(self, phase: str, count: int, step: int) -> None:
        batch = self.batch(phase, count, step)
        self.log.write(event="skipped", phase=phase, step=step)
        self.log.sheet(f"skipped-{phase}-{step:06}", list(batch.values()))

    def _checkpoints(self, phase: str) -> Checkpoints:
        folder = self.out / "checkpoints"
        folder.mkdir(exist_ok=True)
        return Checkpoints(folder, phase, self.identity)


def identity_of(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return what must stay the same in a resumed run: all but the places of files, whose contents are checked."""
    recipe = json.loads(json.dumps(recipe))
    for table, name in (("data", "photos"), ("data", "paintings"), ("teacher", "root")):
        recipe[table].pop(name)
    return recipe


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
