"""A teacher, pictures and a recipe so small that a whole training takes seconds."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from styleplugin.errors import Cancelled
from styleplugin.networks.vgg import convs_of_level
from styleplugin.train import run
from styleplugin.train.pairs.recipe import PHASES, Recipe
from styleplugin.train.recipe.options import DataOptions, PhaseOptions, TeacherOptions


def make_vgg(level: int, width: int = 8, *, seed: int = 0) -> dict[str, torch.Tensor]:
    """Draw a teacher in the layout of VGG-19, on its scale."""
    generator = torch.Generator().manual_seed(seed)
    tensors, channels = {}, 3
    for conv in convs_of_level(level):
        gain = 1 / 64 if conv == "1_1" else 1
        weight = torch.randn(width, channels, 3, 3, generator=generator) * gain * (2 / (9 * channels)) ** 0.5
        tensors |= {f"conv{conv}.weight": weight, f"conv{conv}.bias": torch.full((width,), 0.5)}
        channels = width
    return tensors


def picture(seed: int, height: int = 40, width: int = 48) -> bytes:
    """Draw a smooth colored pattern as a PNG file."""
    phase = np.random.default_rng(seed).uniform(0, 6, (3, 3))
    y, x = np.mgrid[0:height, 0:width] / 8
    waves = [np.sin(a + x * b / 3) * np.cos(c + y) for a, b, c in phase]
    buffer = io.BytesIO()
    Image.fromarray(np.uint8(127 + 120 * np.stack(waves, 2))).save(buffer, "PNG")
    return buffer.getvalue()


def stop_at(phase: str, step: int) -> Callable[[dict], None]:
    """Ask the process to stop when a line of the log is reached."""

    def on_event(row: dict) -> None:
        if (row.get("phase"), row.get("step")) == (phase, step) and "loss" in row:
            os.kill(os.getpid(), signal.SIGTERM)

    return on_event


def killed_while_measured(recipe: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a run as it is while the run's first phase is measured."""
    killed, out = folder / "killed", folder / "measured"

    def kill(*_: object) -> None:
        shutil.copytree(out, killed)
        raise Cancelled("Killed.")

    with monkeypatch.context() as context, pytest.raises(Cancelled):
        context.setattr("styleplugin.train.runs.phase_loop.measure_speed", kill)
        run(recipe, out, device="cpu", on_plan=lambda plan: None)
    return killed


@pytest.fixture(scope="session")
def vgg_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher up to conv4_1."""
    path = tmp_path_factory.mktemp("teacher") / "vgg.safetensors"
    save_file(make_vgg(4), path)
    return path


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 training and 4 validation pictures, each as photos and as paintings."""
    root = tmp_path_factory.mktemp("data")
    for kind, first in (("photos", 0), ("paintings", 10_000)):
        (root / kind).mkdir()
        left = {True: 4, False: 12}
        for seed in range(first, first + 10_000):
            data = picture(seed)
            held_out = hashlib.sha256(data).hexdigest().startswith("0")
            if left[held_out]:
                left[held_out] -= 1
                (root / kind / f"{seed}.png").write_bytes(data)
            if not any(left.values()):
                break
    return root


@pytest.fixture(scope="session")
def data_options(data_folder: Path) -> DataOptions:
    """Crops of these pictures."""
    photos, paintings = (str(data_folder / kind) for kind in ("photos", "paintings"))
    return DataOptions(name="patterns", photos=photos, paintings=paintings, short_side=40, crop=32)


@pytest.fixture(scope="session")
def make_recipe(data_options: DataOptions, vgg_file: Path) -> Callable[..., Recipe]:
    """Return a function that builds recipes of a few steps, with changes by name."""

    def make(*, level: int = 2, **changes: object) -> Recipe:
        settings: dict[str, Any] = {
            "name": f"tiny{level}",
            "level": level,
            "widths": (4,) * len(convs_of_level(level)),
            "precision": "fp32",
            "log_every": 2,
            "validate_every": 100,
            "checkpoint_every": 2,
            "data": data_options,
            "teacher": TeacherOptions(source=f"file:{vgg_file}"),
            **dict.fromkeys(PHASES, PhaseOptions(steps=6, batch=2, warmup=2)),
            "license": "MIT",
        }
        return Recipe(**(settings | changes))

    return make


@pytest.fixture
def recipe(make_recipe: Callable[..., Recipe]) -> Recipe:
    """A level-2 WCT recipe."""
    return make_recipe()
