"""Pickles that stand for more than any memory holds are refused by their opcodes."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from styleplugin.errors import WeightsError
from styleplugin.loading.convert import pickles
from styleplugin.loading.convert.pickles import check_pickle
from styleplugin.loading.convert.source import read_source

LEVELS = 60


def nested(levels: int) -> bytes:
    """Opcodes of a tuple of two equal tuples of two equal tuples..., without those of begin and end."""
    value: tuple = ()
    for _ in range(levels):
        value = (value, value)
    return pickle.dumps(value, 2)[2:-1]


def keyed(levels: int) -> bytes:
    """A dict with such a tuple for its key, which cannot be made without its hash."""
    return b"\x80\x02}" + nested(levels) + b"K\x01s."


def linked(levels: int) -> bytes:
    """Lists that are put into each other twice after they are remembered, from the outermost to the innermost."""
    made = b"".join(b"]q" + bytes([i]) + b"0" for i in range(levels))
    filled = b"".join(b"h%b(h%bh%be0" % (bytes([i]), bytes([i + 1]), bytes([i + 1])) for i in range(levels - 1))
    return b"\x80\x02" + made + filled + b"h\x00."


def archive(path: Path, data: bytes) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x/data.pkl", data)
        file.writestr("x/version", "3\n")


@pytest.mark.parametrize(
    ("data", "why"),
    [(keyed(LEVELS), "parts"), (linked(LEVELS), "shares containers"), (b"\x80\x02" + b"N0" * 2**18 + b"N.", "opcodes")],
)
def test_what_grows_without_bound_is_refused(data: bytes, why: str):
    with pytest.raises(ValueError, match=why):
        check_pickle(io.BytesIO(data))


def test_the_parts_of_a_value_are_counted_in_full(monkeypatch: pytest.MonkeyPatch):
    """A tuple of 4 levels has 31 parts; the value is one, and the dict counts when it is made and when it gets both."""
    monkeypatch.setattr(pickles, "MAX_PARTS", 34)
    assert check_pickle(io.BytesIO(keyed(4))) == len(list(pickles.pickletools.genops(keyed(4))))
    monkeypatch.setattr(pickles, "MAX_PARTS", 33)
    with pytest.raises(ValueError, match="parts"):
        check_pickle(io.BytesIO(keyed(4)))


@pytest.mark.parametrize("form", ["archive", "legacy"])
def test_pytorch_is_not_asked_to_read_them(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "x.pth"
    if form == "archive":
        archive(path, keyed(LEVELS))
    else:
        torch.save({}, path, _use_new_zipfile_serialization=False)
        data = path.read_bytes()
        path.write_bytes(data.replace(b"}q\x00.", keyed(LEVELS)[2:]))
        assert path.read_bytes() != data

    def asked(*_, **__):
        raise AssertionError("it is read")

    monkeypatch.setattr(torch, "load", asked)
    with pytest.raises(WeightsError) as caught:
        read_source(path)
    assert caught.value.code == "SP318" and type(caught.value.__cause__) is ValueError


@pytest.mark.parametrize("zipped", [False, True])
def test_a_state_dict_of_as_many_tensors_as_are_allowed_passes(zipped: bool, tmp_path: Path):
    path = tmp_path / "x.pth"
    torch.save({f"layer{i}.weight": torch.ones(2, 3) for i in range(300)}, path, _use_new_zipfile_serialization=zipped)
    assert len(read_source(path).tensors) == 300
    data = zipfile.ZipFile(path).read("x/data.pkl") if zipped else path.read_bytes()
    file = io.BytesIO(data)
    counts = [check_pickle(file) for _ in range(1 if zipped else 5)]
    assert max(counts) * 4096 / 300 < pickles.MAX_OPCODES
