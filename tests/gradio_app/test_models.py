"""The models that the page offers."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gradio_app import models
from styleplugin.errors import HubError, StylePluginError, UsageError, WeightsError
from styleplugin.loading.index import weights_folder

pytestmark = pytest.mark.filterwarnings("ignore::styleplugin.StylePluginWarning")


@pytest.fixture(autouse=True)
def none_of_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_own", {})


def test_the_methods_own_models_come_first():
    assert [name for _, name in models.models_of("wct", "kbstyle")][:2] == ["cd-wct.x16", "kbstyle.200k"]


def test_a_model_of_the_owner_is_offered_last_by_its_plain_name(tmp_path: Path):
    path = tmp_path / "mine.safetensors"
    shutil.copy(weights_folder() / "kbstyle.200k-fp16.safetensors", path)
    models.admit(f"file:{path}")
    assert models.models_of("adain", "kbstyle")[-1] == ("mine", f"file:{path}")
    assert models.models_of("photorealistic")[-1][1] == "pca-photo.mobilenet"
    assert models.loaded(f"file:{path}").info.method == "kbstyle"


def test_G07_a_visitor_names_no_model_that_is_not_listed(tmp_path: Path):
    for name in (f"file:{weights_folder() / 'kbstyle.200k.safetensors'}", f"hub:a/b@{'0' * 40}", "../x"):
        with pytest.raises(UsageError, match="no model"):
            models.loaded(name)


def test_a_hub_model_is_labeled_by_file_and_repository():
    assert models._label(f"hub:me/x@{'0' * 40}/y.safetensors#{'1' * 64}") == "y.safetensors of me/x"
    assert models._label(f"hub:me/x@{'0' * 40}") == "me/x of me/x"


@pytest.mark.parametrize("source", ["hub:a/b@main", "nothing", "file:/nowhere.safetensors"])
def test_a_model_that_cannot_be_used_is_refused_at_the_start(source: str):
    with pytest.raises(StylePluginError) as caught:
        models.admit(source)
    assert isinstance(caught.value, (HubError, WeightsError))


@pytest.mark.slow
def test_the_command_says_why_a_model_is_refused():
    command = [sys.executable, "-m", "gradio_app", "--model", "hub:a/b@main"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=120)
    assert done.returncode == 2 and "SP407" in done.stderr
