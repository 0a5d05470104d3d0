from typing import Any

import pytest
import torch
from fakes.networks import drawn
from fakes.training import stop_at

from styleplugin.errors import Cancelled, UsageError, WeightsError
from styleplugin.loading.build import load_model
from styleplugin.methods.kbstyle.model import KBModel, KBSpec
from styleplugin.methods.kbstyle.train import DISTILLED, WEIGHTS, KBRecipe, KBTask, KBTrainable
from styleplugin.tensorfile import read_weights
from styleplugin.train import read_recipe, run
from styleplugin.train.recipe.options import PhaseOptions, TeacherOptions

PHASES = ("teacher_network", "student_network", "fine_tune")
SPEC = KBSpec(widths=(3, 4, 5), blocks=1)
PHASE = PhaseOptions(steps=4, batch=4, warmup=2, lr=0.003, encoder=1, decoder=1, code=1, output=1)


@pytest.fixture(scope="module")
def make_kb_recipe(data_options, vgg_file):
    def make(**changes: object) -> KBRecipe:
        settings: dict[str, Any] = {
            "name": "tiny-kb",
            "widths": SPEC.widths,
            "blocks": SPEC.blocks,
            "teacher_widths": (6, 8, 10),
            "precision": "fp32",
            "log_every": 2,
            "validate_every": 2,
            "checkpoint_every": 2,
            "data": data_options,
            "teacher": TeacherOptions(source=f"file:{vgg_file}"),
            **dict.fromkeys(PHASES, PHASE),
            "license": "MIT",
        }
        return KBRecipe(**(settings | changes))

    return make


class PictureJudge(torch.nn.Module):
    """Four levels of features that are the picture itself."""

    def features(self, image):
        return [image] * 4

    def forward(self, image):
        return image


def test_a_run_makes_a_student_of_the_recipe_with_its_card(make_kb_recipe, tmp_path):
    rows = []
    path = run(make_kb_recipe(), tmp_path / "run", device="cpu", on_event=rows.append)
    model, info = load_model(read_weights(path))
    assert isinstance(model, KBModel)
    assert model.spec == SPEC
    half, _ = load_model(read_weights(path.with_stem("student-fp16")))
    for name, value in model.state_dict().items():
        assert torch.equal(half.state_dict()[name], value.half().float())
    card = read_weights(path).metadata["card"]
    assert card["steps"] == dict.fromkeys(PHASES, 4)
    assert card["data"]["pictures"] == {"training": 12, "validation": 4, "styles": 12}
    assert set(info.metrics) == {"psnr", "style", "ssim"}
    assert {"encoder", "decoder", "code", "output"} <= set(next(r for r in reversed(rows) if "loss" in r))
    assert list((tmp_path / "run" / "sheets").iterdir())


def test_R01_R02_a_stopped_run_ends_with_the_weights_of_an_uninterrupted_one(make_kb_recipe, tmp_path):
    recipe = make_kb_recipe()
    whole = read_weights(run(recipe, tmp_path / "whole", device="cpu")).sha256

    with pytest.raises(Cancelled):
        run(recipe, tmp_path / "parts", device="cpu", on_event=stop_at("student_network", 2))
    assert read_weights(run(recipe, tmp_path / "parts", device="cpu", resume=True)).sha256 == whole


def test_a_student_without_distillation_needs_no_teacher(make_kb_recipe, tmp_path):
    alone = PhaseOptions(steps=2, batch=4, warmup=1)
    rows = []
    recipe = make_kb_recipe(student_network=alone, fine_tune=alone, teacher_network=PhaseOptions(steps=0))
    run(recipe, tmp_path, device="cpu", on_event=rows.append)
    assert not any("encoder" in row for row in rows)
    assert {row["phase"] for row in rows if row.get("event") == "phase"} == {"student_network", "fine_tune"}


def test_a_student_with_distillation_needs_a_teacher_that_was_trained(make_kb_recipe):
    with pytest.raises(UsageError, match="teacher_network"):
        make_kb_recipe(teacher_network=PhaseOptions(steps=0))


def test_a_student_equal_to_its_teacher_has_nothing_to_learn_from_it():
    torch.manual_seed(0)
    teacher = drawn(lambda: KBModel(SPEC))
    student = KBModel(SPEC)
    student.load_state_dict(teacher.state_dict())
    trainable = KBTrainable(student, teacher)
    for embedding in trainable.embeddings:
        torch.nn.init.dirac_(embedding.weight)
    task = KBTask(PictureJudge(), trainable, dict.fromkeys(WEIGHTS, 1.0), [1.0] * 4)
    content, style = torch.rand(4, 3, 32, 32), torch.rand(4, 3, 32, 32)
    parts = task(content, style)
    assert all(float(parts[name].detach()) < 1e-10 for name in DISTILLED)
    parts["loss"].backward()
    assert all(p.grad is None for p in teacher.parameters())
    torch.nn.init.normal_(student.decoder.shallow[2].weight)
    moved = task(content, style)
    assert float(moved["output"].detach()) > 0.01
    assert float(moved["encoder"].detach()) < 1e-10


def test_the_recipe_in_the_repository_is_of_the_published_size():
    recipe = read_recipe("recipes/kbstyle.toml")
    assert isinstance(recipe, KBRecipe)
    sizes = [sum(p.numel() for p in KBModel(spec).parameters()) for spec in (recipe.spec, recipe.teacher_spec)]
    assert sizes[0] == 43_723
    assert 13 < sizes[1] / sizes[0] < 15


def test_impossible_recipes_are_refused(make_kb_recipe):
    with pytest.raises(WeightsError):
        make_kb_recipe(widths=(1, 2))
    with pytest.raises(UsageError, match="style levels"):
        make_kb_recipe(style_levels=(0.0, 0.0, 0.0, 0.0))
