"""A training as its user meets it: plan, budget, the best student so far, gate, report, several processes."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fakes.training import killed_while_measured, stop_at

import styleplugin
from styleplugin.errors import Cancelled, OutputError, ResourceError, UsageError, WeightsError
from styleplugin.loading.build import load_model, save_model
from styleplugin.loading.encoders import load_encoder
from styleplugin.methods.optimization.train.encoder import EncoderRecipe
from styleplugin.methods.wct.train.bundle import BundleRecipe
from styleplugin.tensorfile import read_weights
from styleplugin.train import BEST, Plan, read_log, run
from styleplugin.train.recipe.options import DataOptions, GateOptions, PhaseOptions, TeacherOptions

from .test_runner import sha256

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("styleplugin.train.runs.phase_loop.PROBE_SECONDS", 0.05)


def test_a_plan_comes_before_the_first_step_and_changes_nothing(make_recipe, tmp_path: Path):
    plans: list[Plan] = []
    rows: list[dict] = []
    recipe = make_recipe()
    planned = run(recipe, tmp_path / "planned", device="cpu", on_event=rows.append, on_plan=lambda p: (
        plans.append(p), rows.append({"planned": True})))  # fmt: skip
    (plan,) = plans
    assert [phase.phase for phase in plan.phases] == list(recipe.phases)
    assert all(phase.steps == 6 and phase.seconds_per_step > 0 for phase in plan.phases)
    assert plan.memory_mb > 0 and plan.disk_mb >= 1
    assert rows[0] == {"planned": True}
    assert sha256(planned) == sha256(run(recipe, tmp_path / "plain", device="cpu"))
    assert not list(tmp_path.glob("*/.dry-run*"))
    left = [row["seconds_left"] for row in rows if "seconds_left" in row]
    assert left == sorted(left, reverse=True) or left[0] > left[-1]


@pytest.mark.parametrize("planned", [True, False])
def test_R02_a_kill_while_a_run_is_measured_leaves_a_folder_for_any_run(planned, make_recipe, tmp_path, monkeypatch):
    killed = killed_while_measured(make_recipe(), tmp_path, monkeypatch)
    assert [path.name for path in killed.iterdir() if path.is_dir()] == [".dry-run-0"]
    recipe = make_recipe(seed=1)
    weights = run(recipe, killed, device="cpu", on_plan=(lambda plan: None) if planned else None)
    assert styleplugin.read_card(weights)["seed"] == 1 and not list(killed.glob(".dry-run*"))


def test_a_budget_covers_all_pairs_of_a_bundle(make_recipe, tmp_path: Path):
    plans: list[Plan] = []
    pairs = tuple(make_recipe(level=level) for level in (1, 2))
    recipe = BundleRecipe(name="both", pairs=pairs, minutes=0.05, license="MIT")
    weights = read_weights(run(recipe, tmp_path, device="cpu", on_plan=plans.append))
    assert len(plans[0].phases) == 8 and plans[0].seconds < 4
    steps = [card["steps"] for card in weights.metadata["card"]["pairs"].values()]
    assert all(count >= 1 for counts in steps for count in counts.values())
    assert weights.metadata["card"]["gate"]["passed"] in (True, False)


def test_pairs_of_a_bundle_grow_from_each_other_by_name(make_recipe, tmp_path: Path):
    pairs = (make_recipe(level=1), make_recipe(level=2, grow_from="tiny1"))
    model, _ = load_model(
        read_weights(run(BundleRecipe(name="both", pairs=pairs, license="MIT"), tmp_path, device="cpu"))
    )
    assert model.levels == (2, 1)


def test_a_time_boxed_run_that_was_killed_keeps_its_steps(make_recipe, tmp_path: Path):
    stopped = stop_at("teacher_decoder", 2)
    with pytest.raises(Cancelled):
        run(make_recipe(level=1), tmp_path, device="cpu", seconds=20, on_event=stopped)
    planned = next(row["steps"] for row in read_log(tmp_path) if row.get("event") == "phase")
    rows: list[dict] = []
    run(make_recipe(level=1), tmp_path, device="cpu", seconds=3, resume=True, on_event=rows.append)
    assert next(row["steps"] for row in rows if row.get("event") == "phase") == planned


def test_the_best_student_so_far_can_be_used_before_the_end(make_recipe, tmp_path: Path):
    recipe = make_recipe(validate_every=2)
    with pytest.raises(Cancelled):
        run(recipe, tmp_path, device="cpu", on_event=stop_at("student_encoder", 6))
    assert not (tmp_path / BEST).exists()
    with pytest.raises(Cancelled):
        run(recipe, tmp_path, resume=True, device="cpu", on_event=stop_at("student_pair", 4))
    best = read_weights(tmp_path / BEST)
    losses = [row["validation"] for row in read_log(tmp_path) if row.get("phase") == "student_pair" and "psnr" in row]
    assert best.metadata["card"]["metrics"]["validation"] == min(losses)
    model, _ = load_model(best)
    assert model(torch.rand(1, 3, 32, 32)).isfinite().all()
    run(recipe, tmp_path, resume=True, device="cpu")
    assert not (tmp_path / BEST).exists()


def test_a_stop_from_outside_is_heard_after_every_step(make_recipe, tmp_path: Path):
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 20

    with pytest.raises(Cancelled):
        run(make_recipe(), tmp_path, device="cpu", should_stop=should_stop, on_plan=lambda plan: None)


def test_the_gate_judges_the_finished_student(make_recipe, tmp_path: Path):
    weak = read_weights(run(make_recipe(gate=GateOptions(psnr=99.0)), tmp_path / "weak", device="cpu"))
    gate = weak.metadata["card"]["gate"]
    assert not gate["passed"] and any("at least 99" in reason for reason in gate["failed"])
    kind = read_weights(run(make_recipe(gate=GateOptions(psnr=0.0, dead=1.0)), tmp_path / "kind", device="cpu"))
    assert kind.metadata["card"]["gate"] == {"passed": True, "failed": [], "limits": {"psnr": 0.0, "dead": 1.0}}
    assert "fails its quality gate" in (tmp_path / "weak" / "report.html").read_text()


def test_the_report_is_one_file_with_everything(make_recipe, tmp_path: Path):
    run(make_recipe(name="<script>x</script>", validate_every=3), tmp_path, device="cpu")
    page = (tmp_path / "report.html").read_text()
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert page.count("data:image/jpeg;base64,") == 4 and page.count("data:image/png;base64,") == 1
    assert "http" not in page.replace("http-equiv", "")
    for words in ("student_pair", "psnr", "quality gate", "&#34;widths&#34;"):
        assert words in page


def test_a_finished_bundle_has_one_report(make_recipe, tmp_path: Path):
    pairs = tuple(make_recipe(level=level) for level in (1, 2))
    run(BundleRecipe(name="both", pairs=pairs, license="MIT"), tmp_path, device="cpu")
    assert (tmp_path / "report.html").read_text().count("<h2>") == 2


def test_an_encoder_for_the_optimization_is_trained_alone(make_recipe, data_options, tmp_path: Path):
    recipe = EncoderRecipe(
        name="eyes",
        level=2,
        widths=(4, 4, 5),
        precision="fp32",
        log_every=2,
        data=data_options,
        teacher=make_recipe().teacher,
        student_encoder=PhaseOptions(steps=8, batch=2, warmup=2),
        license="MIT",
    )
    path = run(recipe, tmp_path, device="cpu")
    _warns()
    loaded = load_encoder(f"file:{path}", allow_unknown=True)
    assert loaded.encoder.spec.widths == (4, 4, 5)
    assert loaded.roots is not None and [tuple(root.shape) for root in loaded.roots] == [(4, 4), (5, 5)]
    card = styleplugin.read_card(path)
    assert 0 <= card["metrics"]["unexplained"] <= 1 and "passed" in card["gate"]
    with pytest.raises(WeightsError, match="not in the list"):
        load_encoder(f"file:{path}")
    image = torch.rand(1, 3, 32, 48)
    result = styleplugin.stylize(
        image, image.flip(3), method="optimization", steps=2, scales=1, start="content", encoder=f"file:{path}",
        allow_unknown_model=True,
    )  # fmt: skip
    assert result.tensor.isfinite().all()


def _warns() -> None:
    """Let our own warnings pass in the rest of a test."""
    warnings.simplefilter("ignore", styleplugin.StylePluginWarning)


def test_any_of_our_encoders_can_teach(make_pair: Callable, make_recipe, tmp_path: Path):
    from styleplugin.networks.pairs import PairModel

    path = tmp_path / "teacher.safetensors"
    save_model(path, PairModel("wct", [make_pair(2)]), license="MIT")
    _warns()
    recipe = make_recipe(teacher=TeacherOptions(source=f"file:{path}"), widths=(3, 3, 3))
    card = styleplugin.read_card(run(recipe, tmp_path / "out", device="cpu"))
    assert list(card["teacher"]["sha256"]) == ["teacher.safetensors"]
    with pytest.raises(WeightsError, match="ends before conv3_1, which level 3 needs"):
        run(make_recipe(level=3, teacher=TeacherOptions(source=f"file:{path}")), tmp_path / "deep", device="cpu")


def test_a_photorealistic_model_teaches_a_smaller_one(make_photo_model, data_options, tmp_path: Path):
    from styleplugin.methods.photorealistic.train.run import PhotoRecipe

    path = tmp_path / "teacher.safetensors"
    save_model(path, make_photo_model("vgg"), license="MIT")
    _warns()
    phase = PhaseOptions(steps=3, batch=2, warmup=1, pixel=100.0, perceptual=0.0)
    phases = dict.fromkeys(("block1", "block2", "block3", "block4", "joint"), phase)
    settings = {"name": "small", "backbone": "vgg", "precision": "fp32", "data": data_options, "license": "MIT"}
    teacher = TeacherOptions(source=f"file:{path}")
    recipe = PhotoRecipe(widths=(3, 3, 4, 4), teacher=teacher, **settings, **phases)
    model, _ = load_model(read_weights(run(recipe, tmp_path / "out", device="cpu")))
    assert tuple(model.spec.widths) == (3, 3, 4, 4)
    wide = replace(recipe, widths=(8, 8, 8, 8))
    with pytest.raises(UsageError, match="has 4 channels"):
        run(wide, tmp_path / "wide", device="cpu")


@pytest.mark.parametrize(
    ("table", "changes", "code"), [("data", {"photos": ""}, "SP130"), ("teacher", {"source": ""}, "SP126")]
)
def test_R07_a_recipe_that_names_no_pictures_or_no_teacher_says_which_option_does(
    table: str, changes: dict, code: str, make_recipe, tmp_path: Path
):
    recipe = make_recipe()
    bare = replace(recipe, **{table: replace(getattr(recipe, table), **changes)})
    with pytest.raises(UsageError, match="names no") as caught:
        run(bare, tmp_path / "out", device="cpu")
    assert caught.value.code == code
    option = {"photos": recipe.data.photos} if table == "data" else {"teacher": recipe.teacher.source}
    assert run(bare, tmp_path / "named", device="cpu", **option).exists()


@pytest.mark.parametrize("kind", ["missing", "empty", "file", "broken tar"])
def test_R07_a_wrong_folder_is_an_error_before_anything_is_trained(kind: str, make_recipe, tmp_path: Path):
    folder = tmp_path / "pictures"
    if kind == "empty":
        folder.mkdir()
    elif kind != "missing":
        folder = folder.with_suffix(".tar" if kind == "broken tar" else ".txt")
        folder.write_bytes(b"nothing")
    with pytest.raises(UsageError, match="pictures") as caught:
        run(make_recipe(), tmp_path / "out", photos=folder, device="cpu")
    assert caught.value.code in ("SP130", "SP131", "SP133")
    assert not list((tmp_path / "out").glob("*.safetensors"))


def test_R05_no_room_on_the_disk_is_noticed_before_the_start(make_recipe, tmp_path: Path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type(usage)(usage.total, usage.used, 0))
    rows: list[dict] = []
    with pytest.raises(ResourceError, match="are free in"):
        run(make_recipe(), tmp_path, device="cpu", on_event=rows.append, on_plan=lambda plan: None)
    assert not any("loss" in row for row in rows)


def test_a_result_that_cannot_be_written_loses_nothing(make_recipe, tmp_path: Path, monkeypatch):
    recipe = make_recipe()
    whole = sha256(run(recipe, tmp_path / "whole", device="cpu"))
    original = styleplugin.train.pairs.parts.write_weights
    monkeypatch.setattr("styleplugin.train.pairs.parts.write_weights", _full_disk)
    with pytest.raises(OutputError):
        run(recipe, tmp_path / "full", device="cpu")
    monkeypatch.setattr("styleplugin.train.pairs.parts.write_weights", original)
    assert list((tmp_path / "full" / "checkpoints").iterdir())
    assert sha256(run(recipe, tmp_path / "full", resume=True, device="cpu")) == whole


def _full_disk(*args: object, **options: object) -> None:
    raise OutputError("SP604", "The file could not be written: No space left on device.", "Free some space.")


def test_a_folder_that_cannot_be_made_is_named(make_recipe, tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot be made") as caught:
        run(make_recipe(), tmp_path / "file" / "out", device="cpu")
    assert caught.value.code == "SP144"


def test_pictures_of_the_user_are_enough(data_options: DataOptions, make_recipe, tmp_path: Path):
    """A folder with subfolders, and a recipe that knows nothing of how they are called."""
    folder = tmp_path / "my pictures" / "deep"
    shutil.copytree(Path(data_options.photos), folder)
    card = styleplugin.read_card(run(make_recipe(), tmp_path / "out", photos=tmp_path / "my pictures", device="cpu"))
    assert card["data"]["pictures"]["training"] == 12 and card["data"]["held out"]
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted(folder.iterdir())[:2]:
        shutil.copy(path, few)
    _warns()
    alone = styleplugin.read_card(run(make_recipe(), tmp_path / "alone", photos=few, device="cpu"))
    assert alone["data"]["held out"] == (alone["data"]["pictures"]["training"] < 2)


def test_the_keep_lists_are_in_the_metadata(make_recipe, tmp_path: Path):
    pruning = PhaseOptions(steps=8, batch=2, warmup=2)
    greedy = styleplugin.read_card(run(make_recipe(), tmp_path / "l1", device="cpu"))
    assert set(greedy["keeps"]) == {"encoder.conv1_1", "encoder.conv1_2", "encoder.conv2_1"}
    slow = run(make_recipe(importance="spp", pruning=pruning), tmp_path / "spp", device="cpu")
    keeps = styleplugin.read_card(slow)["keeps"]
    assert len(keeps) == 5 and all(len(keep) == 4 for keep in keeps.values())


@pytest.mark.parametrize("kind", ["other network", "no layers", "pickle of code"])
def test_R10_a_teacher_that_is_none_is_refused_before_the_start(kind: str, make_recipe, tmp_path: Path):
    from safetensors.torch import save_file

    path = tmp_path / "teacher.safetensors"
    if kind == "other network":
        save_file({"features.0.weight": torch.zeros(8, 3, 5, 5), "features.0.bias": torch.zeros(8)}, path)
    elif kind == "no layers":
        save_file({"conv1_1.weight": torch.zeros(8, 4, 3, 3), "conv1_1.bias": torch.zeros(8)}, path)
    else:
        path.write_bytes(b"\x80\x04cos\nsystem\n.")
    rows: list[dict] = []
    with pytest.raises(WeightsError, match=r"teacher\.safetensors"):
        run(make_recipe(), tmp_path / "out", teacher=f"file:{path}", device="cpu", on_event=rows.append)
    assert rows == []


def test_the_rule_keeps_pace_with_the_steps_of_a_time_budget(make_recipe, tmp_path: Path, monkeypatch):
    """However many steps the budget leaves, none is removed by force at the end."""
    pruning = PhaseOptions(steps=4000, batch=2, warmup=2)
    recipe = make_recipe(importance="increg", pruning=pruning)
    run(recipe, tmp_path, device="cpu", seconds=12)
    rows = read_log(tmp_path)
    (steps,) = (row["steps"] for row in rows if row.get("event") == "phase" and row["phase"] == "pruning")
    assert 20 < steps < 4000
    assert [row["forced"] for row in rows if row.get("event") == "pruned"] == [0]
