from __future__ import annotations

import io
import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from styleplugin.errors import InputImageError, StylePluginWarning
from styleplugin.images.color.profiles import SRGB_PROFILE
from styleplugin.images.formats.png16 import decode_png16, encode_png16, is_png16
from styleplugin.images.picture import Picture, to_array
from styleplugin.images.read import read_image, to_picture
from styleplugin.images.write import write_image

ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
quick = settings(max_examples=30, deadline=None)


def noise(height: int, width: int, channels: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 65536, (height, width, channels)).astype(np.uint16)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def filter_rows(samples: np.ndarray, kinds: list[int]) -> bytes:
    """Filter row by row, straight from the definitions of the PNG specification."""
    height, width, channels = samples.shape
    step = channels * 2
    rows = samples.astype(">u2").view(np.uint8).reshape(height, -1).astype(int)
    above, packed = np.zeros(width * step, int), b""
    for row, kind in zip(rows, kinds, strict=True):
        left = np.concatenate([np.zeros(step, int), row[:-step]])
        corner = np.concatenate([np.zeros(step, int), above[:-step]])
        guess = left + above - corner
        paeth = [
            min((a, b, c), key=lambda x, p=p: abs(p - x)) for a, b, c, p in zip(left, above, corner, guess, strict=True)
        ]
        predicted = [0 * row, left, above, (left + above) // 2, np.array(paeth)][kind]
        packed += bytes([kind]) + ((row - predicted) % 256).astype(np.uint8).tobytes()
        above = row
    return packed


def png16(samples: np.ndarray, kind: int | None = None, *, interlaced: bool = False, extra: bytes = b"") -> bytes:
    height, width, channels = samples.shape
    passes = [samples[r::rs, c::cs] for r, c, rs, cs in ADAM7] if interlaced else [samples]
    rows = b"".join(
        filter_rows(part, [y % 5 if kind is None else kind for y in range(len(part))]) for part in passes if part.size
    )
    color_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, color_type, 0, 0, interlaced)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


@quick
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 4), st.booleans())
def test_I15_all_filters_and_orders_decode_exactly(height, width, channels, interlaced):
    samples = noise(height, width, channels)
    np.testing.assert_array_equal(decode_png16(png16(samples, interlaced=interlaced)), samples)


@pytest.mark.parametrize("kind", range(5))
def test_I15_each_filter_agrees_with_pillow(kind):
    samples = noise(9, 7, 3)
    data = png16(samples, kind)
    high_bytes = np.asarray(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(decode_png16(data) >> 8, high_bytes)


@quick
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 4))
def test_D10_encoding_then_decoding_is_exact(height, width, channels):
    samples = noise(height, width, channels)
    data = encode_png16(samples, SRGB_PROFILE)
    assert is_png16(data)
    np.testing.assert_array_equal(decode_png16(data), samples)


def test_D10_pillow_reads_what_we_encode():
    samples = noise(9, 7, 3)
    with Image.open(io.BytesIO(encode_png16(samples, SRGB_PROFILE))) as image:
        np.testing.assert_array_equal(np.asarray(image), samples >> 8)
        assert image.info["icc_profile"] == SRGB_PROFILE


def test_I15_a_16_bit_ramp_survives_reading_and_writing(tmp_path):
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    samples = np.stack([ramp, ramp[::-1], ramp.T], axis=-1)
    (tmp_path / "in.png").write_bytes(png16(samples, 1))

    picture = read_image(tmp_path / "in.png")
    assert picture.bits == 16 and not picture.warnings
    write_image(picture, tmp_path / "out.png")
    np.testing.assert_array_equal(to_array(read_image(tmp_path / "out.png")), samples)


def test_I15_gray_and_alpha_of_16_bits(tmp_path):
    samples = noise(5, 6, 2)
    (tmp_path / "in.png").write_bytes(png16(samples))
    picture = read_image(tmp_path / "in.png")
    array = to_array(picture)
    np.testing.assert_array_equal(array[..., 0], samples[..., 0])
    np.testing.assert_array_equal(array[..., 3], samples[..., 1])


def test_I13_the_transparent_color_becomes_alpha(tmp_path):
    samples = noise(3, 3, 3)
    extra = chunk(b"tRNS", samples[1, 1].astype(">u2").tobytes())
    (tmp_path / "in.png").write_bytes(png16(samples, extra=extra))
    alpha = read_image(tmp_path / "in.png").alpha
    assert alpha is not None and alpha[0, 0, 1, 1] == 0 and alpha.sum() == 8


def test_I03_png16_cut_anywhere_is_refused(tmp_path):
    data = png16(noise(8, 8, 3))
    path = tmp_path / "cut.png"
    for length in [*range(1, len(data), len(data) // 16), *range(len(data) - 12, len(data))]:
        path.write_bytes(data[:length])
        with pytest.raises(InputImageError):
            read_image(path)


def test_I04_png16_with_a_flipped_byte_is_refused_or_read(tmp_path):
    data = png16(noise(8, 8, 3))
    path = tmp_path / "bad.png"
    for position in range(8, len(data), 7):
        path.write_bytes(data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :])
        with suppress(InputImageError):
            assert read_image(path).rgb.isfinite().all()


def test_I07_a_size_without_data_is_refused(tmp_path):
    header = struct.pack(">IIBBBBB", 13000, 13000, 16, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
    (tmp_path / "hollow.png").write_bytes(data)
    with pytest.raises(InputImageError, match="cut short"):
        read_image(tmp_path / "hollow.png")


def test_a_filter_that_does_not_exist_is_refused():
    bad = bytearray(filter_rows(noise(2, 2, 3), [0, 0]))
    bad[0] = 9
    header = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)
    data = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(bad))) + chunk(b"IEND", b"")
    )
    with pytest.raises(ValueError, match="row filter 9"):
        decode_png16(data)


def test_float_arrays_are_written_with_8_bits_and_uint16_with_16(tmp_path):
    for samples, bits in ((np.full((2, 2, 3), 0.5), 8), (np.full((2, 2, 3), 9000, np.uint16), 16)):
        write_image(to_picture(samples), tmp_path / f"{bits}.png")
        assert read_image(tmp_path / f"{bits}.png").bits == bits


def test_I16_float_picture_is_written_with_16_bits_and_says_so(tmp_path):
    picture = to_picture(np.full((2, 2, 3), 0.5))
    with pytest.warns(StylePluginWarning, match="16 bits"):
        write_image(Picture(picture.rgb * 3, bits=32), tmp_path / "float.png")
    assert to_array(read_image(tmp_path / "float.png")).min() == 65535
