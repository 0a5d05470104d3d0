"""Robustness rows W01 to W07, W09, W11, W12 and W16: what a weights file may be."""

from __future__ import annotations

import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from styleplugin.errors import OutputError, WeightsError
from styleplugin.tensorfile import Limits, read_weights, write_weights

TENSORS = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.ones(4, dtype=torch.float16)}


def file_bytes(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype: str = "F32", shape: object = (1,), offsets: object = (0, 4)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.fixture
def refused(tmp_path: Path) -> Callable[..., WeightsError]:
    def refused(data: bytes, code: str, **options: object) -> WeightsError:
        path = tmp_path / "case.safetensors"
        path.write_bytes(data)
        with pytest.raises(WeightsError) as caught:
            read_weights(path, **options)  # type: ignore[arg-type]
        assert caught.value.code == code, caught.value
        return caught.value

    return refused


@pytest.fixture
def good(tmp_path: Path) -> bytes:
    write_weights(tmp_path / "good.safetensors", TENSORS, {"architecture": "vgg-pairs"})
    return (tmp_path / "good.safetensors").read_bytes()


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    sha256 = write_weights(tmp_path / "w.safetensors", TENSORS, {"license": "MIT"})
    weights = read_weights(tmp_path / "w.safetensors", require_metadata=True)
    assert weights.metadata == {"format": 1, "license": "MIT"}
    assert weights.sha256 == sha256
    assert weights.tensors["a"].dtype == torch.float16
    torch.testing.assert_close(weights.tensors, TENSORS)


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    names = [write_weights(tmp_path / f"{i}.safetensors", TENSORS, {"z": 1, "a": {"y": 2, "b": 3}}) for i in range(3)]
    names.append(write_weights(tmp_path / "r", dict(reversed(TENSORS.items())), {"a": {"b": 3, "y": 2}, "z": 1}))
    assert len(set(names)) == 1


def test_strided_and_shared_tensors_are_written(tmp_path: Path) -> None:
    base = torch.arange(24.0).reshape(2, 3, 4)
    tensors = {"t": base.transpose(0, 2), "s": base[0], "e": torch.ones(1).expand(5)}
    write_weights(tmp_path / "w.safetensors", tensors, {})
    torch.testing.assert_close(read_weights(tmp_path / "w.safetensors").tensors, tensors)


def test_an_existing_file_is_kept_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    write_weights(path, TENSORS, {})
    before = path.read_bytes()
    with pytest.raises(OutputError):
        write_weights(path, {}, {}, overwrite=False)
    assert path.read_bytes() == before


def test_a_file_of_other_origin_has_no_metadata(tmp_path: Path, refused: Callable[..., WeightsError]) -> None:
    data = safetensors.torch.save(TENSORS, {"info": "text"})
    (tmp_path / "w.safetensors").write_bytes(data)
    assert read_weights(tmp_path / "w.safetensors").metadata == {}
    refused(data, "SP307", require_metadata=True)


def test_W01_empty_short_and_trailing_files_are_refused(good: bytes, refused: Callable[..., WeightsError]) -> None:
    assert "empty" in str(refused(b"", "SP303"))
    refused(good[:4], "SP303")
    refused(good + b"\0", "SP303")
    for part in range(1, 16):
        refused(good[: len(good) * part // 16], "SP303")


def test_W01_a_tensor_that_the_library_cannot_read_is_refused(
    good: bytes, refused: Callable[..., WeightsError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So do old versions of it with a tensor without entries."""

    def load(data: bytes) -> None:
        raise ValueError("both buffer length (0) and count (-1) must not be 0")

    monkeypatch.setattr(safetensors.torch, "load", load)
    refused(good, "SP303")


def test_W01_a_path_that_is_no_file_is_refused_without_blocking(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "absent", tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(WeightsError, match="file is needed") as caught:
            read_weights(path)
        assert caught.value.code == "SP301"


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), min_size=1, max_size=4), cut=st.integers(0, 300)
)
def test_W01_damaged_bytes_are_read_or_refused_and_nothing_else(
    tmp_path: Path, good: bytes, edits: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(good)
    for place, value in edits:
        data[place % len(data)] = value
    (tmp_path / "w.safetensors").write_bytes(data[: len(data) - cut % 3])
    try:
        weights = read_weights(tmp_path / "w.safetensors")
    except WeightsError:
        return
    assert all(value.isfinite().all() for value in weights.tensors.values())


def test_W02_an_oversized_header_is_refused_before_it_is_parsed(refused: Callable[..., WeightsError]) -> None:
    refused(struct.pack("<Q", 1 << 63) + b"{}", "SP304")
    refused(struct.pack("<Q", (1 << 20) + 1) + b"{" + b"!" * (1 << 20), "SP304")
    refused(file_bytes({}, b"\0" * 100), "SP304", limits=Limits(header_bytes=100, file_bytes=50))


def test_W02_a_deeply_nested_header_is_refused(refused: Callable[..., WeightsError]) -> None:
    refused(file_bytes(b'{"a":' * 100_000), "SP303")


def test_W03_too_many_tensors_and_bad_names_are_refused(refused: Callable[..., WeightsError]) -> None:
    refused(file_bytes({str(i): entry(shape=[0], offsets=[0, 0]) for i in range(5000)}), "SP304")
    for name in ("", "x" * 257, "a\nb", "a\0b", "\ud800"):
        refused(file_bytes({name: entry()}, b"\0" * 4), "SP303")


@pytest.mark.parametrize(
    "wrong",
    [
        entry(offsets=[4, 8]),
        entry(offsets=[4, 0]),
        entry(offsets=[-4, 0]),
        entry(offsets=[0, 8]),
        entry(offsets=[0]),
        entry(offsets=[0.0, 4.0]),
        entry(offsets=[False, 4]),
        entry(offsets="04"),
        entry(shape=[-1]),
        entry(shape=[1 << 62, 1 << 62]),
        entry(shape=[1] * 9),
        entry(shape={"0": 1}),
        entry(shape=[True]),
        [],
        None,
        {"dtype": "F32", "shape": [1]},
        entry() | {"extra": 1},
    ],
)
def test_W04_impossible_places_and_shapes_are_refused(wrong: object, refused: Callable[..., WeightsError]) -> None:
    refused(file_bytes({"x": wrong}, b"\0" * 4), "SP303")


def test_W04_overlap_gap_and_disorder_are_refused(refused: Callable[..., WeightsError]) -> None:
    for second in ([0, 4], [2, 6], [5, 9], [8, 12]):
        refused(file_bytes({"a": entry(offsets=[0, 4]), "b": entry(offsets=second)}, b"\0" * 12), "SP303")
    refused(file_bytes({"a": entry(offsets=[4, 8]), "b": entry(offsets=[0, 4])}, b"\0" * 8), "SP303")


def test_W05_duplicated_names_are_refused(refused: Callable[..., WeightsError]) -> None:
    one = json.dumps(entry()).encode()
    refused(file_bytes(b'{"a":' + one + b',"a":' + one + b"}", b"\0" * 4), "SP303")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1.1e4, -1.1e4])
def test_W06_values_no_network_has_are_refused_by_name(
    value: float, tmp_path: Path, refused: Callable[..., WeightsError]
) -> None:
    tensors = {"fine": torch.ones(3), "broken.weight": torch.tensor([0.0, value])}
    assert "broken.weight" in str(refused(safetensors.torch.save(tensors), "SP306"))
    with pytest.raises(WeightsError, match=r"broken\.weight"):
        write_weights(tmp_path / "w.safetensors", tensors, {})
    assert not (tmp_path / "w.safetensors").exists()


@pytest.mark.parametrize("dtype", ["I64", "U8", "BOOL", "F8_E4M3", "F8_E5M2", "C64", "float32", None, 7, []])
def test_W07_only_floating_point_is_accepted(dtype: object, refused: Callable[..., WeightsError]) -> None:
    assert "x.weight" in str(refused(file_bytes({"x.weight": entry(dtype)}, b"\0" * 4), "SP305"))  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "[]", "7", '{"format":0}', '{"format":true}', '{"format":1,"format":1}', "{NaN}"])
def test_W09_malformed_metadata_is_refused(text: str, refused: Callable[..., WeightsError]) -> None:
    refused(safetensors.torch.save(TENSORS, {"styleplugin": text}), "SP307")


def test_W09_a_newer_format_is_refused_with_the_version_needed(refused: Callable[..., WeightsError]) -> None:
    data = safetensors.torch.save(TENSORS, {"styleplugin": '{"format":2}'})
    assert "format 2" in str(refused(data, "SP308"))


def test_W09_metadata_must_be_strings(refused: Callable[..., WeightsError]) -> None:
    for metadata in ({"styleplugin": {"format": 1}}, [], "x"):
        refused(file_bytes({"__metadata__": metadata}), "SP303")


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"PK\x03\x04" + b"\0" * 20, "zip"),
        (pickle.dumps({"weight": list(range(20))}, protocol=2), "pickle"),
        (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "pickle"),
        (b"\x08\x07\x12\x07pytorch\x1a\x05", "ONNX"),
        (b"\x89HDF\r\n\x1a\n\0\0\0\0", "HDF5"),
        (b"\x04\0\0\0\x01\0\0\0\x03\0\0\0V 1", "not a safetensors"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git lfs pull"),
    ],
)
def test_W11_W12_other_formats_are_refused_by_their_first_bytes(
    data: bytes, kind: str, refused: Callable[..., WeightsError]
) -> None:
    assert kind in str(refused(data, "SP302"))


def test_W12_a_header_of_640_bytes_is_not_taken_for_a_pickle(tmp_path: Path) -> None:
    data = file_bytes(json.dumps({"x": entry()}).ljust(640).encode(), b"\0" * 4)
    assert data.startswith(pickle.PROTO + b"\x02")
    (tmp_path / "w.safetensors").write_bytes(data)
    assert read_weights(tmp_path / "w.safetensors").tensors["x"].shape == (1,)


def test_W16_a_file_replaced_while_it_is_read_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "w.safetensors"
    sha256 = write_weights(path, TENSORS, {"license": "MIT"})
    real = json.loads

    def replace_then_parse(*args: object, **options: object) -> object:
        path.write_bytes(safetensors.torch.save({"evil": torch.zeros(1)}))
        return real(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(json, "loads", replace_then_parse)
    weights = read_weights(path)
    assert weights.sha256 == sha256
    assert set(weights.tensors) == set(TENSORS)
