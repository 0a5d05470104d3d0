"""The names that the host lists and takes, against stand-ins of its modules."""

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfy_nodes.logic.interface import LOOK_SUFFIX, MODEL_SUFFIX, STYLE_SUFFIX, check_inside
from styleplugin.errors import OutputError


def save_image_path(prefix: str, root: str) -> tuple[str, str, int, str, str]:
    """What a host answers whose own check some other pack has taken away."""
    given = Path(os.path.normpath(prefix))
    return str(Path(root) / given.parent), given.name, 1, "", prefix


@pytest.fixture
def host(tmp_path, monkeypatch):
    listed = ["b/OLD.CUBE", "a.cube", "notes.txt", "mine.STYLE.safetensors", "student.safetensors"]
    paths = SimpleNamespace(
        get_filename_list=lambda key: listed,
        get_full_path=lambda key, name: f"{key}/{name}",
        get_output_directory=lambda: str(tmp_path),
        get_save_image_path=save_image_path,
    )
    parts = ("model_management", "model_patcher", "utils")
    stand_ins = {name: ModuleType(name) for name in ("comfy", *(f"comfy.{part}" for part in parts))}
    stand_ins |= {"folder_paths": paths, "server": SimpleNamespace(PromptServer=None)}
    for name, module in stand_ins.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "comfy_nodes.host", raising=False)
    for part in parts:
        setattr(stand_ins["comfy"], part, stand_ins[f"comfy.{part}"])
    yield importlib.import_module("comfy_nodes.host").ComfyHost()
    sys.modules.pop("comfy_nodes.host", None)


def test_suffixes_in_capitals_are_listed_and_found(host):
    assert host.files(LOOK_SUFFIX) == ["b/OLD.CUBE", "a.cube"]
    assert host.files(STYLE_SUFFIX) == ["mine.STYLE.safetensors"]
    assert "mine.STYLE.safetensors" not in host.files(MODEL_SUFFIX)
    assert host.path("b/OLD.CUBE") == Path("luts/b/OLD.CUBE")


@pytest.mark.parametrize(
    "prefix", ["../away", "a/../../away", "/away", "link/away", "tab\tname", "line\nname", "nul\0name"]
)
def test_D12_no_prefix_leads_out_of_the_output_folder(host, tmp_path, prefix):
    (tmp_path / "link").symlink_to(tmp_path.parent)
    with pytest.raises(OutputError) as caught:
        host.save_path(prefix, ".cube")
    assert caught.value.code == "SP603"


@pytest.mark.parametrize("prefix", ["look", "luts/look", "luts/%date%", "%date:yyyy-MM-dd%", "..", "a/../b", "wärme 2"])
def test_D12_other_prefixes_stay_in_it(host, tmp_path, prefix):
    assert host.save_path(prefix, ".cube").resolve().is_relative_to(tmp_path)


@given(parts=st.lists(st.one_of(st.just(".."), st.text(max_size=8)), max_size=5))
def test_D12_a_name_stays_inside_or_is_refused(tmp_path_factory, parts):
    root = tmp_path_factory.getbasetemp()
    try:
        path = check_inside(root, root / "/".join(parts) / "look_00001_.cube")
    except OutputError as error:
        assert error.code == "SP603"
    else:
        assert root in path.resolve().parents
