"""The folder of a Space: complete, runs by itself, and can be uploaded."""

import importlib.util
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest
from fakes.hub import running

from gradio_app.running import zero

from .conftest import free_port, served

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = importlib.util.spec_from_file_location("make_space", ROOT / "scripts" / "make_space.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("space") / "folder"
    files = module.assemble(folder)
    assert {Path("app.py"), Path("weights/index.json"), Path("styleplugin/samples/lake.jpg")} <= set(files)
    with pytest.raises(FileExistsError):
        module.assemble(folder)
    return folder


def test_the_front_matter_names_the_app_and_a_gradio_that_we_support(space: Path):
    tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11")
    requirements = pytest.importorskip("packaging.requirements", reason="needs the package packaging")
    front = (space / "README.md").read_text().split("---")[1]
    assert "sdk: gradio" in front and "app_file: app.py" in front
    (wanted,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["app"]
    assert re.search(r"sdk_version: (\S+)", front)[1] in requirements.Requirement(wanted).specifier
    assert len(re.search("short_description: (.*)", front)[1]) <= 60


def test_the_requirements_are_those_of_the_package(space: Path):
    tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert (space / "requirements.txt").read_text().splitlines() == project["dependencies"]


@pytest.mark.slow
def test_the_folder_runs_by_itself(space: Path):
    env = {**os.environ, "GRADIO_SERVER_PORT": str(free_port()), "PYTHONDONTWRITEBYTECODE": "1"}
    where = "import gradio_app, styleplugin; print(gradio_app.__file__, styleplugin.__file__)"
    found = subprocess.run(
        [sys.executable, "-c", where], cwd=space, env=env, capture_output=True, text=True, check=True
    )
    assert all(str(space) in name for name in found.stdout.split())
    with served([sys.executable, "app.py"], cwd=space, env=env) as config:
        assert config["title"] == "styleplugin"


def test_the_folder_can_be_uploaded(space: Path):
    from huggingface_hub import HfApi

    with running() as hub:
        HfApi(endpoint=hub.url, token="t").upload_folder(repo_id="me/page", repo_type="space", folder_path=space)
    sent = {path.relative_to(space).as_posix(): path.read_bytes() for path in space.rglob("*") if path.is_file()}
    assert hub.files == sent


def test_events_ask_for_the_gpu_of_the_space_where_there_is_one(monkeypatch):
    def event() -> None: ...

    assert zero.gpu(event) is event
    asked = []
    lender = types.SimpleNamespace(GPU=lambda duration: lambda f: asked.append((duration, f)) or f)
    monkeypatch.setattr(zero, "spaces", lender)
    assert zero.gpu(event) is event and asked == [(zero.SECONDS, event)]
