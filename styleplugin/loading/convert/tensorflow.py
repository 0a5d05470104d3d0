"""TensorFlow checkpoints (format V2) without TensorFlow: the float32 tensors of an `.index` and `.data` pair.

The index is a sorted table in the layout of LevelDB; each value describes where a tensor lies in the data file.

Source: the published formats of LevelDB tables, of TensorFlow's tensor bundle (`tensor_bundle.proto`) and of CRC-32C
(RFC 3720, appendix B.4).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from styleplugin.errors import WeightsError
from styleplugin.files import check_regular_file
from styleplugin.tensorfile import MAX_NAME, MAX_TENSORS, TEACHER, check_values

_FOOTER_BYTES = 48
_MAGIC = 0xDB4775248B80FB57
_FLOAT32 = 1
_MASK_DELTA = 0xA282EAD8
_TRAILER_BYTES = 5
"""Behind each block: its compression and its checksum."""


@dataclass(frozen=True, kw_only=True)
class TensorFlowCheckpoint:
    """The float32 tensors of a checkpoint."""

    tensors: dict[str, Tensor]
    """In TensorFlow's own layout, on the CPU."""
    sha256: dict[str, str]
    """Of its two files, by name."""


def read_tensorflow(index: str | Path) -> TensorFlowCheckpoint:
    """Read a checkpoint; tensors of other types than float32 are left out.

    Args:
        index: The `.index` file; `.data-00000-of-00001` lies beside it.

    Raises:
        WeightsError: SP301, a file is missing; SP304, one is too large; SP306, a value is not finite; SP325, the files
            are damaged or of another format.
    """
    index = Path(index)
    data_file = index.with_name(f"{index.stem}.data-00000-of-00001")
    table, data = _read_once(index, TEACHER.header_bytes), _read_once(data_file, TEACHER.file_bytes)
    try:
        entries = _read_entries(table, len(data))
        tensors = {name: entry.tensor(data) for name, entry in entries.items() if entry.dtype == _FLOAT32}
    except (_DamagedError, OverflowError, ValueError) as error:
        raise WeightsError(
            "SP325",
            f"{index.name} and {data_file.name} are no whole TensorFlow checkpoint ({error}).",
            "Get the files again; both must come from one checkpoint of format V2.",
        ) from error
    check_values(tensors, index.name, TEACHER)
    hashes = {path.name: hashlib.sha256(content).hexdigest() for path, content in ((index, table), (data_file, data))}
    return TensorFlowCheckpoint(tensors=tensors, sha256=hashes)


class _DamagedError(Exception):
    """What is wrong with a file."""


def _read_once(path: Path, limit: int) -> bytes:
    check_regular_file(path, WeightsError, "SP301")
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise WeightsError("SP301", f"{path} cannot be read: {error.strerror}.") from error
    if len(data) > limit:
        raise WeightsError("SP304", f"{path.name} is larger than the {limit >> 20} MB that are allowed.")
    return data


@dataclass(frozen=True, kw_only=True)
class _Entry:
    """Where a tensor lies: the message BundleEntryProto."""

    dtype: int
    shape: tuple[int, ...]
    offset: int
    size: int
    checksum: int

    @classmethod
    def parse(cls, message: bytes) -> _Entry:
        values: dict[int, int] = {}
        shape: list[int] = []
        for field, value in _fields(message):
            if field == 2 and isinstance(value, bytes):
                shape = [_dimension(part) for number, part in _fields(value) if number == 2 and isinstance(part, bytes)]
            elif isinstance(value, int):
                values[field] = value
        return cls(
            dtype=values.get(1, 0),
            shape=tuple(shape),
            offset=values.get(4, 0),
            size=values.get(5, 0),
            checksum=values.get(6, 0),
        )

    def tensor(self, data: bytes) -> Tensor:
        if len(self.shape) > 8 or 4 * prod(self.shape) != self.size:
            raise _DamagedError("a tensor's size and shape disagree")
        raw = data[self.offset : self.offset + self.size]
        if masked_crc32c(raw) != self.checksum:
            raise _DamagedError("the checksum of a tensor is wrong")
        return torch.from_numpy(np.frombuffer(raw, "<f4").astype(np.float32).reshape(self.shape))


