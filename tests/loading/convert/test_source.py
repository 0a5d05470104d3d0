from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from styleplugin.errors import WeightsError
from styleplugin.loading.convert.source import read_source
from styleplugin.tensorfile import Limits


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("pwned"),)


@pytest.mark.parametrize("wrap", [lambda sd: sd, lambda sd: {"epoch": 1, "model": sd}, lambda sd: {"state_dict": sd}])
@pytest.mark.parametrize("zipped", [False, True])
def test_state_dicts_are_read_bare_or_wrapped(wrap, zipped: bool, tmp_path: Path) -> None:
    state = {"a.weight": torch.ones(2, dtype=torch.float16), "steps": torch.tensor(3)}
    torch.save(wrap(state), tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    tensors = read_source(tmp_path / "x.pth").tensors
    assert set(tensors) == {"a.weight"}
    assert tensors["a.weight"].dtype == torch.float32


@pytest.mark.parametrize(
    "data",
    [b"", b"text", pickle.dumps({"a": 1}), pickle.dumps([1]), pickle.dumps({"model": Evil()}), b"PK\x03\x04" * 9],
)
def test_W11_other_pickles_are_refused_and_run_nothing(data: bytes, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.pth").write_bytes(data)
    with pytest.raises(WeightsError) as caught:
        read_source(tmp_path / "x.pth")
    assert caught.value.code == "SP318"
    assert not (tmp_path / "pwned").exists()


def test_W06_values_no_network_has_are_refused(tmp_path: Path) -> None:
    torch.save({"a.weight": torch.tensor([float("nan")])}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"a\.weight"):
        read_source(tmp_path / "x.pth")


def test_a_pickle_beyond_the_limit_is_not_opened(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(100)}, tmp_path / "x.pth")
    with pytest.raises(WeightsError) as caught:
        read_source(tmp_path / "x.pth", limits=Limits(header_bytes=100, file_bytes=100))
    assert caught.value.code == "SP304"


def expanded() -> torch.Tensor:
    """One value that claims to be 4 TB of them."""
    return torch.zeros(1).expand(1 << 20, 1 << 20)


@pytest.mark.parametrize(
    "state",
    [
        {"a": torch.ones(2, 2).to_sparse()},
        {"a": torch.empty(1 << 40, device="meta")},
        {"a": expanded()},
        {"a": torch.zeros(1).expand(100_000)},
        {"a" * 300: torch.ones(2)},
        {"": torch.ones(2)},
        {1: torch.ones(2)},
        {"a": 1},
        {f"a{i}": torch.ones(()) for i in range(4097)},
    ],
    ids=["sparse", "meta", "4 TB", "expanded", "long", "nameless", "number", "int", "many"],
)
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_tensors_that_hold_no_values_of_their_own_are_refused(tmp_path: Path, state, zipped: bool) -> None:
    torch.save(state, tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(WeightsError) as caught:
        read_source(tmp_path / "x.pth")
    assert caught.value.code == "SP318"


def test_an_archive_that_grows_when_it_is_read_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1 << 18)}, tmp_path / "x.pth")
    with (
        zipfile.ZipFile(tmp_path / "x.pth") as plain,
        zipfile.ZipFile(tmp_path / "y.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in plain.namelist():
            packed.writestr(name, plain.read(name))
    assert (tmp_path / "y.pth").stat().st_size < 10_000
    with pytest.raises(WeightsError) as caught:
        read_source(tmp_path / "y.pth")
    assert caught.value.code == "SP318"
