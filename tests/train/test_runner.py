import hashlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fakes.training import stop_at

from styleplugin.errors import Cancelled, CheckpointError, StylePluginWarning, UsageError, WeightsError
from styleplugin.loading.build import load_model
from styleplugin.methods.wct.train.bundle import BundleRecipe
from styleplugin.networks.pairs import PairModel
from styleplugin.tensorfile import read_weights
from styleplugin.train import Recipe, bundle, run
from styleplugin.train.data.pictures import load_pictures
from styleplugin.train.evaluation.figures import evaluate_pair, sample_psnr
from styleplugin.train.pairs.parts import load_part
from styleplugin.train.pairs.recipe import PHASES, RULES
from styleplugin.train.pairs.run import StudentDecoder
from styleplugin.train.recipe.options import PhaseOptions, TeacherOptions

pytestmark = pytest.mark.slow

SCRIPT = """
import pickle, sys, time
from pathlib import Path
from styleplugin.train import run

def report(row):
    if "loss" in row and [row["phase"], str(row["step"])] == sys.argv[3:]:
        print("there", flush=True)
        time.sleep(60)

recipe = pickle.loads(Path(sys.argv[1]).read_bytes())
run(recipe, sys.argv[2], resume=True, device="cpu", on_event=report)
"""


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, make_recipe: Callable[..., Recipe]) -> tuple[Path, Recipe]:
    out, recipe = tmp_path_factory.mktemp("finished"), make_recipe()
    run(recipe, out, device="cpu")
    return out, recipe


def test_a_run_leaves_weights_log_plot_and_sheets(finished: tuple[Path, Recipe]):
    out, _ = finished
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [row["phase"] for row in rows if row.get("event") == "phase"] == list(PHASES)
    assert all(row["loss"] > 0 for row in rows if "loss" in row)
    assert {"psnr", "dead"} <= set().union(*rows)
    assert (out / "loss.png").stat().st_size > 1000
    assert len(list((out / "sheets").glob("*.jpg"))) == len(PHASES)
    assert not list((out / "checkpoints").iterdir())


def test_the_weights_carry_their_card(finished: tuple[Path, Recipe]):
    out, _ = finished
    metadata = read_weights(out / "pair.safetensors").metadata
    card = metadata["card"]
    assert metadata["license"] == "MIT"
    assert card["steps"] == dict.fromkeys(PHASES, 6)
    assert card["data"]["pictures"] == {"training": 12, "validation": 4}
    assert card["data"]["name"] == "patterns"
    assert len(card["teacher"]["sha256"]["vgg.safetensors"]) == 64
    assert set(card["metrics"]) == {"psnr", "dead_encoder", "dead_decoder"}


def test_R12_the_file_reproduces_the_figures_of_its_card_exactly(finished: tuple[Path, Recipe]):
    out, recipe = finished
    model, info = load_model(read_weights(out / "pair.safetensors"))
    assert isinstance(model, PairModel)
    _, held_out = load_pictures(recipe.data.photos, short_side=40, smallest=32)
    assert evaluate_pair(model.pair(2), held_out.center_crops(32, 64)) == info.metrics


def test_the_decoder_of_the_file_ends_with_a_relu(finished: tuple[Path, Recipe]):
    model, _ = load_model(read_weights(finished[0] / "pair.safetensors"))
    assert model(torch.zeros(1, 3, 32, 32)).min() >= 0


def test_equal_runs_give_equal_bytes(finished: tuple[Path, Recipe], tmp_path: Path):
    out, recipe = finished
    assert sha256(run(recipe, tmp_path, device="cpu")) == sha256(out / "pair.safetensors")


def test_a_finished_run_is_resumed_without_a_step(finished: tuple[Path, Recipe]):
    out, recipe = finished
    before, rows = sha256(out / "pair.safetensors"), []
    run(recipe, out, resume=True, device="cpu", on_event=rows.append)
    assert sha256(out / "pair.safetensors") == before
    assert not any("loss" in row for row in rows)