def _dimension(message: bytes) -> int:
    return next((value for field, value in _fields(message) if field == 1 and isinstance(value, int)), 0)


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the fields of a protocol buffer: number, and an integer or the bytes of a message."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        match tag & 7:
            case 0:
                value, position = _varint(message, position)
                yield tag >> 3, value
            case 2:
                size, position = _varint(message, position)
                yield tag >> 3, _slice(message, position, size)
                position += size
            case 5:
                yield tag >> 3, int.from_bytes(_slice(message, position, 4), "little")
                position += 4
            case kind:
                raise _DamagedError(f"a field of the unknown kind {kind}")


def _read_entries(table: bytes, data_bytes: int) -> dict[str, _Entry]:
    """Return what an index holds, by name; the tensors lie in the data without overlap."""
    entries: dict[str, _Entry] = {}
    header: dict[int, int | bytes] = {}
    last = None
    for key, value in _read_table(table):
        if last is not None and key <= last:
            raise _DamagedError("its names are not in order")
        last = key
        if not key:
            header = dict(_fields(value))
        elif len(entries) == MAX_TENSORS or not key.decode().isprintable():
            raise _DamagedError(f"it has more than {MAX_TENSORS} tensors, or a name that cannot be printed")
        else:
            entries[key.decode()] = _Entry.parse(value)
    if header.get(1) != 1 or header.get(2, 0) != 0:
        raise _DamagedError("it does not say that it has one data file of little-endian numbers")
    end = 0
    for entry in sorted(entries.values(), key=lambda entry: entry.offset):
        if entry.offset < end:
            raise _DamagedError("two tensors overlap")
        end = entry.offset + entry.size
        if end > data_bytes:
            raise _DamagedError(f"its tensors need {end} bytes, {data_bytes} are there")
    return entries


def _read_table(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a LevelDB table."""
    footer = _slice(table, len(table) - _FOOTER_BYTES, _FOOTER_BYTES)
    if int.from_bytes(footer[-8:], "little") != _MAGIC:
        raise _DamagedError("the end of the index is not that of a table")
    position = 0
    handles = []
    for _ in range(4):
        value, position = _varint(footer, position)
        handles.append(value)
    end = 0
    for _, handle in _read_block(table, handles[2:]):
        offset, position = _varint(handle, 0)
        size, _ = _varint(handle, position)
        if offset < end:
            raise _DamagedError("its blocks overlap")
        end = offset + size + _TRAILER_BYTES
        yield from _read_block(table, (offset, size))


def _read_block(table: bytes, handle: Sequence[int]) -> Iterator[tuple[bytes, bytes]]:
    offset, size = handle
    block, trailer = _slice(table, offset, size), _slice(table, offset + size, _TRAILER_BYTES)
    if trailer[0]:
        raise _DamagedError("a block is compressed, which checkpoints are not")
    if masked_crc32c(block + trailer[:1]) != int.from_bytes(trailer[1:], "little"):
        raise _DamagedError("the checksum of a block is wrong")
    restarts = int.from_bytes(_slice(block, size - 4, 4), "little")
    entries, position, key = _slice(block, 0, size - 4 * (restarts + 1)), 0, b""
    while position < len(entries):
        shared, position = _varint(entries, position)
        fresh, position = _varint(entries, position)
        length, position = _varint(entries, position)
        if shared > len(key) or shared + fresh > MAX_NAME:
            raise _DamagedError(f"a name shares more than there is, or is longer than {MAX_NAME} bytes")
        key = key[:shared] + _slice(entries, position, fresh)
        yield key, _slice(entries, position + fresh, length)
        position += fresh + length


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Return an integer of seven bits a byte, and the position behind it."""
    value = 0
    for shift in range(0, 70, 7):
        [byte] = _slice(data, position, 1)
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise _DamagedError("an integer does not end")


def _slice(data: bytes, start: int, size: int) -> bytes:
    if start < 0 or size < 0 or start + size > len(data):
        raise _DamagedError("it ends too early")
    return data[start : start + size]


def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_CRC_TABLE = _crc_table()


def masked_crc32c(data: bytes) -> int:
    """Return the CRC-32C of data as these files store it, rotated and shifted."""
    crc = 0xFFFFFFFF
    table = _CRC_TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF
