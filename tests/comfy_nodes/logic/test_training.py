"""The training nodes' work on a plain host: tiny runs of seconds on the example pictures."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes.hub import running

import styleplugin
from comfy_nodes.logic import training
from comfy_nodes.logic.interface import MODEL_SUFFIX
from comfy_nodes.logic.styles import load_model
from comfy_nodes.logic.transfer import transfer
from styleplugin import errors, train

from ..conftest import Interrupted, PlainHost

pytestmark = [
    pytest.mark.slow,
    pytest.mark.weights,
    pytest.mark.filterwarnings("ignore::styleplugin.StylePluginWarning"),
]

TEACHER = training.Teacher("cd-wct.x16")
SETTINGS = {"width": 0.0625, "crop": 32, "batch": 2, "run_name": "tiny", "minutes": 0.03}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("styleplugin.train.runs.phase_loop.PROBE_SECONDS", 0.02)


@pytest.fixture
def pictures(host: PlainHost) -> dict[str, training.Pictures]:
    return {name: training.picture_folder(host, f"example {name}") for name in ("photos", "paintings")}


@contextmanager
def inference() -> Iterator[None]:
    """The mode in which the host runs every node."""
    with torch.inference_mode():
        yield


def distill(host: PlainHost, pictures: dict[str, training.Pictures], method: str = "adain", **changes: Any):
    settings = SETTINGS | ({"levels": (2,)} if method == "adain" else {}) | changes
    with inference():
        return training.distill(
            host, method, TEACHER, pictures["photos"], pictures["paintings"], settings.pop("pruning", None), **settings
        )


def test_a_student_is_trained_shown_and_used_in_the_same_graph(host: PlainHost, pictures) -> None:
    model, sheet, curves, losses, report = distill(host, pictures)
    assert model.info.method == "adain" and model.path.parent.parent == host.runs_folder()
    assert sheet.shape[3] == curves.shape[3] == 3 and sheet.std() > 0
    assert len(losses["loss"]) >= 4 and "parameters" in report
    assert host.previews and host.shares[-1] <= 1
    assert any("left" in line for line in host.said)
    with inference():
        content = torch.rand(1, 32, 48, 3)
        result = transfer(
            host, content, content.flip(1), model, None, statistics="per frame", strength=1.0, keep_color="off"
        )
    assert result.shape == content.shape


def test_the_same_settings_go_on_and_others_begin_anew(host: PlainHost, pictures) -> None:
    first = distill(host, pictures)[0].path
    written = first.stat().st_mtime_ns
    assert distill(host, pictures)[0].path == first and first.stat().st_mtime_ns == written
    assert distill(host, pictures, seed=1)[0].path.parent != first.parent


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("wct", {"levels": (1, 2), "pruning": training.Pruning("increg")}),
        ("photorealistic", {"backbone": "vgg", "width": 0.3}),
        ("kbstyle", {"width": 0.5}),
    ],
)
def test_every_method_can_be_distilled(host: PlainHost, pictures, monkeypatch, method: str, more: dict) -> None:
    if method == "photorealistic":
        monkeypatch.setattr(TEACHER.__class__, "source", "pca-photo.vgg", raising=False)
        teacher = training.Teacher("pca-photo.vgg")
    else:
        teacher = TEACHER
    settings = SETTINGS | more
    with inference():
        model, *_ = training.distill(
            host, method, teacher, pictures["photos"], pictures["paintings"], settings.pop("pruning", None), **settings
        )
    assert model.info.method == method
    if method == "wct":
        assert model.info.levels == (2, 1)


def test_T19_cancel_stops_at_once_and_keeps_the_best_student(host: PlainHost, pictures, tmp_path: Path) -> None:
    saved = tmp_path / "tiny-best_00001_.safetensors"
    with pytest.raises(Interrupted):
        host.stop_at = 23
        distill(host, pictures)
    assert not saved.exists() and any("before there was a student" in line for line in host.said)

    class Late(PlainHost):
        def check_interrupt(self) -> None:
            if list(self.folder.rglob(train.BEST)):
                raise Interrupted

    late = Late(tmp_path)
    with pytest.raises(Interrupted):
        distill(late, pictures, minutes=0.08)
    assert "best student so far is tiny-best" in late.said[-1]
    assert styleplugin.load(f"file:{saved}", allow_unknown_model=True).info.method == "adain"
    host.stop_at = None
    assert distill(host, pictures, minutes=0.08)[0].path.exists()


def test_T19_a_progress_bar_that_hears_cancel_keeps_the_best_student_too(pictures, tmp_path: Path) -> None:
    class Host(PlainHost):
        """Its bar raises, as the host's own does, and nothing else hears Cancel."""

        def update(self, share: float, preview: Any = None) -> None:
            if list(self.folder.rglob(train.BEST)):
                raise Interrupted

    host = Host(tmp_path)
    with pytest.raises(Interrupted):
        distill(host, pictures, minutes=0.08)
    assert "best student so far is tiny-best" in host.said[-1]


