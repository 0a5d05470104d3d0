"""The queue that trains the embedded models: what goes on from where, what is counted, what is taken."""

from __future__ import annotations

import argparse
import shutil
import signal
from pathlib import Path

import pytest
import torch

from scripts import train_weights
from scripts.training_queue import jobs, rounds, taking
from scripts.training_queue.log import FIELDS, Log, figures_of
from styleplugin.errors import CheckpointError, UsageError
from styleplugin.loading.build import save_model
from styleplugin.methods.kbstyle.train import KBRecipe
from styleplugin.methods.photorealistic.train.run import PhotoRecipe
from styleplugin.methods.wct.train.bundle import BundleRecipe
from styleplugin.methods.wct.train.cascade import CascadeRecipe
from styleplugin.networks.pairs import PairModel
from styleplugin.tensorfile import check_identity, read_weights
from styleplugin.train import Recipe
from styleplugin.train.loop.lock import locked
from styleplugin.train.recipe.places import check_places

LEARN_STYLES = {"kbstyle.200k", "cd-adain.x16", "cd-wct-cascade", "kbstyle.large"}
"""Runs that see styles, and so patterns."""
KB = jobs.job_of("kbstyle.200k")
GOOD = {"e_style": 0.30, "e_content": 1.08, "ssim": 0.45, "weave": 1.5, "flat_deviation": 0.1}


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "log.csv")


