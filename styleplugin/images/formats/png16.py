"""PNG of 16 bits per sample, which Pillow would cut to 8.

Source: W3C PNG (third edition), sections 7 (pixel order and Adam7), 9 (filters) and 11 (chunks).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator

import numpy as np

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS_OF_COLOR_TYPE = {0: 1, 2: 3, 4: 2, 6: 4}
_COLOR_TYPE_OF_CHANNELS = {1: 0, 3: 2, 2: 4, 4: 6}

# Of each Adam7 pass: first row, first column, row step, column step. A picture that is not interlaced is one pass.
_ONE_PASS = ((0, 0, 1, 1),)
_ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))


def is_png16(data: bytes) -> bool:
    """Tell whether this is a PNG with 16 bits per sample."""
    return data.startswith(_SIGNATURE) and data[24:25] == b"\x10"


def decode_png16(data: bytes) -> np.ndarray:
    """Decode a PNG of 16 bits: (H, W, C) uint16 with C = 1, 2 (gray, alpha), 3 or 4.

    Raises:
        ValueError: The file breaks the format.
        zlib.error: Its data cannot be unpacked.
    """
    chunks: dict[bytes, bytes] = {}
    packed = []
    for kind, body in _chunks(data):
        if kind == b"IDAT":
            packed.append(body)
        else:
            chunks[kind] = body
    width, height, _, color_type, _, _, interlace = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    channels = _CHANNELS_OF_COLOR_TYPE[color_type]

    passes = [
        (rows, columns, -(-(height - row) // row_step), -(-(width - column) // column_step))
        for row, column, row_step, column_step in (_ADAM7 if interlace else _ONE_PASS)
        for rows, columns in [(slice(row, None, row_step), slice(column, None, column_step))]
        if row < height and column < width
    ]
    length = sum(rows * (1 + columns * channels * 2) for _, _, rows, columns in passes)
    stream = zlib.decompressobj().decompress(b"".join(packed), length)
    if len(stream) != length:
        raise ValueError(f"the pixel data has {len(stream)} of {length} bytes")

    samples = np.empty((height, width, channels), np.uint16)
    start = 0
    for row_slice, column_slice, rows, columns in passes:
        end = start + rows * (1 + columns * channels * 2)
        lines = np.frombuffer(stream[start:end], np.uint8).reshape(rows, -1)
        samples[row_slice, column_slice] = _unfilter(lines, channels * 2).view(">u2").reshape(rows, columns, channels)
        start = end
    return _with_transparent_color(samples, chunks[b"tRNS"]) if b"tRNS" in chunks else samples


def encode_png16(samples: np.ndarray, icc_profile: bytes, others: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    """Encode (H, W, C) uint16 with C = 1, 2, 3 or 4 as PNG, every row as its difference to the one above.

    Args:
        samples: The pixels.
        icc_profile: To embed.
        others: Kind and body of further chunks.
    """
    height, width, channels = samples.shape
    rows = samples.astype(">u2").view(np.uint8).reshape(height, -1)
    filtered = np.full((height, 1 + rows.shape[1]), 2, np.uint8)
    filtered[:, 1:] = np.diff(rows, axis=0, prepend=np.zeros((1, rows.shape[1]), np.uint8))
    header = struct.pack(">IIBBBBB", width, height, 16, _COLOR_TYPE_OF_CHANNELS[channels], 0, 0, 0)
    return b"".join(
        [
            _SIGNATURE,
            _chunk(b"IHDR", header),
            _chunk(b"iCCP", b"sRGB\0\0" + zlib.compress(icc_profile)),
            *(_chunk(kind, body) for kind, body in others),
            _chunk(b"IDAT", zlib.compress(filtered.tobytes())),
            _chunk(b"IEND", b""),
        ]
    )


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = len(_SIGNATURE)
    while position < len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        body = data[position + 8 : position + 8 + length]
        (checksum,) = struct.unpack_from(">I", data, position + 8 + length)
        if zlib.crc32(kind + body) != checksum:
            raise ValueError(f"the checksum of chunk {kind!r} is wrong")
        yield kind, body
        if kind == b"IEND":
            return
        position += 12 + length
    raise ValueError("the end mark is missing")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _unfilter(lines: np.ndarray, step: int) -> np.ndarray:
    """Undo the row filters: (H, 1 + W * step) uint8 to (H, W, step) uint8; step is the bytes of a pixel.

    A byte needs its neighbors to the left, above and above left, so a row cannot be done at once, but a diagonal can:
    H + W steps instead of H * W. In a grid with one row and column of zeros in front, a diagonal of the flat
    array is a slice.
    """
    kinds = lines[:, 0]
    if kinds.max() > 4:
        raise ValueError(f"row filter {kinds.max()} does not exist")
    height, width = len(lines), (lines.shape[1] - 1) // step
    grid = np.zeros((height + 1, width + 1, step), np.uint8)
    grid[1:, 1:] = lines[:, 1:].reshape(height, width, step)
    flat = grid.reshape(-1, step)
    for diagonal in range(height + width - 1):
        first = max(0, diagonal - width + 1)
        last = min(diagonal, height - 1)
        here = (first + 1) * (width + 1) + diagonal - first + 1
        count = last - first + 1

        def along(start: int, count: int = count) -> np.ndarray:
            return flat[start : start + (count - 1) * width + 1 : width]

        left, above, corner = along(here - 1), along(here - width - 1), along(here - width - 2)
        kind = kinds[first : last + 1, None]
        along(here)[:] += _predict(kind, left, above, corner)
    return np.ascontiguousarray(grid[1:, 1:])


def _predict(kind: np.ndarray, left: np.ndarray, above: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """Return what each filter kind (None, Sub, Up, Average, Paeth) adds to a byte."""
    a, b, c = (x.astype(np.int16) for x in (left, above, corner))
    to_a, to_b, to_c = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    paeth = np.where((to_a <= to_b) & (to_a <= to_c), a, np.where(to_b <= to_c, b, c))
    return np.select([kind == 0, kind == 1, kind == 2, kind == 3], [0 * a, a, b, (a + b) // 2], paeth).astype(np.uint8)


def _with_transparent_color(samples: np.ndarray, transparent: bytes) -> np.ndarray:
    """Add the alpha channel of a picture in which one color stands for transparent."""
    key = np.frombuffer(transparent, ">u2")
    visible = (samples != key).any(axis=-1, keepdims=True)
    return np.concatenate([samples, visible.astype(np.uint16) * 65535], axis=-1)
