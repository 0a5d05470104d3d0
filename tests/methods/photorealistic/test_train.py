import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes.networks import drawn
from fakes.training import killed_while_measured, stop_at
from safetensors.torch import save_file
from torch.testing import assert_close

from styleplugin.errors import Cancelled, UsageError
from styleplugin.loading.build import load_model
from styleplugin.methods.photorealistic.model import PhotoModel, PhotoSpec
from styleplugin.methods.photorealistic.train.run import (
    PHOTO_PHASES,
    PhotoRecipe,
    PhotoTask,
    PhotoTrainable,
    principal_components,
)
from styleplugin.methods.photorealistic.train.start import start_block
from styleplugin.networks.mobilenet import MobileNet
from styleplugin.tensorfile import read_weights
from styleplugin.train import run
from styleplugin.train.networks.eigenbasis import global_eigenbasis
from styleplugin.train.recipe.options import PhaseOptions, TeacherOptions


@pytest.fixture(scope="module")
def mobilenet_file(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("teacher") / "mobilenet.safetensors"
    teacher = MobileNet()
    for weight in teacher.parameters():
        if weight.dim() == 4:
            torch.nn.init.kaiming_normal_(weight)
    save_file(teacher.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def make_photo_recipe(data_options, vgg_file, mobilenet_file):
    def make(backbone: str = "vgg", **changes: object) -> PhotoRecipe:
        teacher = TeacherOptions(source=f"file:{vgg_file}")
        if backbone == "mobilenet":
            name, digest = mobilenet_file.name, hashlib.sha256(mobilenet_file.read_bytes()).hexdigest()
            teacher = TeacherOptions(root=str(mobilenet_file.parent), mobilenet=name, mobilenet_sha256=digest)
        settings: dict[str, Any] = {
            "name": f"tiny-{backbone}",
            "backbone": backbone,
            "widths": (3, 4, 5, 6),
            "precision": "fp32",
            "log_every": 2,
            "validate_every": 100,
            "checkpoint_every": 2,
            "data": data_options,
            "teacher": teacher,
            **dict.fromkeys(PHOTO_PHASES, PhaseOptions(steps=4, batch=2, warmup=2, lr=0.003)),
            "license": "MIT",
        }
        return PhotoRecipe(**(settings | changes))

    return make


@pytest.mark.slow
def test_R02_a_kill_while_a_run_is_measured_leaves_no_bases_of_another_recipe(make_photo_recipe, tmp_path, monkeypatch):
    recipe = make_photo_recipe()
    killed = killed_while_measured(recipe, tmp_path, monkeypatch)
    assert not list(killed.glob("*.safetensors")) and (killed / ".dry-run-0" / "eigenbases.safetensors").exists()
    rows: list[dict[str, Any]] = []
    changed = make_photo_recipe(energy=(0.5,) * 4)
    weights = read_weights(run(changed, killed, device="cpu", on_plan=lambda plan: None, on_event=rows.append))
    (kept,) = (row for row in rows if row.get("event") == "eigenbases")
    assert weights.metadata["card"]["metrics"]["variance_kept"] == [round(kept[f"kept{k}"], 4) for k in range(1, 5)]


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["vgg", "mobilenet"])
def test_a_run_trains_block_after_block_and_writes_a_student(make_photo_recipe, tmp_path, backbone):
    path = run(make_photo_recipe(backbone), tmp_path, device="cpu")
    model, info = load_model(read_weights(path))
    assert isinstance(model, PhotoModel)
    assert info.method == "photorealistic"
    assert len(info.metrics["variance_kept"]) == 4
    assert all(0 < share <= 1 for share in info.metrics["variance_kept"])
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["phase"] for row in rows if row.get("event") == "phase"] == list(PHOTO_PHASES)
    assert read_weights(path).metadata["card"]["steps"] == dict.fromkeys(PHOTO_PHASES, 4)


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_weights(make_photo_recipe, tmp_path):
    whole = run(make_photo_recipe(), tmp_path / "whole", device="cpu")

    with pytest.raises(Cancelled):
        run(make_photo_recipe(), tmp_path / "parts", device="cpu", on_event=stop_at("block3", 2))
    again = run(make_photo_recipe(), tmp_path / "parts", resume=True, device="cpu")
    assert again.read_bytes() == whole.read_bytes()


def test_energy_must_be_four_positive_numbers(make_photo_recipe):
    with pytest.raises(UsageError, match="energy"):
        make_photo_recipe(energy=(1.0, 2.0, 3.0))


def test_the_eigenbasis_keeps_most_variance_and_has_the_energy_asked_for():
    torch.manual_seed(0)
    root = torch.randn(6, 6, dtype=torch.float64)
    covariance = root @ root.T
    basis = global_eigenbasis([covariance, covariance], 3, energy=10.0)
    values = torch.linalg.eigvalsh(covariance)
    assert basis.variance_kept == pytest.approx(float(values[-3:].sum() / values.sum()))
    coordinates = basis.vectors.double().T @ covariance @ basis.vectors.double()
    assert float(coordinates.trace()) == pytest.approx(10.0, rel=1e-5)
    assert_close(coordinates - coordinates.diagonal().diag(), torch.zeros(3, 3, dtype=torch.float64), atol=1e-5, rtol=0)
    assert bool((coordinates.diagonal().diff() <= 0).all())


class FeaturesOf(torch.nn.Module):
    """A teacher whose features are linear in the picture, so that a student can learn them whole."""

    def features(self, image):
        features = [image]
        while len(features) < 5:
            features.append(torch.nn.functional.avg_pool2d(image, 2 ** max(0, len(features) - 1)))
        return features[1:]


def test_starting_values_already_explain_a_linear_teacher():
    torch.manual_seed(0)
    images = torch.nn.functional.interpolate(torch.rand(4, 3, 8, 8), size=(32, 32), mode="bicubic").clamp(0, 1)
    teacher, basis = FeaturesOf(), torch.eye(3)
    model = PhotoModel(PhotoSpec(backbone="vgg", widths=(3, 3, 3, 3))).requires_grad_(False)
    components = principal_components(teacher.features(images)[0], basis)
    start_block(model, 0, images, components, torch.Generator().manual_seed(0))
    task = PhotoTask(PhotoTrainable(model, [0]), teacher, [basis] * 4, {"distill": 1.0, "pixel": 1.0})
    losses = task(images)
    assert losses["distill"] < 0.02
    assert losses["pixel"] < 1e-3


def test_only_the_blocks_in_training_get_gradients():
    model = drawn(lambda: PhotoModel(PhotoSpec(backbone="mobilenet", widths=(3, 3, 3, 3))))
    trainable = PhotoTrainable(model, [1])
    weights = {"distill": 1.0, "pixel": 1.0, "feature": 1.0, "perceptual": 0.0}
    teacher = FeaturesOf()
    teacher.features = lambda image: [torch.nn.functional.avg_pool2d(image, 2 << k) for k in range(4)]
    PhotoTask(trainable, teacher, [torch.eye(3)] * 4, weights)(torch.rand(2, 3, 32, 32))["loss"].backward()
    with_gradient = {name.split(".")[2] for name, p in model.named_parameters() if p.grad is not None}
    assert with_gradient == {"1"}