@pytest.fixture
def pupil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A student whose figures are what a test says, and a weights folder of its own."""
    monkeypatch.setattr(jobs, "QUEUE", tmp_path)
    latest = tmp_path / KB.name / "latest.safetensors"
    latest.parent.mkdir()
    latest.write_bytes(b"student")
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "index.json").write_text("{}")
    for name, folder in (("WEIGHTS", weights), ("KEPT", tmp_path / "students")):
        monkeypatch.setattr(taking, name, folder)

    def embed(job: jobs.Job, path: Path) -> Path:
        (weights / "index.json").write_text('{"new": 1}')
        return Path(shutil.copyfile(path, weights / f"{job.name}.safetensors"))

    monkeypatch.setattr(taking, "embed", embed)
    monkeypatch.setattr(taking, "passes_tests", lambda job: pytest.fail("the test says what passes"))
    return latest


@pytest.fixture
def trained(log: Log) -> Log:
    """The log of a student that has seen enough."""
    log.add(model=KB.name, event="round", sha256="0" * 64, crops=taking.COMPLETE_CROPS)
    return log


def always(job: jobs.Job) -> bool:
    return True


def judged(monkeypatch: pytest.MonkeyPatch, **figures: float) -> None:
    """Let the next student have these figures on two pairs, a little apart."""
    values = {name: [value - 0.001, value + 0.001] for name, value in (GOOD | figures).items()}
    monkeypatch.setattr(taking, "judge", lambda job, path: values)


@pytest.mark.parametrize("job", jobs.JOBS, ids=lambda job: job.name)
def test_every_embedded_model_has_a_recipe_with_licensed_pictures_bars_and_a_way_to_go_on(job, tmp_path: Path):
    recipes = jobs.runs_of(jobs.recipe_of(job, None))
    assert all(recipe.data.open_license for recipe in recipes.values())
    patterns = str(jobs.PATTERNS.relative_to(jobs.ROOT))
    assert all((patterns in recipe.data.styles) is (name in LEARN_STYLES) for name, recipe in recipes.items())
    assert set(taking.BARS[job.name]) <= set(FIELDS)
    continued = jobs.recipe_of(job, tmp_path / "made.safetensors")
    if isinstance(continued, CascadeRecipe):
        assert continued.start == f"file:{tmp_path / 'made.safetensors'}"
    elif isinstance(continued, KBRecipe):
        assert continued.student_network.init == str(tmp_path / "made.safetensors")
    elif isinstance(continued, PhotoRecipe):
        assert continued.phases == ("joint",) and continued.joint.init
    else:
        assert isinstance(continued, Recipe) and continued.student_encoder.init == continued.student_decoder.init
        assert continued.student_encoder.steps == continued.student_decoder.steps == 0


def test_a_bundle_has_a_run_for_each_part():
    recipe = jobs.recipe_of(jobs.job_of("cd-wct.x16"), None)
    assert isinstance(recipe, BundleRecipe)
    assert list(jobs.runs_of(recipe)) == [*(f"cd-wct-level{k}" for k in range(1, 6)), "cd-wct-cascade"]


def test_crops_are_counted_from_where_the_round_began():
    recipes = jobs.runs_of(jobs.recipe_of(KB, None))
    counter = rounds.Counter()
    counter.recipes = recipes
    counter({"event": "phase", "phase": "student_network", "step": 100, "steps": 1000})
    for step in (125, 150, 161):
        counter({"run": KB.name, "phase": "student_network", "step": step, "loss": 1.0})
    batch = recipes[KB.name].phase("student_network").batch
    assert (counter.phase, counter.step, counter.crops) == ("student_network", 161, 61 * batch)


def test_the_log_keeps_what_was_written(log: Log):
    log.add(model="a", event="round", hours=0.25, crops=8, e_style=0.31234567)
    log.add(model="a", event="taken", hours=0.5, **GOOD)
    log.add(model="b", event="round", hours=1.0)
    assert log.hours("a") == 0.75
    assert [row["model"] for row in log.rows()] == ["a", "a", "b"]
    assert figures_of(log.taken("a")[0]) == GOOD
    assert log.path.read_text().splitlines()[0] == ",".join(FIELDS)


def test_the_first_complete_student_is_taken_in_any_case(pupil: Path, log: Log, monkeypatch):
    (taking.WEIGHTS / f"{KB.name}.safetensors").write_bytes(b"from before the queue")
    log.add(model=KB.name, event="round", sha256="0" * 64, crops=taking.COMPLETE_CROPS - 1)
    judged(monkeypatch, e_style=0.9, e_content=1.4)
    assert "kept, its gap" in taking.take(KB, log=log, passes=always)
    log.add(model=KB.name, event="round", sha256="0" * 64, crops=1)
    assert "taken" in taking.take(KB, log=log, passes=always)
    assert figures_of(log.taken(KB.name)[0])["e_style"] == 0.9


def test_crops_of_rounds_without_a_student_make_none_complete(pupil: Path, log: Log, monkeypatch):
    (taking.WEIGHTS / f"{KB.name}.safetensors").write_bytes(b"embedded")
    log.add(model=KB.name, event="round", crops=taking.COMPLETE_CROPS)
    judged(monkeypatch)
    assert "kept, its gap" in taking.take(KB, log=log, passes=always)


def test_the_first_student_is_taken_before_it_is_complete_if_it_is_better(pupil: Path, log: Log, monkeypatch):
    (taking.WEIGHTS / f"{KB.name}.safetensors").write_bytes(b"from before the queue")
    figures = {b"student": 0.32, b"from before the queue": 0.34}
    monkeypatch.setattr(
        taking,
        "judge",
        lambda job, path: {name: [value] for name, value in (GOOD | {"e_style": figures[path.read_bytes()]}).items()},
    )
    assert "taken" in taking.take(KB, log=log, passes=always)
    assert (taking.WEIGHTS / f"{KB.name}.safetensors").read_bytes() == b"student"


def test_a_student_whose_gap_falls_is_taken_and_one_whose_gap_does_not_is_kept(pupil: Path, trained: Log, monkeypatch):
    log = trained
    judged(monkeypatch, e_style=0.34)
    taking.take(KB, log=log, passes=always)
    judged(monkeypatch, e_style=0.32)
    assert "taken" in taking.take(KB, log=log, passes=always)
    assert "kept" in taking.take(KB, log=log, passes=always)
    judged(monkeypatch, e_style=0.33)
    assert "kept" in taking.take(KB, log=log, passes=always)
    assert len(log.taken(KB.name)) == 2


@pytest.mark.parametrize("worse", [{"ssim": 0.40}, {"weave": 1.6}])
def test_a_figure_may_not_become_worse_than_the_best_of_all_that_were_taken(
    worse: dict, pupil: Path, trained: Log, monkeypatch
):
    log = trained
    for e_style in (0.36, 0.34):
        judged(monkeypatch, e_style=e_style)
        taking.take(KB, log=log, passes=always)
    judged(monkeypatch, e_style=0.31, **worse)
    assert f"kept, {next(iter(worse))}" in taking.take(KB, log=log, passes=always)
    judged(monkeypatch, e_style=0.31, flat_deviation=0.05)
    assert "taken" in taking.take(KB, log=log, passes=always)


def test_a_student_that_fails_the_tests_leaves_the_folder_as_it_was(pupil: Path, trained: Log, monkeypatch):
    judged(monkeypatch)
    assert "tests fail" in taking.take(KB, log=trained, passes=lambda job: False)
    assert {path.name: path.read_text() for path in taking.WEIGHTS.iterdir()} == {"index.json": "{}"}
    assert not trained.taken(KB.name)


def test_a_pair_is_embedded_in_half_precision_under_its_name_and_license_again_and_again(
    make_pair, tmp_path: Path, monkeypatch
):
    monkeypatch.setattr(taking, "WEIGHTS", tmp_path / "weights")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "index.json").write_text('{"models": []}')
    latest = tmp_path / "latest.safetensors"
    save_model(
        latest, PairModel("adain", [make_pair(4, final_relu=False)]), license="MIT; of a test", card={"metrics": {}}
    )
    for _ in range(2):
        file = taking.embed(jobs.job_of("cd-adain.x16"), latest)
    weights = read_weights(file)
    assert file == tmp_path / "weights" / "cd-adain.x16.safetensors"
    assert weights.metadata["license"] == "MIT; of a test"
    assert any(value.dtype == torch.float16 for value in weights.tensors.values())


def test_a_student_on_its_way_is_kept_once_and_gone_on_from(queue: Path, pupil: Path, trained: Log, monkeypatch):
    assert "kept in students/" in rounds.keep(KB)
    assert "nothing new" in rounds.keep(KB)
    kept = rounds.KEPT / f"{KB.name}.safetensors"
    assert trained.made(KB.name) == {rounds.sha256_of(kept)}
    monkeypatch.setattr(jobs, "QUEUE", queue / "another")
    start = rounds.start_of(KB)
    assert start is not None and start.read_bytes() == b"student"
    # What is taken takes its place.
    judged(monkeypatch)
    monkeypatch.setattr(jobs, "QUEUE", queue)
    assert "taken" in taking.take(KB, log=trained, passes=always)
    assert not kept.exists()


@pytest.fixture
def queue(pupil: Path, trained: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A queue of its own, whose teachers are not needed and whose students are not judged."""
    for name, value in (("KEPT", tmp_path / "students"), ("WEIGHTS", taking.WEIGHTS), ("LOG", trained)):
        monkeypatch.setattr(rounds, name, value)
    for name in ("make_painters", "make_patterns"):
        monkeypatch.setattr(rounds, name, lambda folder: None)
    monkeypatch.setattr(rounds, "judge", lambda job, path, limit: {"e_style": [0.5]})
    return tmp_path