def test_a_folder_with_a_run_needs_resume_and_the_same_recipe(finished: tuple[Path, Recipe]):
    out, recipe = finished
    with pytest.raises(UsageError, match="`resume=True`"):
        run(recipe, out, device="cpu")
    with pytest.raises(CheckpointError, match="seed"):
        run(replace(recipe, seed=1), out, resume=True, device="cpu")


@pytest.mark.parametrize("phase", PHASES)
def test_R01_after_sigterm_the_result_is_that_of_an_uninterrupted_run(
    finished: tuple[Path, Recipe], tmp_path: Path, phase: str
):
    out, recipe = finished
    with pytest.raises(Cancelled):
        run(recipe, tmp_path, device="cpu", on_event=stop_at(phase, 4))
    assert sha256(run(recipe, tmp_path, resume=True, device="cpu")) == sha256(out / "pair.safetensors")
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    steps = [row["step"] for row in rows if row.get("phase") == phase and "loss" in row]
    assert steps == sorted(set(steps))


def test_R02_R09_after_kill_9_the_result_is_that_of_an_uninterrupted_run(make_recipe, tmp_path: Path):
    (tmp_path / "train.py").write_text(SCRIPT)
    # Validations wake up dead channels; here one of them lies on each side of the kill.
    recipe = make_recipe(validate_every=3)
    (tmp_path / "recipe").write_bytes(pickle.dumps(recipe))

    def start(out: str, *stop: str) -> subprocess.Popen:
        command = [sys.executable, tmp_path / "train.py", tmp_path / "recipe", tmp_path / out, *stop]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

    # Step 4 of the second phase is done, its checkpoint not yet written.
    with start("killed", "student_encoder", "4") as process:
        assert process.stdout
        assert process.stdout.readline() == "there\n"
        with pytest.raises(UsageError, match=f"Process {process.pid} "):
            run(recipe, tmp_path / "killed", resume=True, device="cpu")
        process.kill()
    assert len(list((tmp_path / "killed" / "checkpoints").iterdir())) == 1
    for out in ("killed", "whole"):
        with start(out) as process:
            process.communicate()
        assert process.returncode == 0
    assert sha256(tmp_path / "killed" / "pair.safetensors") == sha256(tmp_path / "whole" / "pair.safetensors")


def test_R06_a_batch_that_breaks_the_loss_is_kept_as_a_sheet(make_recipe, tmp_path: Path, monkeypatch):
    original = StudentDecoder.batch

    def poisoned(self, count: int, step: int):
        batch = original(self, count, step)
        return {"content": batch["content"] * float("nan")} if step == 3 else batch

    monkeypatch.setattr(StudentDecoder, "batch", poisoned)
    run(make_recipe(), tmp_path, device="cpu")
    assert [p.name for p in (tmp_path / "sheets").glob("skipped*")] == ["skipped-student_decoder-000003.jpg"]


def test_R10_a_missing_teacher_is_an_error_before_the_first_step(make_recipe, tmp_path: Path):
    rows = []
    recipe = make_recipe(teacher=TeacherOptions(root=str(tmp_path / "nowhere")))
    with pytest.raises(WeightsError):
        run(recipe, tmp_path / "out", device="cpu", on_event=rows.append)
    assert rows == []


def test_adain_trains_at_its_level(make_recipe, tmp_path: Path):
    recipe = make_recipe(method="adain", level=3)
    weights = read_weights(run(recipe, tmp_path, device="cpu"))
    assert weights.metadata["method"] == "adain"
    assert weights.metadata["card"]["data"]["pictures"]["styles"] == 12
    model, _ = load_model(weights)
    assert not model.pairs["3"].decoder.layers()[-1].relu  # type: ignore[index, union-attr]


def test_bfloat16_trains_on_the_cpu(make_recipe, tmp_path: Path):
    assert run(make_recipe(precision="bf16"), tmp_path, device="cpu").exists()


