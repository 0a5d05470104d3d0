"""The installed wheel: API, command and page, from another folder, without a home to write to."""

import os
import subprocess
import sys
import sysconfig
import urllib.request
from pathlib import Path

import pytest
from PIL import Image

from .conftest import free_port, served

USE_THE_API = """
import sys
import gradio_app, styleplugin
assert all(module.__file__.startswith(sys.prefix) for module in (gradio_app, styleplugin))
styleplugin.stylize("photo.png", "painting.jpg", method="adain").save("api.png")
"""


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has our wheel, and sees the other packages of the running one."""
    folder = tmp_path_factory.mktemp("installed") / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    programs = folder / "bin"
    purelib = sysconfig.get_path("purelib", vars={"base": str(folder)})
    command = [sys.executable, "-m", "pip", "--python", programs / "python", "install"]
    subprocess.run([*command, "--quiet", "--no-deps", "--no-index", wheel], check=True)
    Path(purelib, "others.pth").write_text(sysconfig.get_path("purelib"))
    return programs


@pytest.fixture
def surroundings(tmp_path: Path) -> dict[str, str]:
    """The environment variables of a user whose home is read-only."""
    home = tmp_path / "home"
    home.mkdir(mode=0o500)
    # The administrator writes anywhere but there.
    place = Path("/sys") if os.access(home, os.W_OK) else home
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "HF_", "PYTHON"))}
    return {**ours, "HOME": str(place), "GRADIO_SERVER_PORT": str(free_port()), "PYTHONSAFEPATH": "1"}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the programs of an environment have other places there")
def test_it_runs_from_any_folder(installed: Path, surroundings: dict[str, str], tmp_path: Path, photo, painting):
    (tmp_path / "photo.png").write_bytes(Path(photo).read_bytes())
    (tmp_path / "painting.jpg").write_bytes(Path(painting).read_bytes())
    place = {"cwd": tmp_path, "env": surroundings}
    command = ["stylize", "photo.png", "painting.jpg", "-o", "command.png", "--method", "adain"]
    for program in ([installed / "python", "-c", USE_THE_API], [installed / "styleplugin", *command]):
        done = subprocess.run(program, **place, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "api.png") as api, Image.open(tmp_path / "command.png") as ours:
        assert api.size == ours.size == (128, 96) and api.tobytes() == ours.tobytes()

    with served([installed / "python", "-m", "gradio_app"], **place) as config:
        (gallery,) = (part["props"] for part in config["components"] if part["props"].get("elem_id") == "examples")
        shown = [picture["image"]["url"] for picture in gallery["value"]]
        assert len(shown) == 3
        for url in shown:
            with urllib.request.urlopen(url, timeout=30) as picture:
                assert picture.read(3) == b"\xff\xd8\xff"
