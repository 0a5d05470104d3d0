"""The reader of TensorFlow checkpoints against files of our own writer, whole, damaged and forged."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from styleplugin.errors import WeightsError
from styleplugin.loading.convert.tensorflow import masked_crc32c, read_tensorflow

TENSORS = {
    "layer/0/bias": np.arange(5, dtype=np.float32),
    "layer/0/kernel": np.random.default_rng(0).normal(size=(3, 3, 2, 5)).astype(np.float32),
    "layer/1/bias": np.full((), 2.5, np.float32),
    "layer/1/kernel": np.zeros((1, 1, 5, 300), np.float32),
    "names": np.frombuffer(b"text", np.uint8),
}


@pytest.mark.parametrize("per_block", [1, 2, 10])
def test_a_checkpoint_is_read_whole(checkpoints, tmp_path, per_block):
    checkpoint = read_tensorflow(checkpoints.write(tmp_path / "model.index", TENSORS, per_block=per_block))
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


def test_W01_missing_and_damaged_files_are_named(checkpoints, tmp_path):
    path = checkpoints.write(tmp_path / "model.index", TENSORS)
    data = path.with_name("model.data-00000-of-00001")
    whole = data.read_bytes()
    data.write_bytes(whole[:-9])
    assert code_of(path) == "SP325"
    data.write_bytes(b"\x01" + whole[1:])
    assert code_of(path) == "SP325"
    data.unlink()
    assert code_of(path) == "SP301"


def zeros(checkpoints, *shape: int, raw: bytes = b"", offset: int = 0) -> bytes:
    return checkpoints.entry(raw, shape, offset)


FORGED = {
    "overlap": lambda c: [(b"a", zeros(c, 2, raw=bytes(8))), (b"b", zeros(c, 2, raw=bytes(8), offset=4))],
    "twice": lambda c: [(b"a", zeros(c, 1, raw=bytes(4))), (b"a", zeros(c, 1, raw=bytes(4), offset=4))],
    "beyond the data": lambda c: [(b"a", zeros(c, 0, offset=13))],
    "huge offset": lambda c: [(b"a", zeros(c, 0, offset=1 << 69))],
    "other shape": lambda c: [(b"a", zeros(c, 3, raw=bytes(8)))],
    "zero times huge": lambda c: [(b"a", zeros(c, 0, 1 << 69))],
    "many sides": lambda c: [(b"a", zeros(c, *[1] * 9, raw=bytes(4)))],
    "long name": lambda c: [(b"a" * 257, zeros(c, 1, raw=bytes(4)))],
    "control character": lambda c: [(b"\x1b", zeros(c, 1, raw=bytes(4)))],
    "not UTF-8": lambda c: [(b"\xff", zeros(c, 1, raw=bytes(4)))],
    "many tensors": lambda c: [(f"{i:05}".encode(), zeros(c, 0)) for i in range(4097)],
}


@pytest.mark.parametrize("forged", FORGED)
def test_W04_an_index_with_right_checksums_cannot_claim_more_than_there_is(checkpoints, tmp_path, forged):
    items = [checkpoints.header, *FORGED[forged](checkpoints)]
    assert code_of(checkpoints.write_files(tmp_path / "model.index", items, bytes(12), per_block=5000)) == "SP325"


@pytest.mark.parametrize("header", [b"", b"\x08\x02", b"\x08\x01\x10\x01"])
def test_several_data_files_and_big_endian_numbers_are_refused(checkpoints, tmp_path, header):
    assert code_of(checkpoints.write_files(tmp_path / "model.index", [(b"", header)])) == "SP325"


def test_a_block_with_more_restarts_than_bytes_is_not_empty_but_damaged(checkpoints, tmp_path):
    path = checkpoints.write(tmp_path / "model.index", TENSORS, damage=lambda data: data[:-4] + b"\xff\xff\xff\x7f")
    assert code_of(path) == "SP325"


def test_a_block_is_read_once(checkpoints, tmp_path):
    path = checkpoints.write_files(tmp_path / "model.index", [checkpoints.header], repeat_blocks=True)
    with pytest.raises(WeightsError, match="blocks overlap"):
        read_tensorflow(path)


def test_a_compressed_block_is_refused_as_such(checkpoints, tmp_path):
    path = checkpoints.write(tmp_path / "model.index", TENSORS, per_block=10)
    table = bytearray(path.read_bytes())
    trailer = table.index(b"\x00" * 4 + b"\x01\x00\x00\x00") + 8
    table[trailer] = 1
    path.write_bytes(table)
    with pytest.raises(WeightsError, match="compressed"):
        read_tensorflow(path)


def damaged(content: bytes, place: float, value: int, *, cut: bool) -> bytes:
    position = int(place * (len(content) - 1))
    return content[:position] if cut else content[:position] + bytes([value]) + content[position + 1 :]


damages = given(place=st.floats(0, 1), value=st.integers(0, 255), cut=st.booleans())


@settings(max_examples=150, deadline=None)
@damages
@pytest.mark.parametrize("name", ["model.index", "model.data-00000-of-00001"])
def test_W01_any_damage_is_a_weights_error(checkpoints, tmp_path_factory, name, place, value, cut):
    path = checkpoints.write(tmp_path_factory.mktemp("damaged") / "model.index", TENSORS)
    file = path.with_name(name)
    file.write_bytes(damaged(file.read_bytes(), place, value, cut=cut))
    try:
        read_tensorflow(path)
    except WeightsError as error:
        assert error.code == "SP325"


@settings(max_examples=300, deadline=None)
@damages
def test_W04_any_damage_with_right_checksums_is_a_weights_error(checkpoints, tmp_path_factory, place, value, cut):
    path = checkpoints.write(
        tmp_path_factory.mktemp("forged") / "model.index",
        TENSORS,
        per_block=10,
        damage=lambda data: damaged(data, place, value, cut=cut),
    )
    try:
        tensors = read_tensorflow(path).tensors
    except WeightsError as error:
        assert error.code in ("SP306", "SP325")
    else:
        assert sum(value.nbytes for value in tensors.values()) <= sum(value.nbytes for value in TENSORS.values())