def test_a_later_run_continues_from_the_files_of_an_earlier_one(finished, make_recipe, tmp_path: Path):
    out, recipe = finished
    given = {
        "teacher_decoder": replace(recipe.teacher_decoder, steps=0, init=str(out / "teacher_decoder.safetensors")),
        "student_encoder": replace(recipe.student_encoder, steps=0, init=str(out / "pair.safetensors")),
        "student_decoder": replace(recipe.student_decoder, steps=0, init=str(out / "pair.safetensors")),
        "student_pair": replace(recipe.student_pair, steps=0),
    }
    again = read_weights(run(make_recipe(**given), tmp_path / "same", device="cpu"))
    before = read_weights(out / "pair.safetensors")
    assert all(torch.equal(value, again.tensors[name]) for name, value in before.tensors.items())
    wrong = make_recipe(**given | {"widths": (5, 5, 5)})
    with pytest.raises(CheckpointError, match=r"\[5, 5, 5\]"):
        run(wrong, tmp_path / "other", device="cpu")


def test_a_pair_grows_from_its_shallower_neighbor_which_is_trained_first(make_recipe, tmp_path: Path, monkeypatch):
    recipes = {"2.toml": make_recipe(level=2, name="two")}
    monkeypatch.setattr("styleplugin.train.pairs.run.read_recipe", lambda path: recipes[path])
    still = {phase: replace(make_recipe().phase(phase), steps=0) for phase in PHASES}
    deep = make_recipe(level=3, grow_from="2.toml", **still)
    run(deep, tmp_path / "three", device="cpu")
    shallow, _ = load_part(tmp_path / "two" / "student_pair.safetensors", "student_encoder")
    grown, _ = load_part(tmp_path / "three" / "student_encoder.safetensors", "student_encoder")
    begun = grown.state_dict()
    assert all(torch.equal(value, begun[name]) for name, value in shallow.state_dict().items())
    assert "recipe" in read_weights(tmp_path / "three" / "pair.safetensors").metadata["card"]


