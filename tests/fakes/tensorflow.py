"""A writer of TensorFlow checkpoints in a few lines."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from styleplugin.loading.convert.tensorflow import masked_crc32c

HEADER = (b"", b"\x08\x01")
"""One data file."""


def varint(value: int) -> bytes:
    head = b""
    while value >= 128:
        head += bytes([value & 127 | 128])
        value >>= 7
    return head + bytes([value])


def entry(raw: bytes, shape: Iterable[int], offset: int, dtype: int = 1) -> bytes:
    dims = b"".join(b"\x12" + varint(len(d)) + d for d in (b"\x08" + varint(n) for n in shape))
    head = b"\x08" + varint(dtype) + b"\x12" + varint(len(dims)) + dims
    return (
        head + b"\x20" + varint(offset) + b"\x28" + varint(len(raw)) + b"\x35" + struct.pack("<I", masked_crc32c(raw))
    )


def block(items: list[tuple[bytes, bytes]], damage: Callable[[bytes], bytes] = bytes) -> bytes:
    """Join entries with shared beginnings of their keys, one restart point; the checksum is that of the damaged."""
    data, before = b"", b""
    for key, value in items:
        shared = 0
        while shared < min(len(key), len(before)) and key[shared] == before[shared]:
            shared += 1
        data += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    data = damage(data + struct.pack("<II", 0, 1))
    return data + b"\x00" + struct.pack("<I", masked_crc32c(data + b"\x00"))


def write_files(
    path: Path,
    items: list[tuple[bytes, bytes]],
    data: bytes = b"",
    *,
    per_block: int = 2,
    damage: Callable[[bytes], bytes] = bytes,
    repeat_blocks: bool = False,
) -> Path:
    table, index = b"", []
    for start in range(0, len(items), per_block):
        part = items[start : start + per_block]
        written = block(part, damage)
        index.append((part[-1][0], varint(len(table)) + varint(len(written) - 5)))
        table += written
    index *= 1 + repeat_blocks
    handles = b""
    for written in (block([]), block(index)):
        handles += varint(len(table)) + varint(len(written) - 5)
        table += written
    table += handles.ljust(40, b"\x00") + struct.pack("<Q", 0xDB4775248B80FB57)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(f"{path.stem}.data-00000-of-00001").write_bytes(data)
    path.write_bytes(table)
    return path


def write_checkpoint(path: Path, tensors: dict[str, np.ndarray], **options) -> Path:
    data, items = b"", [HEADER]
    for name, array in sorted(tensors.items()):
        dtype = 1 if array.dtype == np.float32 else 7
        items.append((name.encode(), entry(array.tobytes(), array.shape, len(data), dtype)))
        data += array.tobytes()
    return write_files(path, items, data, **options)
