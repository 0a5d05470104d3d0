"""One phase at work: it is begun, trained with log, validations and checkpoints, and leaves its result."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from styleplugin.errors import WeightsError
from styleplugin.loading.build import save_model
from styleplugin.train.evaluation.gate import verdict
from styleplugin.train.evaluation.page import write_page
from styleplugin.train.loop.fit import Intervals, Stepper, fit, measure_speed
from styleplugin.train.loop.logbook import Row
from styleplugin.train.loop.state import Checkpoints, Progress, read_card
from styleplugin.train.recipe.plan import PhasePlan
from styleplugin.train.runs.phase import Phase

if TYPE_CHECKING:
    from styleplugin.train.runs.training import Training

PROBE_SECONDS = 2.0
"""For measuring the speed of a phase."""
TIME_OVERRUN = 1.3
"""Share of its planned time after which a phase of a time-boxed run ends with the steps done so far."""
BEST = "best.safetensors"
"""The best student so far, in the run's folder until the finished one is there."""
LATEST = "latest.safetensors"
"""The student as it was when the run was last stopped, in the form of the finished file; until that is there."""


class PhaseLoop:
    """A phase without a result, begun.

    Args:
        training: The run at work.
        phase: One of its phases.
    """

    def __init__(self, training: Training, phase: Phase) -> None:
        self.training, self.phase, self.options = training, phase, phase.options
        self.recipe, self.setting, self.log = training.recipe, training.setting, training.log
        self.trainable = phase.begin()
        # What was solved or chosen may differ in the last bits, and then in a channel.
        self.setting.workers.copy_from_first(self.trainable.trained)
        folder = training.out / "checkpoints"
        folder.mkdir(exist_ok=True)
        self.checkpoints = Checkpoints(folder, phase.seed_name, training.identity)
        self.steps, self.best = self.options.steps, math.inf

    @cached_property
    def stepper(self) -> Stepper:
        """Task and optimizer."""
        task = self.training.prepared(self.phase.task(self.trainable))
        workers = self.setting.workers
        return self.phase.stepper(task, self.trainable.trained, self.options, self.training.autocast, workers)

    def batches(self, step: int) -> dict[str, Tensor]:
        """Return this process's share of a batch; a pure function of the step."""
        return self.setting.workers.share(self.phase.batch(self.options.batch, step))

    def measure(self) -> PhasePlan | None:
        """Measure some steps and a checkpoint, and leave what the phase begins with as its result."""
        plan = None
        if self.options.steps:
            speed = measure_speed(self.stepper, self.batches, PROBE_SECONDS, self.setting.check_stop)
            plan = PhasePlan(
                run=self.recipe.name, phase=self.phase.name, steps=self.options.steps, seconds_per_step=1 / speed
            )
            self._save(Progress(steps=self.options.steps))
        self.phase.write(self.phase.result, self.trainable, {})
        return plan

    def train(self) -> int:
        """Train, write the result, and return the steps that were done."""
        steps = self._fit().step if self.options.steps else 0
        if self.setting.workers.is_main:
            card = self.training.card({}) | {"phase": self.phase.name, "steps": steps}
            self.phase.write(self.phase.result, self.trainable, card)
            self.checkpoints.clear()
        self.setting.workers.wait()
        return steps

    def _fit(self) -> Progress:
        setting, phase = self.setting, self.phase.name
        progress = self.checkpoints.restore(self.trainable.trained, self.stepper.optimizer, self.stepper.average)
        if progress is None:
            progress = Progress(steps=setting.workers.broadcast(self._planned_steps()))
            if setting.workers.is_main and progress.steps != self.options.steps:
                # A resumed run must have the same steps, however fast the machine is then.
                self._save(progress)
        self.steps = progress.steps
        self.log.rewind(phase, progress.step)
        device = str(self.training.device)
        self.log.write(event="phase", phase=phase, step=progress.step, steps=self.steps, device=device)
        self._read_best()
        allowed = TIME_OVERRUN * (setting.seconds_left - setting.plan.after(self.recipe.name, phase))
        return fit(
            self.stepper,
            self.batches,
            progress=progress,
            checkpoints=self.checkpoints,
            intervals=Intervals(
                log=self.recipe.log_every,
                validate=self.recipe.validate_every,
                checkpoint=self.recipe.checkpoint_every,
            ),
            on_log=self._log_losses,
            on_validate=self._validate,
            on_skip=self._keep_batch,
            on_stop=self._keep_latest,
            should_stop=setting.should_stop,
            deadline=time.monotonic() + allowed if setting.plan.phases else setting.end,
        )

    def _planned_steps(self) -> int:
        """Return the recipe's steps, or those that the time budget leaves."""
        if math.isinf(self.setting.end):
            return self.options.steps
        plan, left = self.setting.plan, self.setting.seconds_left
        return plan.steps_within(self.recipe.name, self.phase.name, left) or self.options.steps

    def _save(self, progress: Progress) -> None:
        self.checkpoints.save(progress, self.trainable.trained, self.stepper.optimizer, self.stepper.average)

    def _log_losses(self, row: Row) -> None:
        name, phase = self.recipe.name, self.phase.name
        speed = row["images_per_s"] / self.options.batch
        left = (self.steps - row["step"]) / speed + self.setting.plan.after(name, phase)
        self.log.write(run=name, phase=phase, steps=self.steps, **row, seconds_left=round(left, 1))

    def _validate(self, step: int) -> None:
        """Log figures and a contact sheet, keep the best student, and reinitialize dead channels."""
        phase, stepper, workers = self.phase, self.stepper, self.setting.workers
        with stepper.as_result():
            row, rows = phase.validate(stepper.task, self.trainable)
            with torch.no_grad(), self.training.autocast():
                loss = float(stepper.task(**phase.held_out_batch())["loss"])
            row = {"validation": round(loss, 5)} | row
            if workers.is_main:
                self._keep_best(step, row)
        reinitialized = phase.reinitialize(self.trainable, step, self.steps)
        workers.copy_from_first(self.trainable.trained)
        self.log.write(phase=phase.name, step=step, **row, **reinitialized)
        self.log.sheet(f"{phase.name}-{step:06}", rows)
        self.log.plot()
        if workers.is_main:
            write_page(self.training.out)

    def _keep_best(self, step: int, row: Row) -> None:
        if not row["validation"] < self.best or (student := self.phase.student(self.trainable)) is None:
            return
        self.best = row["validation"]
        card = self._card(step, row) | {"gate": verdict(self.recipe, row)}
        save_model(self.training.out / BEST, student, license=self.recipe.license, card=card)

    def _keep_latest(self, step: int) -> None:
        if not self.setting.workers.is_main:
            return
        with self.stepper.as_result():
            student = self.phase.student(self.trainable)
        if student is not None:
            self.training.write_student(self.training.out / LATEST, student, self._card(step, {}))

    def _card(self, step: int, row: Row) -> dict[str, Any]:
        """Return the card of a student on its way."""
        steps = self.training.steps_done | {self.phase.name: step}
        return self.training.card(row) | {"phase": self.phase.name, "steps": steps}

    def _read_best(self) -> None:
        """Go on with the best student of this phase; an earlier phase had other losses."""
        with suppress(WeightsError):
            card = read_card(self.training.out / BEST)
            self.best = card["metrics"]["validation"] if card["phase"] == self.phase.name else math.inf

    def _keep_batch(self, step: int) -> None:
        phase, batch = self.phase.name, self.phase.batch(self.options.batch, step)
        self.log.write(event="skipped", phase=phase, step=step)
        self.log.sheet(f"skipped-{phase}-{step:06}", [value for value in batch.values() if value.dim() == 4])
