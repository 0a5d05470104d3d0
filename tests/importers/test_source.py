from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from styleplugin.checkpoint import Limits
from styleplugin.errors import WeightsError
from styleplugin.importers.source import read_source


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
