import math

import pytest
import torch
from torch import Tensor

from styleplugin.errors import NumericalError
from styleplugin.methods.optimization.descent import MAX_FAILURES, Descent
from styleplugin.methods.optimization.objective import Losses

CURVATURES = torch.linspace(1, 50, 192).reshape(1, 3, 8, 8)


def bowl(picture: Tensor) -> tuple[Losses, Tensor]:
    loss = float((CURVATURES * (picture - 0.3).square()).mean())
    return Losses(loss, 0, 0, loss), 2 * CURVATURES * (picture - 0.3) / picture.numel()


def start() -> Tensor:
    return torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def descent(evaluate=bowl, **changes) -> Descent:
    return Descent(evaluate, start(), **{"steps": 40, "optimizer": "lbfgs", "step_size": 1.0} | changes)


@pytest.mark.parametrize(("optimizer", "share"), [("lbfgs", 1e-8), ("adam", 0.1)])
def test_a_bowl_is_descended(optimizer, share):
    run = descent(optimizer=optimizer)
    first = run.step().total
    while not run.is_done:
        run.step()
    assert run.step_number == 40 and run.best_losses.total < share * first


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("cut", [0, 1, 2, 17])
def test_a_resumed_run_ends_with_the_same_bits(optimizer, cut):
    whole = descent(optimizer=optimizer)
    while not whole.is_done:
        whole.step()
    first = descent(optimizer=optimizer)
    for _ in range(cut):
        first.step()
    tensors, data = first.state()
    second = descent(optimizer=optimizer)
    second.restore({name: value.clone() for name, value in tensors.items()}, data)
    while not second.is_done:
        second.step()
    assert torch.equal(second.picture, whole.picture) and torch.equal(second.best, whole.best)
    assert second.best_losses == whole.best_losses


def test_N09_divergence_steps_back_to_the_best_and_halves_the_step():
    calls = 0

    def jumpy(picture: Tensor) -> tuple[Losses, Tensor]:
        nonlocal calls
        calls += 1
        losses, gradient = bowl(picture)
        return (Losses(0, 0, 0, 1e6), gradient) if calls == 5 else (losses, gradient)

    run = descent(jumpy)
    for _ in range(5):
        run.step()
    assert run.failures == 1 and run.step_size == 0.5
    assert torch.equal(run.picture, run.best)
    while not run.is_done:
        run.step()
    assert run.best_losses.total < 1e-3


@pytest.mark.parametrize(("growth", "failures"), [(9.0, 0), (11.0, 1)])
def test_N09_a_loss_that_grows_tenfold_counts_as_divergence(growth, failures):
    first = bowl(start())[0].total
    losses = iter([first, growth * first])
    run = descent(lambda picture: (Losses(0, 0, 0, next(losses)), bowl(picture)[1]))
    run.step()
    run.step()
    assert run.failures == failures
    assert torch.equal(run.picture, start()) == bool(failures)


def test_N09_a_gradient_that_is_not_finite_counts_as_divergence():
    calls = 0

    def broken(picture: Tensor) -> tuple[Losses, Tensor]:
        nonlocal calls
        calls += 1
        losses, gradient = bowl(picture)
        return losses, gradient if calls < 3 else gradient * math.inf

    run = descent(broken)
    while not run.is_done:
        run.step()
    assert run.step_number == 2 + MAX_FAILURES + 1
    assert run.picture.isfinite().all() and run.best_losses == bowl(run.best)[0]


def test_N09_a_run_that_keeps_going_astray_stops_with_a_warning_and_the_best_picture():
    notes, calls = [], 0

    def broken(picture: Tensor) -> tuple[Losses, Tensor]:
        nonlocal calls
        calls += 1
        losses, gradient = bowl(picture)
        return (Losses(0, 0, 0, math.nan), gradient) if calls > 3 else (losses, gradient)

    run = descent(broken, note=notes.append)
    while not run.is_done:
        run.step()
    assert run.failures == MAX_FAILURES + 1 and len(notes) == 1 and "diverged" in notes[0]
    assert math.isfinite(run.best_losses.total) and run.best.isfinite().all()


def test_N09_a_start_that_is_not_finite_is_an_error():
    run = descent(lambda picture: (Losses(0, 0, 0, math.nan), torch.zeros_like(picture)))
    with pytest.raises(NumericalError, match="not finite"):
        run.step()


def test_the_average_of_the_last_pictures_is_taken_if_it_is_better():
    def noisy(picture: Tensor) -> tuple[Losses, Tensor]:
        losses, gradient = bowl(picture)
        generator = torch.Generator().manual_seed(int(1e6 * float(picture.sum())) % 10007)
        return losses, gradient + 0.5 * torch.randn(gradient.shape, generator=generator) * gradient.abs().mean()

    run = descent(noisy, optimizer="adam", step_size=3.0, steps=100)
    while not run.is_done:
        run.step()
    before = run.best_losses.total
    run.finish()
    assert run.best_losses.total <= before
