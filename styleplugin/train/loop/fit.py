"""The training loop: batches in, a trained module out. It knows nothing of what is distilled.

A step never waits for the device: a loss that is not finite is found and skipped on the device itself, and numbers
are read only when a line of the log is due.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from styleplugin.errors import Cancelled, NumericalError
from styleplugin.train.loop.average import Average
from styleplugin.train.loop.distributed import Workers
from styleplugin.train.loop.muon import Muon
from styleplugin.train.loop.state import Checkpoints, Progress
from styleplugin.train.pruning.pruned import PrunedAutoencoder
from styleplugin.train.recipe.options import PhaseOptions

MAX_SKIPPED = 3
FINAL_LR = 0.02

Batches = Callable[[int], dict[str, Tensor]]
"""From a step to the arguments of the task."""


@dataclass(frozen=True, kw_only=True)
class Intervals:
    """Steps between log lines, validations and checkpoints."""

    log: int
    validate: int
    checkpoint: int


class Stepper:
    """Task, trained module and optimizer of one phase.

    Args:
        task: Returns {"loss": ..., parts} for a batch.
        trained: The part of it that learns.
        options: Learning rate and gradient limit.
        autocast: Makes the context of the forward pass.
        workers: The processes that share the batches; alone by default.
    """

    def __init__(
        self,
        task: nn.Module,
        trained: nn.Module,
        options: PhaseOptions,
        autocast: Callable[[], AbstractContextManager[Any]],
        workers: Workers | None = None,
    ) -> None:
        self.task = task
        self.trained = trained
        self.options = options
        self.autocast = autocast
        self.workers = workers or Workers()
        self.parameters = list(trained.parameters())
        self.optimizer = Muon(self.parameters, lr=options.lr)
        self.average = Average(trained, options.average) if options.average else None

    def begin(self, steps: int) -> None:
        """Hear how many steps the phase has, before the first one."""

    def as_result(self) -> AbstractContextManager[None]:
        """Give the module for the block the weights that would be its result now."""
        return self.average.in_place() if self.average else nullcontext()

    def gradients(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Run forward and backward pass; return the losses."""
        with self.autocast():
            losses = self.task(**batch)
        losses["loss"].backward()
        return losses

    def step(self, batch: dict[str, Tensor], lr: float) -> dict[str, Tensor]:
        """Train on one batch; return the losses and whether the step was skipped, as scalars on the device."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        losses = self.gradients(batch)
        self.workers.average_gradients(self.parameters)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.options.clip)
        skipped = ~norm.isfinite()
        self.optimizer.step(skipped)
        self.optimizer.zero_grad(set_to_none=True)
        return {name: value.detach() for name, value in losses.items()} | {"skipped": skipped.float()}


class PruningStepper(Stepper):
    """A stepper whose networks lose channels on the way."""

    trained: PrunedAutoencoder

    def begin(self, steps: int) -> None:
        """Pace the rule."""
        self.trained.pruner.pace(steps, self.options.amplitude, self.options.every)

    def gradients(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Run forward and backward pass under the rule."""
        with self.trained.pruner.at_work():
            return super().gradients(batch)

    def step(self, batch: dict[str, Tensor], lr: float) -> dict[str, Tensor]:
        """Train on one batch and prune."""
        losses = super().step(batch, lr)
        self.trained.pruner.after()
        return losses