def play_round() -> None:
    places = {"teachers": Path("nowhere"), "data": Path("nowhere")}
    rounds.train_round(KB, 1, device="cpu", threads=torch.get_num_threads(), **places)


def test_a_run_whose_recipe_has_changed_goes_on_from_its_student(queue: Path, trained: Log, monkeypatch):
    """The run refuses the old checkpoints; the student is kept, and a new run begins with it."""
    (queue / KB.name / "recipe.json").write_text("{}")
    begun: list[KBRecipe] = []

    def run(recipe: KBRecipe, out: Path, **settings: object) -> None:
        out.mkdir(parents=True, exist_ok=True)
        check_places(recipe, out)
        if (out / "recipe.json").exists():
            check_identity({"student_network": {"lr": 0.005}}, {"student_network": {"lr": 0.004}})
        begun.append(recipe)

    monkeypatch.setattr(rounds, "run", run)
    play_round()
    (recipe,) = begun
    start = queue / f"{KB.name}.start.safetensors"
    assert recipe.student_network.init == str(start) and start.read_bytes() == b"student"
    assert rounds.sha256_of(start) in trained.made(KB.name)
    assert [row["event"] for row in trained.rows()] == ["round", "kept", "round"]
    # From now on it is a run as any other.
    play_round()
    assert begun[1] == recipe