def test_T19_cancel_is_heard_while_speeds_are_measured(host: PlainHost, pictures, monkeypatch) -> None:
    monkeypatch.setattr("styleplugin.train.runs.phase_loop.PROBE_SECONDS", 60.0)
    host.stop_at = 30
    with pytest.raises(Interrupted):
        distill(host, pictures)
    assert not list(host.runs_folder().glob("*/log.jsonl"))


def test_a_student_is_saved_where_the_loader_finds_it(
    host: PlainHost, pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train.Recipe, "usual_limits", lambda self: {"psnr": 99.0})
    model = distill(host, pictures)[0]
    with pytest.raises(errors.UsageError, match="not passed its quality gate") as caught:
        training.save_student(host, model, "style_transfer/mine", False)
    assert caught.value.code == "SP145"
    name = training.save_student(host, model, "style_transfer/mine", True)
    assert (tmp_path / name).read_bytes() == model.path.read_bytes()
    assert name in host.files(MODEL_SUFFIX)
    with pytest.raises(errors.UsageError, match="not passed its quality gate"):
        training.publish_student(host, model, "me/x", True)
    with pytest.raises(errors.UsageError, match="was not trained here"):
        training.save_student(host, load_model(host, "kbstyle.200k"), "x", True)


def test_a_model_of_the_hub_comes_into_the_model_folder(host: PlainHost, monkeypatch, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub", reason="needs the extra styleplugin[hub]")
    from styleplugin.loading import hub

    original = hub.download
    data = Path(styleplugin.loading.index.weights_folder() / "kbstyle.200k.safetensors").read_bytes()
    with running(data) as server:
        place = {"endpoint": server.url, "cache_dir": tmp_path / "cache"}
        monkeypatch.setattr(hub, "download", lambda source, **options: original(source, **options, **place))
        model = training.pull_model(host, f"hub:me/kb@{'0' * 40}/kb.safetensors")
    assert model.info.method == "kbstyle"
    assert (host.models_folder() / "me--kb--kb.safetensors").read_bytes() == data


def test_folders_and_runs_are_those_that_are_listed(host: PlainHost, tmp_path: Path) -> None:
    assert training.picture_folders(host) == ["example paintings", "example photos"]
    assert training.runs(host) == ["none yet"]
    own = host.input_folder() / "mine"
    own.mkdir(parents=True)
    assert training.picture_folders(host)[-1] == "example photos"
    with pytest.raises(errors.UsageError, match="no picture"):
        training.picture_folder(host, "mine")
    shutil.copy(next((training.EXAMPLES / "photos").glob("*.jpg")), own)
    assert training.picture_folders(host)[-1] == "mine"
    training.picture_folder(host, "mine")
    assert host.said[-1] == "1 pictures"
    before = training.picture_folder(host, "mine"), training.folder_fingerprint(host, "mine")
    shutil.copy(next((training.EXAMPLES / "paintings").glob("*.jpg")), own)
    after = training.picture_folder(host, "mine"), training.folder_fingerprint(host, "mine")
    assert before[0] != after[0] and before[1] != after[1]
    assert training.folder_fingerprint(host, "gone") == training.folder_fingerprint(host, "never")
    for name in ("../mine", "gone", "mine/../..", "", "."):
        with pytest.raises(errors.UsageError):
            training.picture_folder(host, name)
        with pytest.raises(errors.UsageError):
            training.preview_training(host, name)
    assert training.run_fingerprint(host, "gone") is None


def test_a_run_is_previewed_while_it_is_not_finished(pictures, tmp_path: Path) -> None:
    class Host(PlainHost):
        def check_interrupt(self) -> None:
            if list(self.runs_folder().glob("*/log.jsonl")):
                raise Interrupted

    host = Host(tmp_path)
    with pytest.raises(Interrupted):
        distill(host, pictures)
    (name,) = training.runs(host)
    before = training.run_fingerprint(host, name)
    sheet, curves = training.preview_training(host, name)
    assert sheet.dim() == curves.dim() == 4 and before is not None


@pytest.mark.parametrize("source", ["main.safetensors", "https://x/y.safetensors", "../x"])
def test_a_teacher_comes_from_the_list_or_the_hub(host: PlainHost, source: str) -> None:
    with pytest.raises(errors.UsageError, match="hub:OWNER"):
        training.load_teacher(host, "cd-wct.x16", source)
    assert training.load_teacher(host, "cd-wct.x16", "").source == "cd-wct.x16"
    assert training.load_teacher(host, "own.safetensors", " ").source.startswith("file:")


@pytest.mark.parametrize("name", ["", "../x", "A b", "x/y"])
def test_a_run_needs_a_plain_name(host: PlainHost, pictures, name: str) -> None:
    with pytest.raises(errors.UsageError, match="cannot name"):
        distill(host, pictures, run_name=name)
