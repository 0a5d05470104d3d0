"""A writer of checkpoints in a few lines, and the reader against it, whole and damaged."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from styleplugin.errors import WeightsError
from styleplugin.importers.tensorflow import masked_crc32c, read_tensorflow


def varint(value: int) -> bytes:
    head = b""
    while value >= 128:
        head += bytes([value & 127 | 128])
        value >>= 7
    return head + bytes([value])


def entry(array: np.ndarray, offset: int, dtype: int = 1) -> bytes:
    raw = array.tobytes()
    dims = b"".join(b"\x12" + varint(len(d)) + d for d in (b"\x08" + varint(n) for n in array.shape))
    head = b"\x08" + varint(dtype) + b"\x12" + varint(len(dims)) + dims
    return (
        head + b"\x20" + varint(offset) + b"\x28" + varint(len(raw)) + b"\x35" + struct.pack("<I", masked_crc32c(raw))
    )


def block(items: list[tuple[bytes, bytes]]) -> bytes:
    """Join entries with shared beginnings of their keys, one restart point."""
    data, before = b"", b""
    for key, value in items:
        shared = 0
        while shared < min(len(key), len(before)) and key[shared] == before[shared]:
            shared += 1
        data += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    data += struct.pack("<II", 0, 1)
    return data + b"\x00" + struct.pack("<I", masked_crc32c(data + b"\x00"))


def write(folder: Path, tensors: dict[str, np.ndarray], *, per_block: int = 2) -> Path:
    data, items = b"", [(b"", b"\x08\x01")]
    for name, array in sorted(tensors.items()):
        items.append((name.encode(), entry(array, len(data), 1 if array.dtype == np.float32 else 7)))
        data += array.tobytes()
    table, index = b"", []
    for start in range(0, len(items), per_block):
        part = items[start : start + per_block]
        written = block(part)
        index.append((part[-1][0], varint(len(table)) + varint(len(written) - 5)))
        table += written
    meta, handles = block([]), b""
    for written in (meta, block(index)):
        handles += varint(len(table)) + varint(len(written) - 5)
        table += written
    table += handles.ljust(40, b"\x00") + struct.pack("<Q", 0xDB4775248B80FB57)
    (folder / "model.data-00000-of-00001").write_bytes(data)
    (folder / "model.index").write_bytes(table)
    return folder / "model.index"


TENSORS = {
    "layer/0/bias": np.arange(5, dtype=np.float32),
    "layer/0/kernel": np.random.default_rng(0).normal(size=(3, 3, 2, 5)).astype(np.float32),
    "layer/1/bias": np.full((), 2.5, np.float32),
    "layer/1/kernel": np.zeros((1, 1, 5, 300), np.float32),
    "names": np.frombuffer(b"text", np.uint8),
}


@pytest.mark.parametrize("per_block", [1, 2, 10])
def test_a_checkpoint_is_read_whole(tmp_path, per_block):
    checkpoint = read_tensorflow(write(tmp_path, TENSORS, per_block=per_block))
    assert set(checkpoint.tensors) == set(TENSORS) - {"names"}
    for name, value in checkpoint.tensors.items():
        torch.testing.assert_close(value, torch.tensor(TENSORS[name]), rtol=0, atol=0)
    assert set(checkpoint.sha256) == {"model.index", "model.data-00000-of-00001"}


def test_the_checksum_is_crc_32c():
    crc = 0xE3069283  # of "123456789", RFC 3720
    assert masked_crc32c(b"123456789") == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def code_of(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        read_tensorflow(path)
    return caught.value.code


def test_W11_missing_and_damaged_files_are_named(tmp_path):
    path = write(tmp_path, TENSORS)
    data = path.with_name("model.data-00000-of-00001")
    whole = data.read_bytes()
    data.write_bytes(whole[:-9])
    assert code_of(path) == "SP319"
    data.write_bytes(b"\x01" + whole[1:])
    assert code_of(path) == "SP319"
    data.unlink()
    assert code_of(path) == "SP301"


@settings(max_examples=150, deadline=None)
@given(place=st.floats(0, 1), value=st.integers(0, 255), cut=st.booleans())
def test_any_damage_to_the_index_is_a_weights_error(tmp_path_factory, place, value, cut):
    path = write(tmp_path_factory.mktemp("damaged"), TENSORS)
    content = bytearray(path.read_bytes())
    position = int(place * (len(content) - 1))
    if cut:
        content = content[:position]
    elif content[position] == value:
        return
    else:
        content[position] = value
    path.write_bytes(content)
    try:
        read_tensorflow(path)
    except WeightsError as error:
        assert error.code == "SP319"
