"""Students on the Hub: the gate, the card, and the way there and back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.hub import FakeHub, running
from PIL import Image

from styleplugin.errors import HubError, UsageError, WeightsError
from styleplugin.export.publish import publish
from styleplugin.loading.build import save_model
from styleplugin.networks.pairs import PairModel
from styleplugin.tensorfile import read_weights

pytest.importorskip("huggingface_hub", reason="needs the extra styleplugin[hub]")

PASSED = {"passed": True, "failed": [], "limits": {"psnr": 14.0}}
CARD = {
    "name": "tiny",
    "metrics": {"psnr": 20.5},
    "gate": PASSED,
    "teacher": {"sha256": {"vgg.safetensors": "ab"}, "judge": "VGG-19"},
    "data": {"name": "<b>my</b> | pictures", "pictures": {"training": 12}},
    "steps": {"student_pair": 9},
}


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with running(revision="a" * 40) as server:
        yield server


@pytest.fixture
def student(tmp_path: Path, tiny_model: PairModel) -> Path:
    """A student in its run's folder, with a contact sheet."""
    path = tmp_path / "run" / "pair.safetensors"
    (path.parent / "sheets").mkdir(parents=True)
    Image.new("RGB", (8, 8), "red").save(path.parent / "sheets" / "student_pair-000009.jpg")
    save_model(path, tiny_model, license="MIT", card=CARD)
    return path


def test_a_student_is_published_with_card_and_pictures(student: Path, hub: FakeHub) -> None:
    source = publish(student, "me/tiny", endpoint=hub.url)
    sha256 = read_weights(student).sha256
    assert source == f"hub:me/tiny@{'a' * 40}/tiny.safetensors#{sha256}"
    assert hub.files["tiny.safetensors"] == student.read_bytes()
    assert hub.files["00.jpg"] == (student.parent / "sheets" / "student_pair-000009.jpg").read_bytes()
    card = hub.files["README.md"].decode()
    front, text = card.split("---", 2)[1:]
    assert "license: mit" in front and "library_name: styleplugin" in front and "- style-transfer" in front
    for words in ("CVPR 2020", "| psnr | 20.5 |", "VGG-19", "![", "00.jpg", sha256, "training: 12", "MIT"):
        assert words in text


@pytest.mark.parametrize(
    ("held_out", "words"),
    [(True, "that were not trained on:"), (False, "they were trained on as well:"), (None, "On validation pictures:")],
)
def test_a_card_says_whether_its_figures_are_from_unseen_pictures(
    held_out: bool | None, words: str, tmp_path: Path, tiny_model: PairModel, hub: FakeHub
) -> None:
    path = tmp_path / "student.safetensors"
    data = {"name": "mine"} | ({} if held_out is None else {"held out": held_out})
    save_model(path, tiny_model, license="MIT", card=CARD | {"data": data})
    publish(path, "me/tiny", endpoint=hub.url)
    assert words in hub.files["README.md"].decode()


def test_G04_what_a_file_says_stays_text_in_its_card(student: Path, hub: FakeHub) -> None:
    publish(student, "me/tiny", endpoint=hub.url)
    card = hub.files["README.md"].decode()
    assert "<b>" not in card and r"&lt;b&gt;my&lt;/b&gt; \| pictures" in card


@pytest.mark.parametrize(
    ("gate", "words"),
    [({"passed": False, "failed": ["psnr is 9, at least 14 is needed"]}, "psnr is 9"), (None, "no verdict")],
)
def test_a_student_that_has_not_passed_its_gate_is_not_published(
    gate: object, words: str, tmp_path: Path, tiny_model: PairModel, hub: FakeHub
) -> None:
    path = tmp_path / "bad.safetensors"
    save_model(path, tiny_model, license="MIT", card=CARD | ({"gate": gate} if gate else {"gate": {}}))
    with pytest.raises(UsageError, match=words) as caught:
        publish(path, "me/tiny", endpoint=hub.url)
    assert caught.value.code == "SP145"
    assert hub.requests == []


def test_what_is_no_student_is_refused_before_a_request(student: Path, hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"")
    with pytest.raises(WeightsError):
        publish(tmp_path / "x.safetensors", "me/tiny", endpoint=hub.url)
    for picture in ("missing.png", "recipe.toml"):
        with pytest.raises(UsageError, match=picture):
            publish(student, "me/tiny", pictures=[picture], endpoint=hub.url)
    assert hub.requests == []


def test_a_refusal_of_the_hub_is_reported(student: Path, hub: FakeHub) -> None:
    hub.status = 403
    with pytest.raises(HubError) as caught:
        publish(student, "me/tiny", endpoint=hub.url)
    assert caught.value.code == "SP403"


@pytest.mark.slow
def test_the_commands_publish_and_pull_with_the_settings_of_the_client(
    student: Path, hub: FakeHub, tmp_path: Path
) -> None:
    env = os.environ | {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_TOKEN": "hf_x",
        "HF_HUB_DISABLE_XET": "1",
    }

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "styleplugin", *arguments]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)

    published = call("models", "publish", str(student), "me/tiny")
    source = published.stdout.strip()
    assert published.returncode == 0 and source.startswith("hub:me/tiny@")
    assert any("authorization" in map(str.lower, headers) for _, _, headers in hub.requests)
    folder = tmp_path / "models"
    folder.mkdir()
    pulled = call("models", "pull", source, "--output", str(folder))
    assert pulled.returncode == 0
    assert Path(pulled.stdout.strip()).read_bytes() == student.read_bytes()
    hub.status = 503
    unpinned = source.partition("#")[0]
    info = call("models", "info", unpinned)
    assert info.returncode == 0 and json.loads(info.stdout)["method"] == "wct"
    refused = call("models", "publish", str(student), "not a repo")
    assert refused.returncode == 5 and "SP407" in refused.stderr