def test_a_time_boxed_run_chooses_its_steps(make_recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("styleplugin.train.runs.phase_loop.PROBE_SECONDS", 0.05)
    weights = read_weights(run(make_recipe(level=1), tmp_path, device="cpu", seconds=4))
    steps = weights.metadata["card"]["steps"]
    assert set(steps) == set(PHASES)
    assert all(count >= 1 for count in steps.values())


def test_a_bundle_trains_what_is_missing_and_packs_one_model(make_recipe, tmp_path: Path, monkeypatch):
    recipes = {"1.toml": make_recipe(level=1), "2.toml": make_recipe(level=2, precision="bf16")}
    recipe = BundleRecipe(name="tiny.both", pairs=tuple(recipes.values()), license="MIT")
    target = run(recipe, tmp_path, device="cpu")
    assert target == tmp_path / "tiny.both.safetensors"
    weights = read_weights(target)
    model, info = load_model(weights)
    assert info.levels == (2, 1)
    assert {"level1", "level2"} == set(info.metrics)
    halves = {name for name, value in weights.tensors.items() if value.dtype == torch.float16}
    assert halves == {name for name in weights.tensors if ".conv1_1." not in name}
    assert model(torch.rand(1, 3, 32, 32)).shape == (1, 3, 32, 32)
    first, rows = sha256(target), []
    run(recipe, tmp_path, device="cpu", on_event=rows.append)
    assert (sha256(target), rows) == (first, [])
    pair = tmp_path / "tiny2" / "pair.safetensors"
    with pytest.raises(UsageError, match=r"\[2, 2\]"):
        bundle([pair, pair], tmp_path / "twice.safetensors", license="MIT")


def test_sample_pictures_are_measured_by_name(finished, data_folder: Path):
    model, _ = load_model(read_weights(finished[0] / "pair.safetensors"))
    figures = sample_psnr(model, data_folder / "photos", side=32)
    assert len(figures) == 16
    assert all(value > 0 for value in figures.values())


def test_R03_a_damaged_checkpoint_costs_only_its_steps(finished, make_recipe, tmp_path: Path):
    out, recipe = finished
    with pytest.raises(Cancelled):
        run(recipe, tmp_path, device="cpu", on_event=stop_at("student_encoder", 4))
    newest = max((tmp_path / "checkpoints").glob("student_encoder-*"))
    newest.write_bytes(newest.read_bytes()[:-10])
    with pytest.warns(StylePluginWarning, match="passed over"):
        result = run(recipe, tmp_path, resume=True, device="cpu")
    assert sha256(result) == sha256(out / "pair.safetensors")


@pytest.mark.parametrize("rule", ["spp", "increg", "greg", "random", "reconstruction"])
def test_a_student_starts_from_what_pruning_leaves(rule: str, make_recipe, tmp_path: Path):
    steps = PhaseOptions(steps=8 if rule in RULES else 0, batch=2, warmup=2)
    recipe = make_recipe(importance=rule, pruning=steps)
    result = run(recipe, tmp_path / "whole", device="cpu")
    model, _ = load_model(read_weights(result))
    assert isinstance(model, PairModel) and model.pair(2).encoder.spec.widths == (4, 4, 4)
    if rule not in RULES:
        return
    pruned = read_weights(tmp_path / "whole" / "pruning.safetensors")
    assert {len(keep) for keep in pruned.metadata["keeps"].values()} == {4}
    with pytest.raises(Cancelled):
        run(recipe, tmp_path / "stopped", device="cpu", on_event=stop_at("pruning", 4))
    assert sha256(run(recipe, tmp_path / "stopped", resume=True, device="cpu")) == sha256(result)


def test_what_is_reconstructed_takes_no_layers_of_a_shallower_pair(make_recipe, tmp_path: Path, monkeypatch):
    still = dict.fromkeys(PHASES[1:], PhaseOptions(steps=0))
    recipes = {"1.toml": make_recipe(level=1), "2.toml": make_recipe(importance="reconstruction", **still)}
    alone = run(recipes["2.toml"], tmp_path / "alone", device="cpu")
    monkeypatch.setattr("styleplugin.train.pairs.run.read_recipe", lambda path: recipes[path])
    grown = run(replace(recipes["2.toml"], grow_from="1.toml"), tmp_path / "grown", device="cpu")
    first, second = (read_weights(file).tensors for file in (alone, grown))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_R11_a_reconstructed_student_is_no_wider_than_its_teacher(make_recipe, tmp_path: Path):
    with pytest.raises(UsageError, match=r"\[4, 4, 9\]"):
        run(make_recipe(importance="reconstruction", widths=(4, 4, 9)), tmp_path, device="cpu")


@pytest.mark.parametrize("importance", ["activation", "reconstruction"])
def test_a_student_that_is_whole_is_not_made_of_its_teacher_again(
    finished, make_recipe, tmp_path, monkeypatch, importance
):
    pair = finished[0] / "pair.safetensors"
    still = dict.fromkeys(PHASES, PhaseOptions(steps=0))
    halves = {f"student_{half}": PhaseOptions(steps=0, init=str(pair)) for half in ("encoder", "decoder")}
    for name in ("reconstruct_encoder", "prune_encoder", "reconstruct_decoder", "prune_decoder"):
        monkeypatch.setattr(f"styleplugin.train.pairs.start.{name}", lambda *_: pytest.fail("made again"))
    result = run(make_recipe(importance=importance, **still | halves), tmp_path, device="cpu")
    before, after = (read_weights(file).tensors for file in (pair, result))
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_R11_pruning_without_steps_or_with_too_wide_a_student_is_refused(make_recipe, tmp_path: Path):
    with pytest.raises(UsageError, match="0 steps of pruning"):
        make_recipe(importance="spp")
    with pytest.raises(UsageError, match=r"\[4, 4, 9\]"):
        recipe = make_recipe(importance="spp", pruning=PhaseOptions(steps=4, batch=2), widths=(4, 4, 9))
        run(recipe, tmp_path, device="cpu")
