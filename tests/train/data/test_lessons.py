"""Students that learn from the pictures of a painter."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from styleplugin.errors import StylePluginWarning
from styleplugin.loading.build import save_model
from styleplugin.methods.kbstyle.model import KBModel
from styleplugin.methods.kbstyle.train import KBRecipe
from styleplugin.train import run
from styleplugin.train.data.lessons import CHUNK, Lessons
from styleplugin.train.data.pictures import load_set, step_generator
from styleplugin.train.networks.teachers import build_loss_network
from styleplugin.train.recipe.options import DataOptions, PhaseOptions, TeacherOptions
from styleplugin.train.runs.painter import load_painter
from styleplugin.transforms.losses import parted, statistics_of

pytestmark = pytest.mark.filterwarnings(f"ignore::{StylePluginWarning.__module__}.StylePluginWarning")


@pytest.fixture
def painter(kb_model: KBModel, tmp_path: Path) -> str:
    save_model(tmp_path / "painter.safetensors", kb_model, license="MIT")
    return f"file:{tmp_path / 'painter.safetensors'}"


@pytest.fixture
def recipe(data_options: DataOptions, painter: str, vgg_file: Path) -> KBRecipe:
    learns = PhaseOptions(steps=4, batch=2, warmup=1, content=0.0, taught=1.0, picture=1.0)
    return KBRecipe(
        name="pupil", widths=(3, 4, 5), blocks=1, student_network=learns, precision="fp32", log_every=1,
        data=data_options,
        teacher=TeacherOptions(source=f"file:{vgg_file}", painter=painter), lessons=2 * CHUNK, license="MIT",
    )  # fmt: skip


def make_lessons(recipe: KBRecipe, folder: Path) -> Lessons:
    contents, styles = (load_set(recipe.data, styles=styles)[0] for styles in (False, True))
    loss_network = build_loss_network(recipe.teacher, 2, contents.center_crops(recipe.data.crop, 4))
    painter = load_painter(recipe.teacher.painter, torch.device("cpu"))
    return Lessons(recipe, painter, loss_network, contents, styles, folder)


def test_a_lesson_is_what_the_painter_makes_of_its_pair(recipe: KBRecipe, kb_model: KBModel, tmp_path: Path):
    batch = make_lessons(recipe, tmp_path).batch(4, 0, step_generator(0, "x", 0))
    painted = kb_model(batch["content"], batch["style"]).clamp(0, 1)
    # Crops are kept in 8 bits, and some contents are flipped with their pictures after they were painted.
    flipped = kb_model(batch["content"].flip(3), batch["style"]).clamp(0, 1).flip(3)
    errors = [(batch["picture"] - other).abs().amax((1, 2, 3)) for other in (painted, flipped)]
    assert float(torch.stack(errors).amin(0).max()) < 0.03


def test_lessons_bring_the_statistics_of_their_styles(recipe: KBRecipe, tmp_path: Path):
    lessons = make_lessons(recipe, tmp_path)
    batch = lessons.batch(4, 0, step_generator(0, "x", 0))
    # Styles are kept in 8 bits.
    features = lessons.loss_network.features(batch["style"])
    found, wanted = parted(batch["statistics"], features), statistics_of(features)
    torch.testing.assert_close(found, wanted, atol=0.1, rtol=0.02)


def test_lessons_are_a_pure_function_of_the_step_and_kept(recipe: KBRecipe, tmp_path: Path):
    first = make_lessons(recipe, tmp_path)
    wanted = first.batch(3, 0, step_generator(0, "x", 5))
    (file,) = tmp_path.glob("lessons-*/*.safetensors")
    kept = file.read_bytes()
    again = make_lessons(recipe, tmp_path)
    again.painter = replace(again.painter, paint=lambda content, style: pytest.fail("the picture is there"))
    found = again.batch(3, 0, step_generator(0, "x", 5))
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert file.read_bytes() == kept


def test_new_lessons_come_with_the_steps_up_to_their_number(recipe: KBRecipe, tmp_path: Path):
    lessons = make_lessons(recipe, tmp_path)
    for step in (0, 10_000):
        for seed in range(6):
            lessons.batch(8, step, step_generator(seed, "x", step))
        assert len(list(tmp_path.glob("lessons-*/*.safetensors"))) == (1 if step == 0 else 2)


def test_another_painter_has_lessons_of_its_own(recipe: KBRecipe, kb_model: KBModel, tmp_path: Path):
    other = KBModel(kb_model.spec)
    save_model(tmp_path / "other.safetensors", other, license="MIT")
    teacher = replace(recipe.teacher, painter=f"file:{tmp_path / 'other.safetensors'}")
    folders = {make_lessons(r, tmp_path).folder for r in (recipe, replace(recipe, teacher=teacher))}
    assert len(folders) == 2


@pytest.mark.slow
def test_a_student_learns_from_them_and_leaves_what_it_is_when_it_is_stopped(recipe: KBRecipe, tmp_path: Path):
    from styleplugin.errors import Cancelled
    from styleplugin.loading.build import load_model
    from styleplugin.tensorfile import read_weights
    from styleplugin.train.runs.phase_loop import LATEST

    averaged = replace(recipe, student_network=replace(recipe.student_network, steps=50, average=0.5))
    rows: list[dict] = []
    with pytest.raises(Cancelled):
        run(averaged, tmp_path / "out", device="cpu", on_event=rows.append,
            should_stop=lambda: sum("taught" in row for row in rows) >= 3)  # fmt: skip
    weights = read_weights(tmp_path / "out" / LATEST)
    model, _ = load_model(weights)
    assert weights.metadata["card"]["steps"] == {"student_network": 4}
    assert model(torch.rand(1, 3, 32, 32, dtype=torch.float32, device="cpu")).isfinite().all()
    card_of_painter = weights.metadata["card"]["teacher"]
    assert list(card_of_painter["painter"]) == ["painter"]
