import warnings
from pathlib import Path

import pytest
import torch
from fakes.forgery import Forgery, forge, holding, lacking, saying, without
from torch import nn

from styleplugin.errors import CheckpointError, OutputError, StylePluginWarning, UsageError
from styleplugin.train.loop import state
from styleplugin.train.loop.lock import locked
from styleplugin.train.loop.state import Checkpoints, Progress, check_identity

IDENTITY = {"recipe": {"level": 2, "data": {"crop": 32}}, "pictures": ["abc"]}


def make(seed: int = 0) -> tuple[nn.Module, torch.optim.Adam]:
    module = nn.Linear(3, 2)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(seed))
    return module, torch.optim.Adam(module.parameters(), lr=0.1, fused=True)


def train(module: nn.Module, optimizer: torch.optim.Adam, steps: int) -> None:
    for step in range(steps):
        optimizer.zero_grad()
        module(torch.full((1, 3), 1.0 + step)).square().sum().backward()
        optimizer.step()


def store(folder: Path, identity: dict = IDENTITY) -> Checkpoints:
    return Checkpoints(folder, "phase", identity)


def test_R04_training_goes_on_bit_for_bit(tmp_path: Path):
    module, optimizer = make()
    train(module, optimizer, 3)
    store(tmp_path).save(Progress(step=3, steps=9, skipped=(1,)), module, optimizer)
    other, other_optimizer = make(1)
    assert store(tmp_path).restore(other, other_optimizer) == Progress(step=3, steps=9, skipped=(1,))
    for pair in ((module, optimizer), (other, other_optimizer)):
        train(*pair, 4)
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), other.parameters(), strict=True))


def test_there_is_nothing_to_restore_in_an_empty_folder(tmp_path: Path):
    assert store(tmp_path).restore(*make()) is None


def test_two_checkpoints_are_kept(tmp_path: Path):
    for step in (1, 2, 10):
        store(tmp_path).save(Progress(step=step, steps=20), *make())
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "phase-00000002.safetensors",
        "phase-00000010.safetensors",
    ]


def test_another_phase_is_not_touched(tmp_path: Path):
    Checkpoints(tmp_path, "other-phase", IDENTITY).save(Progress(step=1, steps=2), *make())
    assert store(tmp_path).restore(*make()) is None
    store(tmp_path).clear()
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_R03_a_cut_checkpoint_is_passed_over(tmp_path: Path, share: float):
    for step in (1, 2):
        store(tmp_path).save(Progress(step=step, steps=9), *make())
    newest = tmp_path / "phase-00000002.safetensors"
    newest.write_bytes(newest.read_bytes()[: int(share * newest.stat().st_size)])
    with pytest.warns(StylePluginWarning, match="passed over"):
        progress = store(tmp_path).restore(*make())
    assert progress == Progress(step=1, steps=9)


def test_R03_only_damaged_checkpoints_are_an_error(tmp_path: Path):
    (tmp_path / "phase-00000001.safetensors").write_bytes(b"nothing")
    with pytest.warns(StylePluginWarning), pytest.raises(CheckpointError, match="All checkpoints"):
        store(tmp_path).restore(*make())


FORGERIES = {
    "no step": without("step"),
    "no identity": without("identity"),
    "a step in words": saying("step", "two"),
    "true for a step": saying("step", True),
    "more steps than planned": saying("step", 10),
    "a negative step": saying("step", -1),
    "no list": saying("skipped", 5),
    "a nested list": saying("skipped", [[1]]),
    "an identity that is a list": saying("identity", [1]),
    "a missing tensor": lacking("weights.bias"),
    "another shape": holding("weights.weight", 3, 2),
    "a surplus tensor": holding("more", 1),
    "half of an optimizer": lacking("exp_avg_sq.weight"),
    "an optimizer of another shape": holding("exp_avg.weight", 1),
}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
def test_R03_a_forged_checkpoint_is_passed_over_and_changes_nothing(tmp_path: Path, forgery: Forgery):
    module, optimizer = make()
    train(module, optimizer, 2)
    for step in (1, 2):
        store(tmp_path).save(Progress(step=step, steps=9), module, optimizer)
    forge(tmp_path / "phase-00000002.safetensors", forgery)
    other, other_optimizer = make(1)
    with pytest.warns(StylePluginWarning, match="passed over"):
        progress = store(tmp_path).restore(other, other_optimizer)
    assert progress == Progress(step=1, steps=9)
    forge(tmp_path / "phase-00000001.safetensors", forgery)
    other, other_optimizer = make(1)
    with pytest.warns(StylePluginWarning), pytest.raises(CheckpointError, match="All checkpoints") as caught:
        store(tmp_path).restore(other, other_optimizer)
    assert caught.value.code == "SP803"
    assert all(torch.equal(a, b) for a, b in zip(other.parameters(), make(1)[0].parameters(), strict=True))
    assert not other_optimizer.state


def test_R03_another_recipe_or_data_set_is_refused_with_its_keys(tmp_path: Path):
    store(tmp_path).save(Progress(step=1, steps=9), *make())
    changed = {"recipe": {"level": 2, "data": {"crop": 64}}, "pictures": ["xyz"]}
    with pytest.raises(CheckpointError, match=r"pictures, recipe\.data\.crop"):
        store(tmp_path, changed).restore(*make())


def test_R03_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store(tmp_path).save(Progress(step=1, steps=9), *make())
    monkeypatch.setattr(state, "VERSION", 99)
    with pytest.raises(CheckpointError, match="99 is needed"):
        store(tmp_path).restore(*make())


def test_equal_identities_pass():
    check_identity(IDENTITY, {"pictures": ["abc"], "recipe": {"data": {"crop": 32}, "level": 2}})


def test_R05_a_full_disk_is_a_warning_twice_and_then_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise OutputError("SP604", "no space left")

    checkpoints = store(tmp_path)
    checkpoints.save(Progress(step=1, steps=9), *make())
    with monkeypatch.context() as context:
        context.setattr(state, "write_weights", refuse)
        for step in (2, 3):
            with pytest.warns(StylePluginWarning, match="no space"):
                checkpoints.save(Progress(step=step, steps=9), *make())
        with pytest.raises(CheckpointError, match="3 checkpoints"):
            checkpoints.save(Progress(step=4, steps=9), *make())
    assert store(tmp_path).restore(*make()) == Progress(step=1, steps=9)


def test_R09_a_second_run_is_refused_with_the_owner_and_a_released_lock_is_taken(tmp_path: Path):
    import os

    with locked(tmp_path), pytest.raises(UsageError, match=f"Process {os.getpid()} "), locked(tmp_path):
        pass
    with warnings.catch_warnings(), locked(tmp_path):
        pass
