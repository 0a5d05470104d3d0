import os
import signal
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from styleplugin.errors import Cancelled, NumericalError
from styleplugin.train.loop.fit import Intervals, Stepper, fit, learning_rate, measure_speed
from styleplugin.train.loop.state import Checkpoints, Progress
from styleplugin.train.recipe.options import PhaseOptions

OPTIONS = PhaseOptions(steps=8, batch=2, lr=0.2, warmup=2)


class LineTask(nn.Module):
    """Fit y = 2 x; a batch may be poisoned."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(1, 1)
        nn.init.zeros_(self.line.weight)
        nn.init.zeros_(self.line.bias)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        loss = (self.line(x) - 2 * x).square().mean()
        return {"loss": loss, "line": loss.detach()}


def batches(bad: tuple[int, ...] = ()):
    def batch(step: int) -> dict[str, Tensor]:
        x = torch.randn(4, 1, generator=torch.Generator().manual_seed(step))
        return {"x": x * float("nan") if step in bad else x}

    return batch


class Trace:
    """Everything a run reports."""

    def __init__(self, folder: Path) -> None:
        self.task = LineTask()
        self.stepper = Stepper(self.task, self.task.line, OPTIONS, nullcontext)
        self.checkpoints = Checkpoints(folder, "line", {})
        self.rows: list[dict] = []
        self.validated: list[int] = []
        self.skipped: list[int] = []

    def fit(self, steps: int, bad: tuple[int, ...] = (), **changes) -> Progress:
        progress = self.checkpoints.restore(self.task.line, self.stepper.optimizer) or Progress(steps=steps)
        return fit(
            self.stepper,
            changes.pop("batches", batches(bad)),
            progress=progress,
            checkpoints=self.checkpoints,
            intervals=Intervals(log=5, validate=10, checkpoint=10),
            on_log=self.rows.append,
            on_validate=self.validated.append,
            on_skip=self.skipped.append,
            **changes,
        )


def test_the_loss_goes_down_and_is_logged(tmp_path: Path):
    trace = Trace(tmp_path)
    assert trace.fit(40).step == 40
    assert [row["step"] for row in trace.rows] == [5, 10, 15, 20, 25, 30, 35, 40]
    losses = [row["loss"] for row in trace.rows]
    assert losses[-1] < losses[0] / 1.5
    assert trace.validated == [10, 20, 30, 40]
    assert {"step", "loss", "line", "lr", "images_per_s"} == set(trace.rows[0])


def test_the_learning_rate_warms_up_and_ends_near_2_percent():
    rates = [learning_rate(OPTIONS, step, 100) for step in range(100)]
    assert rates[:2] == pytest.approx([0.1, 0.2])
    assert max(rates) == pytest.approx(0.2)
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[-1] == pytest.approx(0.02 * 0.2, rel=0.05)


def test_R06_a_bad_batch_is_skipped_and_reported(tmp_path: Path):
    trace = Trace(tmp_path)
    progress = trace.fit(20, bad=(3, 7))
    assert progress.skipped == (3, 7)
    assert trace.skipped == [3, 7]
    assert all(torch.isfinite(p).all() for p in trace.task.parameters())
    # The losses in the log are those of the good steps.
    assert all(row["loss"] >= 0 for row in trace.rows)


def test_R06_a_skipped_step_leaves_weights_and_moments_alone():
    task = LineTask()
    stepper = Stepper(task, task.line, OPTIONS, nullcontext)
    stepper.step(batches()(0), 0.1)
    weight = task.line.weight
    before = [value.detach().clone() for value in (weight, *stepper.optimizer.state[weight].values())]
    assert stepper.step(batches((1,))(1), 0.1)["skipped"].item() == 1
    after = [weight, *stepper.optimizer.state[weight].values()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_R06_the_fourth_bad_batch_stops_with_the_last_good_weights(tmp_path: Path):
    trace = Trace(tmp_path)
    with pytest.raises(NumericalError, match=r"\[1, 2, 3, 4\]"):
        trace.fit(20, bad=(1, 2, 3, 4))
    other = Trace(tmp_path)
    assert other.checkpoints.restore(other.task.line, other.stepper.optimizer) is not None
    assert all(torch.isfinite(p).all() for p in other.task.parameters())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_R01_a_signal_leads_to_a_checkpoint_and_the_same_end(tmp_path: Path, number: int):
    whole = Trace(tmp_path / "whole")
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    whole.fit(20)

    def interrupted(step: int) -> dict[str, Tensor]:
        if step == 7:
            os.kill(os.getpid(), number)
        return batches()(step)

    handler = signal.getsignal(number)
    with pytest.raises(Cancelled, match="step 8") as caught:
        Trace(tmp_path / "cut").fit(20, batches=interrupted)
    assert caught.value.exit_code == 130
    assert signal.getsignal(number) is handler
    resumed = Trace(tmp_path / "cut")
    assert resumed.fit(20).step == 20
    assert resumed.rows[0]["step"] == 10
    assert torch.equal(resumed.task.line.weight, whole.task.line.weight)


def test_a_deadline_ends_a_phase_early(tmp_path: Path):
    assert Trace(tmp_path).fit(1000, deadline=0.0).step == 1


def test_measuring_the_speed_leaves_the_weights_alone():
    task = LineTask()
    with torch.no_grad():
        task.line.weight.fill_(0.3)
    assert measure_speed(Stepper(task, task.line, OPTIONS, nullcontext), batches(), 0.01) > 0
    assert task.line.weight.item() == pytest.approx(0.3)
