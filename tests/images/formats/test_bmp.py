from __future__ import annotations

import struct

import numpy as np
import pytest

from styleplugin.errors import InputImageError
from styleplugin.images.picture import to_array
from styleplugin.images.read import read_image

GRAYS = np.arange(16, dtype=np.uint8) * 16


def packed(width: int, height: int, data: bytes, bits: int) -> bytes:
    """Make a bitmap with run lengths and 16 grays."""
    palette = b"".join(bytes([gray, gray, gray, 0]) for gray in GRAYS)
    compression = 2 if bits == 4 else 1
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(data), 0, 0, 16, 16)
    offset = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + header + palette + data


# Name: bits, width, height, the packed data, and the indices of all rows, the first on top.
CASES = {
    "runs alternate": (4, 5, 2, [5, 0x12, 0, 0, 5, 0x34, 0, 1], [[3, 4, 3, 4, 3], [1, 2, 1, 2, 1]]),
    "literal, even": (4, 4, 1, [0, 4, 0x34, 0x56, 0, 1], [[3, 4, 5, 6]]),
    "literal, odd count": (4, 3, 1, [0, 3, 0x34, 0x50, 0, 1], [[3, 4, 5]]),
    "literal, padded": (4, 5, 1, [0, 5, 0x34, 0x56, 0x70, 0, 0, 1], [[3, 4, 5, 6, 7]]),
    "literal and run": (4, 6, 1, [0, 3, 0x34, 0x50, 3, 0x99, 0, 1], [[3, 4, 5, 9, 9, 9]]),
    "jump": (4, 6, 2, [2, 0x11, 0, 2, 1, 1, 2, 0x22, 0, 1], [[0, 0, 0, 2, 2, 0], [1, 1, 0, 0, 0, 0]]),
    "without an end mark": (4, 2, 2, [2, 0x11, 0, 0, 2, 0x22], [[2, 2], [1, 1]]),
    "8 bits": (8, 3, 2, [3, 7, 0, 0, 0, 3, 1, 2, 3, 0, 0, 1], [[1, 2, 3], [7, 7, 7]]),
    "8 bits, jump": (8, 6, 2, [2, 1, 0, 2, 1, 1, 2, 2, 0, 1], [[0, 0, 0, 2, 2, 0], [1, 1, 0, 0, 0, 0]]),
}


@pytest.mark.parametrize("name", CASES)
def test_run_lengths_are_unpacked_by_the_book(tmp_path, name):
    bits, width, height, data, indices = CASES[name]
    (tmp_path / "x.bmp").write_bytes(packed(width, height, bytes(data), bits))
    picture = read_image(tmp_path / "x.bmp")
    assert picture.warnings == ()
    np.testing.assert_array_equal(to_array(picture)[..., 0], GRAYS[np.array(indices)])


@pytest.mark.parametrize("bits", [4, 8])
def test_I03_run_lengths_that_end_too_early_are_refused(tmp_path, bits):
    data = packed(6, 3, bytes([6, 0x11, 0, 0, 0, 6, *range(6), 0, 0, 6, 0x22, 0, 1]), bits)
    for length in range(len(data) - 4):
        (tmp_path / "x.bmp").write_bytes(data[:length])
        with pytest.raises(InputImageError):
            read_image(tmp_path / "x.bmp")


def test_I04_other_bytes_never_crash(tmp_path):
    data = packed(6, 3, bytes([6, 0x11, 0, 0, 0, 6, *range(6), 0, 0, 6, 0x22, 0, 1]), 4)
    generator = np.random.default_rng(0)
    for _ in range(500):
        changed = bytearray(data)
        changed[generator.integers(2, len(data))] = generator.integers(256)
        (tmp_path / "x.bmp").write_bytes(bytes(changed))
        try:
            assert read_image(tmp_path / "x.bmp", max_megapixels=1).rgb.isfinite().all()
        except InputImageError:
            continue
