"""How a picture is brought down an objective: an optimizer, a guard against divergence, averaged iterates, a state."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from styleplugin.errors import NumericalError
from styleplugin.images.box import AT_ONCE
from styleplugin.methods.optimization.objective import Losses
from styleplugin.networks.model import check_shapes
from styleplugin.options import Optimizer
from styleplugin.tensorfile import parsing_metadata

HISTORY: dict[Optimizer, tuple[int, int]] = {"lbfgs": (2, 10), "adam": (2, 2)}
"""What an optimizer remembers at least and at most, each as large as a picture: steps with the changes of the gradient
in half precision, or means."""
MAX_FAILURES = 3
"""So often a diverging run is set back to its best picture, with half the step."""
_GROWTH = 10.0
"""A loss that many times the best one counts as divergence."""
_AVERAGED = 0.2
"""Share of the steps, the last ones, whose pictures are averaged."""
_LBFGS_FIRST, _LBFGS_LARGEST = 0.01, 0.05
"""Root mean squares of the first step and of the largest, in pixel values of [0, 1]."""
_ADAM_STEP = 0.02
_ADAM_DECAY = (0.9, 0.99)
_ADAM_LAST = 0.05
"""Adam's steps fall to this share, along a cosine."""

Evaluate = Callable[[Tensor], tuple[Losses, Tensor]]


class LBFGS:
    """L-BFGS (Liu and Nocedal 1989) without line search: one gradient per step, steps limited in size instead.

    What it remembers is kept in bfloat16: half the memory, and the curvature along the rounded steps is as true.

    Args:
        history: Steps to remember, with the change of the gradient in each.
    """

    def __init__(self, history: int) -> None:
        self._history = history
        self._steps: list[Tensor] = []
        self._changes: list[Tensor] = []
        self._last: tuple[Tensor, Tensor] | None = None
        """The step before, and the gradient at its start."""

    def step(self, gradient: Tensor, size: float) -> Tensor:
        """Return what to add to a picture with this gradient; steps are limited to `size` times the usual limit."""
        if self._last is not None:
            step, before = self._last
            step, change = step.bfloat16(), (gradient - before).bfloat16()
            # Only directions in which the loss curves upwards say something about the curvature.
            if float(_dot(step, change)) > 0:
                self._steps.append(step)
                self._changes.append(change)
                del self._steps[: -self._history], self._changes[: -self._history]
        step = self._direction(gradient)
        if not self._steps or float(_dot(step, gradient)) >= 0:
            self._steps, self._changes = [], []
            step = gradient * -(_LBFGS_FIRST / float(_rms(gradient).clamp_min(1e-30)))
        step *= size * min(1.0, _LBFGS_LARGEST / float(_rms(step).clamp_min(1e-30)))
        self._last = (step, gradient)
        return step

    def _direction(self, gradient: Tensor) -> Tensor:
        """Return minus the inverse Hessian times the gradient, by the two loops of Nocedal 1980."""
        direction = -gradient
        if not self._steps:
            return direction
        factors = []
        pairs = list(zip(self._steps, self._changes, strict=True))
        products = [_dot(step, change) for step, change in pairs]
        for (step, change), product in zip(reversed(pairs), reversed(products), strict=True):
            factors.append(float(_dot(step, direction) / product))
            direction.add_(change, alpha=-factors[-1])
        direction *= products[-1] / _dot(pairs[-1][1], pairs[-1][1])
        for (step, change), product, factor in zip(pairs, products, reversed(factors), strict=True):
            direction.add_(step, alpha=factor - float(_dot(change, direction) / product))
        return direction

    def state(self) -> dict[str, Tensor]:
        """Return all it remembers."""
        tensors = {f"step.{i}": step for i, step in enumerate(self._steps)}
        tensors |= {f"change.{i}": change for i, change in enumerate(self._changes)}
        return tensors if self._last is None else tensors | {"last.0": self._last[0], "last.1": self._last[1]}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take up a `state`."""
        self._steps, self._changes, last = (
            [tensors[f"{name}.{i}"] for i in range(sum(key.startswith(f"{name}.") for key in tensors))]
            for name in ("step", "change", "last")
        )
        self._last = (last[0], last[1]) if last else None


class Adam:
    """Adam (Kingma and Ba 2015).

    Not `torch.optim.Adam`: its first step loads torch's compiler, a second and 70 MB for what are four lines.
    """

    def __init__(self) -> None:
        self._mean = self._square = torch.empty(0, dtype=torch.float32, device="cpu")
        self._count = 0

    def step(self, gradient: Tensor, size: float) -> Tensor:
        """Return what to add to a picture with this gradient."""
        if not self._count:
            self._mean, self._square = torch.zeros_like(gradient), torch.zeros_like(gradient)
        self._count += 1
        (a, b), k = _ADAM_DECAY, self._count
        self._mean.lerp_(gradient, 1 - a)
        self._square.mul_(b).addcmul_(gradient, gradient, value=1 - b)
        root = (self._square / (1 - b**k)).sqrt_().add_(1e-30)
        return self._mean / root * (-_ADAM_STEP * size / (1 - a**k))

    def state(self) -> dict[str, Tensor]:
        """Return all it remembers."""
        return {
            "mean": self._mean,
            "square": self._square,
            "count": torch.tensor(float(self._count), dtype=torch.float32, device="cpu"),
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take up a `state`."""
        self._mean, self._square, self._count = tensors["mean"], tensors["square"], int(tensors["count"])


