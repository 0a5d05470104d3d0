"""Robustness rows W13, W15 and W18: names of models, and the files behind them."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from fakes.hub import FakeHub, running

from styleplugin.errors import HubError, OutputError, StylePluginWarning, WeightsError
from styleplugin.loading import index
from styleplugin.loading.build import save_model
from styleplugin.loading.convert.source import read_source
from styleplugin.networks.pairs import Pair, PairModel
from styleplugin.tensorfile import read_weights


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_weights: Path) -> Path:
    """A weights folder with the model `cd-wct.tiny`, in place of the embedded one."""
    folder = tmp_path / "site" / "styleplugin" / "weights"
    folder.mkdir(parents=True)
    (folder / index.INDEX).write_text('{"models": []}')
    monkeypatch.setattr(index, "files", lambda package: folder.parent)
    index.add_to_index(tiny_weights, "cd-wct.tiny", description="A random model.")
    return folder


def code_of(source: str | Path, **options: bool) -> str:
    with pytest.raises((WeightsError, HubError)) as caught:
        index.load(source, **options)  # type: ignore[arg-type]
    return caught.value.code


def test_a_listed_model_loads_by_its_name(weights: Path, tiny_model: PairModel) -> None:
    [entry] = index.list_models()
    assert (entry.name, entry.method, entry.license) == ("cd-wct.tiny", "wct", "MIT")
    assert entry.metrics == {"psnr": 12.5}
    for source in ("cd-wct.tiny", "builtin:cd-wct.tiny"):
        model, info = index.load(source)
        assert info.name == "cd-wct.tiny"
        assert info.sha256 == entry.sha256
        torch.testing.assert_close(model.state_dict(), tiny_model.state_dict())


def test_adding_a_model_again_replaces_it(weights: Path, tmp_path: Path, make_pair: Callable[..., Pair]) -> None:
    save_model(tmp_path / "other.safetensors", PairModel("adain", [make_pair(4)]), license="CC0-1.0")
    index.add_to_index(tmp_path / "other.safetensors", "cd-wct.tiny")
    [entry] = index.list_models()
    assert (entry.method, entry.license) == ("adain", "CC0-1.0")
    assert index.load("cd-wct.tiny")[1].levels == (4,)


def test_verify_runs_a_listed_model(weights: Path) -> None:
    assert index.verify("cd-wct.tiny").levels == (3, 2, 1)


def test_verify_finds_a_network_that_overflows(weights: Path, tmp_path: Path, tiny_model: PairModel) -> None:
    for parameter in tiny_model.parameters():
        parameter.fill_(9999)
    save_model(tmp_path / "w.safetensors", tiny_model, license="MIT")
    index.add_to_index(tmp_path / "w.safetensors", "huge")
    with pytest.raises(WeightsError) as caught:
        index.verify("huge")
    assert caught.value.code == "SP317"


def test_a_known_file_loads_by_path_in_any_spelling(weights: Path) -> None:
    path = weights / "cd-wct.tiny.safetensors"
    for source in (path, str(path), f"file:{path}"):
        assert index.load(source)[1].name == "cd-wct.tiny"


def test_a_file_is_known_by_its_extension_in_upper_case_too(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "OLD.SAFETENSORS"
    path.write_bytes((weights / "cd-wct.tiny.safetensors").read_bytes())
    assert index.load(str(path))[1].method == "wct"
    assert index.architecture_of(path) == index.architecture_of(weights / "cd-wct.tiny.safetensors") is not None
    assert read_source(path).tensors


def test_unknown_names_are_answered_with_close_ones(weights: Path) -> None:
    with pytest.raises(WeightsError, match=r"Did you mean cd-wct\.tiny") as caught:
        index.load("cd-wct.tinny")
    assert caught.value.code == "SP314"
    with pytest.raises(WeightsError, match=r"Known models: cd-wct\.tiny"):
        index.load("zzz")


def test_a_hub_id_without_its_prefix_is_answered_with_the_spellings(weights: Path) -> None:
    with pytest.raises(WeightsError, match="hub:OWNER/REPO@REVISION"):
        index.load("someone/some-model")


def test_W13_a_listed_file_with_other_content_is_refused(weights: Path, tiny_model: PairModel) -> None:
    save_model(weights / "cd-wct.tiny.safetensors", tiny_model, license="changed")
    assert code_of("cd-wct.tiny") == "SP313"
    assert code_of("cd-wct.tiny", allow_unknown=True) == "SP313"


def test_W13_unknown_local_files_need_permission_and_warn(weights: Path, tmp_path: Path, tiny_model: PairModel) -> None:
    path = tmp_path / "own.safetensors"
    save_model(path, tiny_model, license="mine")
    assert code_of(path) == "SP313"
    with pytest.warns(StylePluginWarning, match="not in the list"):
        _, info = index.load(path, allow_unknown=True)
    assert info.license == "mine"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_weights: Path) -> Iterator[FakeHub]:
    """A Hub with one model, which the client takes for its own, and an empty cache."""
    pytest.importorskip("huggingface_hub", reason="needs the extra styleplugin[hub]")
    original = index.hub.download
    with running(tiny_weights.read_bytes()) as server:
        place = {"endpoint": server.url, "cache_dir": tmp_path / "cache"}
        monkeypatch.setattr(index.hub, "download", lambda source, **options: original(source, **options, **place))
        yield server


SOURCE = f"hub:a/b@{'0' * 40}/x.safetensors"


def test_a_model_of_the_hub_is_loaded_once_its_content_is_checked(weights: Path, hub: FakeHub) -> None:
    _, info = index.load(SOURCE)
    assert info.name == "a/b/x" and info.sha256 == hub.etag
    hub.status = 503
    assert index.load(f"{SOURCE}#{hub.etag}")[1].sha256 == hub.etag
    assert code_of(f"{SOURCE}#{'0' * 64}") == "SP406"


def test_pull_checks_a_model_and_puts_a_copy_where_it_is_asked_to(weights: Path, hub: FakeHub, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    path = index.pull(SOURCE, folder)
    assert path.name == "a--b--x.safetensors" and path.read_bytes() == hub.content
    assert index.pull(SOURCE, folder) == path
    path.write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists"):
        index.pull(SOURCE, folder)
    with pytest.raises(OutputError, match="not a weights file"):
        index.pull(SOURCE, folder, overwrite=True)
    assert path.read_bytes() == b"mine"
    path.write_bytes((weights / "cd-wct.tiny.safetensors").read_bytes())
    assert index.pull(SOURCE, folder, overwrite=True).read_bytes() == hub.content
    with pytest.raises(WeightsError, match="not on the Hub"):
        index.pull("cd-wct.tiny")


def test_pull_keeps_nothing_that_is_no_model(weights: Path, hub: FakeHub, tmp_path: Path) -> None:
    hub.content = b"no weights at all"
    hub.etag = hashlib.sha256(hub.content).hexdigest()
    with pytest.raises(WeightsError):
        index.pull(SOURCE, tmp_path)
    assert not list(tmp_path.glob("*--*"))


@pytest.mark.parametrize(
    "name",
    [
        *("../x", "..", ".", "", "/etc/passwd", "C:\\x", "\\\\host\\x", "x\0", "a/b", "CD-WCT.tiny", "cd-wct.tiny "),
        *("file", "~/x", "%2e%2e/x", "cd-wct.tiny/", "hub:../x@main", "con:"),
    ],
)
def test_W15_names_that_could_leave_the_folder_are_refused(name: str, weights: Path) -> None:
    assert code_of(f"builtin:{name}") in ("SP314", "SP315")
    assert code_of(name) in ("SP314", "SP315", "SP407")


@pytest.mark.parametrize(
    "name", ["../x", "..", ".", "", "/etc/passwd", "C:\\x", "x\0", "sub/x", "X.SAFETENSORS", "link"]
)
def test_W15_a_folder_gives_only_its_own_files(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    (folder / "sub").mkdir(parents=True)
    for path in (tmp_path / "x", folder / "x.safetensors", folder / "sub" / "x"):
        path.write_text("x")
    (folder / "link").symlink_to(tmp_path / "x")
    assert index.file_in(folder, "x.safetensors").read_text() == "x"
    with pytest.raises(WeightsError) as caught:
        index.file_in(folder, name)
    assert caught.value.code == "SP315"


def test_W15_a_listed_file_may_not_lie_elsewhere(weights: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.safetensors"
    shutil.move(weights / "cd-wct.tiny.safetensors", outside)
    (weights / "cd-wct.tiny.safetensors").symlink_to(outside)
    assert code_of("cd-wct.tiny") == "SP315"


def test_W15_a_weights_folder_may_itself_be_a_link(weights: Path, tmp_path: Path) -> None:
    weights.rename(tmp_path / "elsewhere")
    weights.symlink_to(tmp_path / "elsewhere")
    index.load("cd-wct.tiny")


def test_W18_a_missing_file_is_named_with_the_command_that_helps(weights: Path) -> None:
    (weights / "cd-wct.tiny.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"cd-wct\.tiny\.safetensors.*--force-reinstall") as caught:
        index.load("cd-wct.tiny")
    assert caught.value.code == "SP316"


@pytest.mark.parametrize("text", [None, "", "[]", '{"models": 7}', '{"models": [{"name": "x"}]}'])
def test_W18_a_missing_or_damaged_list_is_named(text: str | None, weights: Path) -> None:
    (weights / index.INDEX).unlink()
    if text is not None:
        (weights / index.INDEX).write_text(text)
    assert code_of("cd-wct.tiny") == "SP316"


def test_the_folder_in_the_package_comes_before_the_one_beside_it(weights: Path) -> None:
    beside = weights.parents[1] / "weights"
    shutil.copytree(weights, beside)
    assert index.weights_folder() == weights
    (weights / index.INDEX).unlink()
    assert index.weights_folder() == beside


def test_every_embedded_model_is_listed_and_whole() -> None:
    folder = index.weights_folder()
    entries = [*index.list_models(), *index.list_metrics()]
    assert {entry.file for entry in entries} == {path.name for path in folder.glob("*.safetensors")}
    for entry in entries:
        assert read_weights(folder / entry.file, require_metadata=True).sha256 == entry.sha256
    assert sum((folder / entry.file).stat().st_size for entry in entries) < 8_000_000


def test_the_list_is_sorted_and_ends_with_a_newline(weights: Path, tiny_weights: Path) -> None:
    index.add_to_index(tiny_weights, "a.first")
    text = (weights / index.INDEX).read_text()
    assert [model["name"] for model in json.loads(text)["models"]] == ["a.first", "cd-wct.tiny"]
    assert text.endswith("]\n}\n")


@pytest.mark.slow
def test_the_zoo_is_imported_without_the_hub_client() -> None:
    program = "import sys, styleplugin.loading.index; sys.exit('huggingface_hub' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])