def learning_rate(options: PhaseOptions, step: int, steps: int) -> float:
    """Return the rate of a step: linear warm-up, then a cosine from `lr` to 2% of it; `lr` with averaged weights."""
    warmup = min(options.warmup, max(1, steps // 10))
    if step < warmup:
        return options.lr * (step + 1) / warmup
    if options.average:
        return options.lr
    progress = (step - warmup) / max(1, steps - warmup)
    return options.lr * (FINAL_LR + (1 - FINAL_LR) * 0.5 * (1 + math.cos(math.pi * progress)))


def fit(
    stepper: Stepper,
    batches: Batches,
    *,
    progress: Progress,
    checkpoints: Checkpoints,
    intervals: Intervals,
    on_log: Callable[[dict[str, Any]], None],
    on_validate: Callable[[int], None],
    on_skip: Callable[[int], None],
    on_stop: Callable[[int], None] = lambda step: None,
    should_stop: Callable[[], bool] = lambda: False,
    deadline: float = math.inf,
) -> Progress:
    """Train until the planned steps are done.

    Args:
        stepper: The phase, with weights and optimizer as `progress` says.
        batches: A pure function of the step.
        progress: Where to begin.
        checkpoints: Written in between and when the run is stopped.
        intervals: How often.
        on_log: Gets step, mean losses since the last line, learning rate and images per second.
        on_validate: Gets the number of steps done; may change the weights, if the same step does so again the same.
        on_skip: Gets a step whose loss was not finite, to save its batch.
        on_stop: Gets the number of steps done when the run is stopped, behind its checkpoint.
        should_stop: Asked after every step.
        deadline: `time.monotonic()` after which the phase ends with the steps done so far.

    Returns:
        The final progress.

    Raises:
        Cancelled: After SIGINT or SIGTERM, or when `should_stop` says so; with a checkpoint written.
        NumericalError: SP710, more than 3 steps had a loss that was not finite; the weights are the last good ones.
    """
    window, workers = _Window(stepper), stepper.workers
    last = stop = False

    def save() -> None:
        if workers.is_main:
            checkpoints.save(progress, stepper.trained, stepper.optimizer, stepper.average)

    stepper.begin(progress.steps)
    with stop_requests() as stopped:
        while progress.step < progress.steps and not (last or stop):
            window.add(batches(progress.step), learning_rate(stepper.options, progress.step, progress.steps))
            progress = replace(progress, step=progress.step + 1)
            if stepper.average:
                stepper.average.follow(progress.step)
            last = workers.any_process(time.monotonic() > deadline) or progress.step == progress.steps
            stop = workers.any_process(stopped.is_set() or should_stop())
            if last or stop or progress.step % intervals.log == 0:
                row, skipped = window.close(progress.step)
                on_log(row)
                progress = replace(progress, skipped=progress.skipped + skipped)
                for step in skipped:
                    on_skip(step)
            if last or progress.step % intervals.validate == 0:
                on_validate(progress.step)
            if len(progress.skipped) > MAX_SKIPPED:
                save()
                raise NumericalError(
                    "SP710",
                    f"The loss was not finite in the steps {list(progress.skipped)}; their batches are saved.",
                    "Lower the learning rate, or look at these pictures.",
                )
            if progress.step % intervals.checkpoint == 0 and not (last or stop):
                save()
        # A signal may also have come during the last validation.
        if stop or workers.any_process(stopped.is_set()):
            save()
            on_stop(progress.step)
            raise Cancelled(f"Stopped at step {progress.step} with a checkpoint; continue with `resume=True`.")
    if stepper.average:
        stepper.average.replace()
    return progress


class _Window:
    """The steps since the last line of the log."""

    def __init__(self, stepper: Stepper) -> None:
        self.stepper = stepper
        self.losses: list[dict[str, Tensor]] = []
        self.lr, self.begin = 0.0, time.monotonic()

    def add(self, batch: dict[str, Tensor], lr: float) -> None:
        """Train on a batch."""
        self.losses.append(self.stepper.step(batch, lr))
        self.lr = lr

    def close(self, end: int) -> tuple[dict[str, Any], tuple[int, ...]]:
        """Return the line of the log for the steps before `end`, and those that were skipped; here it is waited."""
        means, skipped = _summarize(self.losses, end, self.stepper.workers)
        speed = len(self.losses) * self.stepper.options.batch / (time.monotonic() - self.begin)
        self.losses, self.begin = [], time.monotonic()
        return {"step": end, **means, "lr": self.lr, "images_per_s": round(speed, 1)}, skipped


def measure_speed(
    stepper: Stepper, batches: Batches, seconds: float, check_stop: Callable[[], None] = lambda: None
) -> float:
    """Return the steps per second of a phase; at a learning rate of 0 its weights stay as they are.

    Args:
        stepper: To try; use a new one afterwards, since its optimizer has moved.
        batches: A pure function of the step.
        seconds: To measure, after a few steps to warm up.
        check_stop: Called after every step; its exception ends the measurement.
    """
    stepper.begin(1000)
    for step in range(2):
        stepper.step(batches(step), 0.0)["loss"].item()
        check_stop()
    count, begin = 0, time.monotonic()
    while not stepper.workers.any_process(count > 0 and time.monotonic() - begin > seconds):
        stepper.step(batches(count), 0.0)["loss"].item()
        check_stop()
        count += 1
    return count / (time.monotonic() - begin)


def _summarize(window: list[dict[str, Tensor]], end: int, workers: Workers) -> tuple[dict[str, float], tuple[int, ...]]:
    """Return the mean losses of all processes in the good steps before `end`, and the bad steps; here it is waited."""
    names = list(window[0])
    table = workers.average(torch.stack([torch.stack([losses[name].float() for name in names]) for losses in window]))
    bad = table[:, names.index("skipped")] > 0
    means = table[~bad].mean(0) if not bad.all() else table.mean(0)
    skipped = tuple(end - len(window) + int(index) for index in bad.nonzero().flatten())
    return {name: means[i].item() for i, name in enumerate(names) if name != "skipped"}, skipped


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """Turn SIGINT and SIGTERM into an event for the block; other threads than the main one get a silent event."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: stopped.set()) for number in numbers}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
