"""Windows bitmaps packed by run lengths, of which Pillow misreads those of 4 bits.

Source: Microsoft, "Bitmap Compression" (BI_RLE4, BI_RLE8).
"""

from __future__ import annotations

import struct

import numpy as np

_RLE8, _RLE4 = 1, 2
_END_OF_LINE, _END, _DELTA = 0, 1, 2


def is_packed(data: bytes) -> bool:
    """Tell whether this is a bitmap with run lengths."""
    return data.startswith(b"BM") and len(data) >= 54 and struct.unpack_from("<I", data, 30)[0] in (_RLE8, _RLE4)


def decode(data: bytes) -> np.ndarray:
    """Decode a bitmap with run lengths: (H, W, 3) uint8.

    Raises:
        ValueError: The file is cut short or breaks the format.
    """
    try:
        offset, header, width, height = struct.unpack_from("<IIii", data, 10)
        compression, _, _, _, used = struct.unpack_from("<IIiiI", data, 30)
    except struct.error as error:
        raise ValueError("the header is cut short") from error
    bits = 4 if compression == _RLE4 else 8
    if width < 1 or height < 1:
        raise ValueError(f"its size is {width} x {height}")
    palette = np.zeros((256, 3), np.uint8)
    given = np.frombuffer(data, np.uint8, 4 * min(used or 1 << bits, 256, (offset - 14 - header) // 4), 14 + header)
    palette[: len(given) // 4] = given.reshape(-1, 4)[:, 2::-1]
    return palette[_runs(data[offset:], height, width, bits)[::-1]]


def _runs(data: bytes, height: int, width: int, bits: int) -> np.ndarray:
    """Unpack indices, (H, W) uint8 from the last row up; what the file jumps over is 0."""
    indices = np.zeros((height, width), np.uint8)
    place = x = y = 0
    while y < height:
        if place + 2 > len(data):
            break
        count, value = data[place : place + 2]
        place += 2
        if count:
            _put(indices[y], x, _spread(bytes([value]) * count, count, bits))
            x += count
        elif value == _END_OF_LINE:
            x, y = 0, y + 1
        elif value == _END:
            return indices
        elif value == _DELTA and place + 1 < len(data):
            x, y, place = x + data[place], y + data[place + 1], place + 2
        elif value > _DELTA:
            size = -(-value * bits // 8)
            if place + size > len(data):
                break
            _put(indices[y], x, _spread(data[place : place + size], value, bits))
            x, place = x + value, place + size + size % 2
        else:
            break
    if y < height and (y, x) != (height - 1, width):
        raise ValueError("the pixel data is cut short")
    return indices


def _spread(packed: bytes, count: int, bits: int) -> np.ndarray:
    """Return `count` indices of packed bytes, the higher half first."""
    values = np.frombuffer(packed, np.uint8)
    if bits == 4:
        values = np.stack([values >> 4, values & 15], -1).reshape(-1)
    return values[:count]


def _put(row: np.ndarray, x: int, values: np.ndarray) -> None:
    """Write indices into a row; what would be beyond its end is left out, as other programs do."""
    room = max(0, len(row) - x)
    row[x : x + len(values)] = values[:room]