class Descent:
    """The optimization of one picture at one size; one evaluation of loss and gradient per step.

    Args:
        evaluate: Returns losses and gradient of a picture.
        start: (1, 3, H, W); copied.
        steps: Planned steps; the schedule depends on it.
        optimizer: lbfgs, or adam, whose steps shrink along a cosine.
        step_size: Factor for the steps.
        history: Steps that L-BFGS remembers.
        note: Takes a warning.
    """

    def __init__(
        self,
        evaluate: Evaluate,
        start: Tensor,
        *,
        steps: int,
        optimizer: Optimizer,
        step_size: float,
        history: int = HISTORY["lbfgs"][1],
        note: Callable[[str], None] = lambda message: None,
    ) -> None:
        self._evaluate, self._kind, self._history, self._note = evaluate, optimizer, history, note
        self.steps = steps
        self.picture = start.clone(memory_format=torch.contiguous_format)
        self.best, self.best_losses = start.clone(memory_format=torch.contiguous_format), None
        """The picture with the smallest loss so far, and its losses; None before the first step."""
        self.step_number = 0
        self.step_size = step_size
        self.failures = 0
        self._sum, self._count = torch.zeros((), dtype=torch.float32, device="cpu"), 0
        self._optimizer = self._new_optimizer()

    @property
    def is_done(self) -> bool:
        """Whether there is nothing left to do: all steps are done, or the run went astray too often."""
        return self.step_number >= self.steps or self.failures > MAX_FAILURES

    def step(self) -> Losses:
        """Evaluate the picture and move it; returns the losses it had.

        Raises:
            NumericalError: SP705, the very first loss is not finite.
        """
        losses, gradient = self._evaluate(self.picture)
        self.step_number += 1
        if not math.isfinite(losses.total) or not bool(gradient.isfinite().all()):
            if self.best_losses is None:
                raise NumericalError(
                    "SP705",
                    "The loss of the starting picture is not finite.",
                    "Use weights of a usual size, and pictures without NaN.",
                )
            self._set_back()
            return losses
        if self.best_losses is None or losses.total < self.best_losses.total:
            self.best.copy_(self.picture)
            self.best_losses = losses
        elif losses.total > _GROWTH * self.best_losses.total:
            self._set_back()
            return losses
        if self.step_number > self.steps * (1 - _AVERAGED):
            self._sum = self._sum + self.picture if self._count else self.picture.clone()
            self._count += 1
        size = self.step_size
        if isinstance(self._optimizer, Adam):
            progress = self.step_number / self.steps
            size *= _ADAM_LAST + (1 - _ADAM_LAST) * (1 + math.cos(math.pi * progress)) / 2
        self.picture += self._optimizer.step(gradient, size)
        return losses

    def finish(self) -> None:
        """Take the average of the last pictures if its loss is smaller than the best one's; one evaluation."""
        if self._count < 2 or self.best_losses is None:
            return
        average = self._sum / self._count
        losses, _ = self._evaluate(average)
        if losses.total < self.best_losses.total:
            self.best, self.best_losses = average, losses

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return all that is needed to go on exactly: tensors, and JSON data."""
        tensors = {"picture": self.picture, "best": self.best, "sum": self._sum}
        tensors |= {f"optimizer.{name}": value for name, value in self._optimizer.state().items()}
        best = None if self.best_losses is None else vars(self.best_losses)
        return tensors, {
            "step": self.step_number,
            "steps": self.steps,
            "step_size": self.step_size,
            "failures": self.failures,
            "averaged": self._count,
            "best": best,
        }

    def restore(self, tensors: dict[str, Tensor], data: dict[str, Any]) -> None:
        """Go on from a `state`; one from a file goes through `check_state` first."""
        for target, name in ((self.picture, "picture"), (self.best, "best")):
            target.copy_(tensors[name])
        self._sum = tensors["sum"].to(self.picture.device)
        self.step_number, self.steps = data["step"], data["steps"]
        self.step_size, self.failures, self._count = data["step_size"], data["failures"], data["averaged"]
        self.best_losses = None if data["best"] is None else Losses(**data["best"])
        self._optimizer = self._new_optimizer()
        own = {name.removeprefix("optimizer."): value for name, value in tensors.items() if "optimizer." in name}
        self._optimizer.restore({name: value.to(self.picture.device) for name, value in own.items()})

    def _set_back(self) -> None:
        """Return to the best picture with half the step."""
        self.failures += 1
        self.step_size /= 2
        self.picture.copy_(self.best)
        self._optimizer = self._new_optimizer()
        if self.failures > MAX_FAILURES:
            self._note(
                f"diverged: the loss grew or was not finite {self.failures} times; stopped after {self.step_number} "
                "steps with the best picture."
            )

    def _new_optimizer(self) -> LBFGS | Adam:
        return Adam() if self._kind == "adam" else LBFGS(self._history)


def check_state(tensors: dict[str, Tensor], data: Any, *, shape: tuple[int, ...], steps: int, where: str) -> None:
    """Check what `Descent.restore` will take, before it takes anything.

    Args:
        tensors: Of the state.
        data: Its JSON data, of whatever type.
        shape: Of the picture, (1, 3, H, W).
        steps: The planned steps.
        where: Name of the file.

    Raises:
        WeightsError: SP307, the data are incomplete or of wrong types; SP310, tensors are missing, surplus or of the
            wrong shape.
    """
    with parsing_metadata(where):
        counts = [data["step"], data["steps"], data["failures"], data["averaged"]]
        if not all(type(count) is int and count >= 0 for count in counts) or not counts[0] <= counts[1] == steps:
            raise ValueError("its numbers of steps are none of this run")
        if not 0 < float(data["step_size"]) < math.inf:
            raise ValueError("its step size is none")
        losses = {} if data["best"] is None else vars(Losses(**data["best"]))
        if not all(type(loss) in (int, float) for loss in losses.values()):
            raise TypeError("its losses are no numbers")
    like, number = (torch.empty(size, dtype=torch.float32, device="meta") for size in (shape, ()))
    own = [name.removeprefix("optimizer.") for name in tensors if name.startswith("optimizer.")]
    needed = {"picture": like, "best": like, "sum": like if data["averaged"] else number}
    if "count" in own:
        moved = like if tensors["optimizer.count"].count_nonzero() else like.new_empty(0)
        needed |= {"optimizer.mean": moved, "optimizer.square": moved, "optimizer.count": number}
    else:
        pairs = sum(name.startswith("step.") for name in own)
        needed |= {f"optimizer.{name}.{i}": like for name in ("step", "change") for i in range(pairs)}
        needed |= {f"optimizer.last.{i}": like for i in (0, 1) if any(name.startswith("last.") for name in own)}
    check_shapes(needed, tensors, where)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the inner product, in float32 at least, block by block."""
    parts = zip(a.flatten().split(AT_ONCE), b.flatten().split(AT_ONCE), strict=True)
    wide = torch.promote_types(a.dtype, torch.promote_types(b.dtype, torch.float32))
    return torch.stack([torch.dot(x.to(wide), y.to(wide)) for x, y in parts]).sum()


def _rms(a: Tensor) -> Tensor:
    return torch.linalg.vector_norm(a) / math.sqrt(a.numel())
