"""TIFF files of every kind, written by the book: one directory, strips or tiles."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

GRAY, WHITE_IS_ZERO, RGB, CMYK, CIELAB = 1, 0, 2, 5, 8
NONE, LZW, DEFLATE = 1, 5, 8


def tiff(
    samples: np.ndarray,
    *,
    photometric: int | None = None,
    compression: int = NONE,
    predictor: int = 1,
    planar: bool = False,
    tile: int = 0,
    rows_per_strip: int = 3,
    extra: tuple[int, ...] = (),
    bits: int = 0,
    order: str = "<",
    big: bool = False,
    icc: bytes = b"",
    tags: tuple[tuple[int, int, tuple], ...] = (),
) -> bytes:
    """Encode (H, W, C) as TIFF; `bits` packs integers into fewer than their type has."""
    height, width, channels = samples.shape
    kind = {"u": 1, "i": 2, "f": 3}[samples.dtype.kind]
    if photometric is None:
        photometric = GRAY if channels < 3 else RGB
    planes = [samples[..., i : i + 1] for i in range(channels)] if planar else [samples]
    cells = [cell for plane in planes for cell in _cells(plane, tile, rows_per_strip)]
    packed = [_compress(_encode(cell, predictor, bits, order), compression) for cell in cells]
    head = 16 if big else 8
    body, offsets = b"", []
    for data in packed:
        offsets.append(head + len(body))
        body += data + b"\0" * (len(data) % 2)
    depth = bits or samples.dtype.itemsize * 8
    entries = [
        (256, 4, (width,)),
        (257, 4, (height,)),
        (258, 3, (depth,) * channels),
        (259, 3, (compression,)),
        (262, 3, (photometric,)),
        (277, 3, (channels,)),
        (284, 3, (2 if planar else 1,)),
        (317, 3, (predictor,)),
        (339, 3, (kind,) * channels),
        *tags,
    ]
    if tile:
        entries += [(322, 4, (tile,)), (323, 4, (tile,)), (324, 4, tuple(offsets)), (325, 4, tuple(map(len, packed)))]
    else:
        entries += [(273, 4, tuple(offsets)), (278, 4, (rows_per_strip,)), (279, 4, tuple(map(len, packed)))]
    if extra:
        entries.append((338, 3, extra))
    if icc:
        entries.append((34675, 7, tuple(icc)))
    return _file(body, sorted(entries), order, big)


def _cells(plane: np.ndarray, tile: int, rows_per_strip: int) -> list[np.ndarray]:
    height, width = plane.shape[:2]
    if not tile:
        return [plane[top : top + rows_per_strip] for top in range(0, height, rows_per_strip)]
    padded = np.pad(plane, ((0, -height % tile), (0, -width % tile), (0, 0)), mode="edge")
    return [
        padded[top : top + tile, left : left + tile]
        for top in range(0, padded.shape[0], tile)
        for left in range(0, padded.shape[1], tile)
    ]


def _encode(cell: np.ndarray, predictor: int, bits: int, order: str) -> bytes:
    size = cell.dtype.itemsize
    if bits:
        rows = (cell.reshape(len(cell), -1, 1) >> np.arange(bits)[::-1]) & 1
        return np.packbits(rows.reshape(len(cell), -1).astype(np.uint8), axis=1).tobytes()
    if predictor == 3:
        rows = cell.astype(f">f{size}").view(np.uint8).reshape(len(cell), -1, size).swapaxes(1, 2)
        rows = np.ascontiguousarray(rows).reshape(len(cell), -1, cell.shape[2])
        return np.diff(rows, axis=1, prepend=np.zeros_like(rows[:, :1])).tobytes()
    if predictor == 2:
        whole = cell.view(f"u{size}")
        cell = np.diff(whole, axis=1, prepend=np.zeros_like(whole[:, :1]))
    return cell.astype(cell.dtype.newbyteorder(order)).tobytes()


def _compress(data: bytes, compression: int) -> bytes:
    if compression == DEFLATE:
        return zlib.compress(data)
    if compression == LZW:
        buffer = io.BytesIO()
        Image.frombytes("L", (len(data), 1), data).save(buffer, "TIFF", compression="tiff_lzw")
        with Image.open(io.BytesIO(buffer.getvalue())) as image:
            (start,), (count,) = image.tag_v2[273], image.tag_v2[279]
        return buffer.getvalue()[start : start + count]
    return data


def _file(body: bytes, entries: list[tuple[int, int, tuple]], order: str, big: bool) -> bytes:
    head, letter, room = (16, "Q", 8) if big else (8, "I", 4)
    start = head + len(body)
    beyond = start + (8 if big else 2) + (20 if big else 12) * len(entries) + room
    table, values = struct.pack(order + ("Q" if big else "H"), len(entries)), b""
    for number, kind, numbers in entries:
        packed = struct.pack(f"{order}{len(numbers)}{ {3: 'H', 4: 'I', 7: 'B', 1: 'B'}[kind] }", *numbers)
        if len(packed) > room:
            place = struct.pack(order + letter, beyond + len(values))
            values += packed
        else:
            place = packed.ljust(room, b"\0")
        table += struct.pack(f"{order}HH{letter}", number, kind, len(numbers)) + place
    magic = b"II" if order == "<" else b"MM"
    if big:
        return magic + struct.pack(order + "HHHQ", 43, 8, 0, start) + body + table + bytes(8) + values
    return magic + struct.pack(order + "HI", 42, start) + body + table + bytes(4) + values