def test_a_run_at_work_is_never_begun_anew(queue: Path, monkeypatch):
    recipe = queue / KB.name / "recipe.json"
    recipe.write_text("{}")
    monkeypatch.setattr(rounds, "run", lambda *_, **__: check_identity({"seed": 0}, {"seed": 1}))
    with locked(recipe.parent), pytest.raises(UsageError) as caught:
        play_round()
    assert caught.value.code == "SP142" and recipe.exists()


def test_other_faults_of_checkpoints_end_the_round(queue: Path, pupil: Path, monkeypatch):
    def run(*_: object, **__: object) -> None:
        raise CheckpointError("SP803", "All checkpoints are damaged.")

    monkeypatch.setattr(rounds, "run", run)
    with pytest.raises(CheckpointError):
        play_round()
    assert pupil.exists()


def test_bars_that_are_reached_count_nothing():
    assert taking.gap(KB.name, GOOD) == 0
    assert taking.gap(KB.name, GOOD | {"e_style": 0.612}) == pytest.approx(1)


def test_a_run_goes_on_from_a_committed_file_only_if_the_queue_has_made_it(tmp_path: Path, log: Log, monkeypatch):
    monkeypatch.setattr(jobs, "QUEUE", tmp_path / "queue")
    for module in (jobs, rounds):
        monkeypatch.setattr(module, "WEIGHTS", tmp_path)
        monkeypatch.setattr(module, "KEPT", tmp_path / "students")
    monkeypatch.setattr(rounds, "LOG", log)
    file = tmp_path / f"{KB.name}.safetensors"
    file.write_bytes(b"made by somebody else")
    assert rounds.start_of(KB) is None
    log.add(model=KB.name, event="taken", sha256=rounds.sha256_of(file))
    start = rounds.start_of(KB)
    assert start is not None and start.read_bytes() == file.read_bytes()
    # A later embedded file changes nothing for a run that has begun.
    jobs.job_of(KB.name).out.mkdir()
    file.write_bytes(b"newer")
    assert rounds.start_of(KB) == start and start.read_bytes() == b"made by somebody else"


class Round:
    """A process that lives for so many looks at it."""

    returncode = 0

    def __init__(self, looks: int) -> None:
        self.looks, self.heard = looks, []

    def poll(self) -> int | None:
        self.looks -= 1
        return 0 if self.looks < 0 else None

    def send_signal(self, number: int) -> None:
        self.heard.append(number)


def test_a_pause_holds_all_rounds_that_run_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    paused = tmp_path / "paused"
    changes = iter([paused.touch, lambda: None, paused.unlink])
    monkeypatch.setattr(train_weights, "PAUSED", paused)
    monkeypatch.setattr(train_weights.time, "sleep", lambda seconds: next(changes, lambda: None)())
    rounds = [Round(1), Round(6), Round(6)]
    train_weights.wait(*rounds)
    assert [one.heard for one in rounds] == [[signal.SIGSTOP, signal.SIGCONT]] * 3


def test_a_model_whose_round_fails_is_left_out_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch):
    begun: list[str] = []

    def start(job: jobs.Job, arguments: argparse.Namespace, minutes: float) -> Round:
        begun.append(job.name)
        one = Round(0)
        one.returncode = 1 if job.name.startswith("kbstyle") or len(begun) > 5 else 0
        return one

    monkeypatch.setattr(train_weights, "start", start)
    names = ["cd-adain.x16", "kbstyle.200k", "cd-wct.x16"]
    plan = argparse.Namespace(minutes=1.0, round_minutes=1.0, together=False, pack=None)
    train_weights.work([jobs.job_of(name) for name in names], plan)
    assert begun == [*names, "cd-adain.x16", "cd-wct.x16", "cd-adain.x16", "cd-wct.x16"]
