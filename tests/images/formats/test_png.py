from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from styleplugin.errors import InputImageError
from styleplugin.images.formats.png16 import decode_png16, encode_png16
from styleplugin.images.picture import to_array
from styleplugin.images.read import picture_size, read_image

P3_POINTS = (0.3127, 0.3290, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
SRGB_POINTS = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)


def scene() -> np.ndarray:
    rows, columns = np.mgrid[:24, :32]
    return np.stack([rows * 7 + 20, columns * 5 + 30, rows * 3 + columns * 2], -1).astype(np.uint8)


def with_chunks(data: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG with more chunks behind its header."""
    packed = b""
    for kind, body in chunks:
        packed += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return data[:33] + packed + data[33:]


def png(samples: np.ndarray, *chunks: tuple[bytes, bytes]) -> bytes:
    if samples.dtype == np.uint16:
        data = encode_png16(samples, b"")
        # Without the profile, which is the second chunk.
        length = 12 + struct.unpack(">I", data[33:37])[0]
        return with_chunks(data[:33] + data[33 + length :], *chunks)
    buffer = io.BytesIO()
    Image.fromarray(samples).save(buffer, "PNG")
    return with_chunks(buffer.getvalue(), *chunks)


def gama(exponent: float) -> tuple[bytes, bytes]:
    return b"gAMA", struct.pack(">I", round(exponent * 1e5))


def chrm(points: tuple[float, ...]) -> tuple[bytes, bytes]:
    return b"cHRM", struct.pack(">8I", *(round(value * 1e5) for value in points))


def read(tmp_path, data: bytes, **options):
    (tmp_path / "x.png").write_bytes(data)
    return read_image(tmp_path / "x.png", **options)


def expected(samples: np.ndarray, exponent: float | None, points: tuple[float, ...]) -> np.ndarray:
    """Convert by the definitions of both spaces, under one white."""
    values = samples / np.iinfo(samples.dtype).max
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    if exponent is not None:
        linear = values ** (1 / exponent)

    def matrix(points: tuple[float, ...]) -> np.ndarray:
        white, *primaries = [np.array([x / y, 1, (1 - x - y) / y]) for x, y in zip(*[iter(points)] * 2, strict=True)]
        columns = np.stack(primaries, -1)
        return columns * np.linalg.solve(columns, white)

    linear = (linear @ (np.linalg.inv(matrix(SRGB_POINTS)) @ matrix(points)).T).clip(0, 1)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("deep", [False, True])
def test_gamma_and_primaries_are_applied(tmp_path, deep):
    samples = scene().astype(np.uint16) * 257 if deep else scene()
    for exponent, points in ((1.0, None), (1 / 1.8, None), (None, P3_POINTS), (1 / 1.8, P3_POINTS)):
        chunks = [] if exponent is None else [gama(exponent)]
        chunks += [] if points is None else [chrm(points)]
        picture = read(tmp_path, png(samples, *chunks))
        assert picture.warnings == () and picture.bits == (16 if deep else 8)
        np.testing.assert_allclose(
            picture.rgb[0].movedim(0, -1), expected(samples, exponent, points or SRGB_POINTS), atol=1 / 255
        )


def test_the_usual_gamma_and_primaries_stand_for_srgb(tmp_path):
    for chunks in ([gama(1 / 2.2)], [chrm(SRGB_POINTS)], [gama(0.45455), chrm(SRGB_POINTS)], [(b"sRGB", b"\0")]):
        np.testing.assert_array_equal(to_array(read(tmp_path, png(scene(), *chunks))), scene())


def test_gray_has_a_gamma_and_no_primaries(tmp_path):
    gray = scene()[..., 0]
    picture = read(tmp_path, png(gray, gama(1.0), chrm(P3_POINTS)))
    np.testing.assert_allclose(
        picture.rgb[0, 0], expected(gray[..., None].repeat(3, 2), 1.0, SRGB_POINTS)[..., 0], atol=1 / 255
    )


@pytest.mark.parametrize("deep", [False, True])
def test_cicp_is_applied_and_goes_first(tmp_path, deep):
    samples = scene().astype(np.uint16) * 257 if deep else scene()
    p3 = expected(samples, None, P3_POINTS)
    for chunks in (
        [(b"cICP", bytes([12, 13, 0, 1]))],
        [(b"cICP", bytes([12, 13, 0, 1])), gama(1.0), chrm(SRGB_POINTS)],
    ):
        picture = read(tmp_path, png(samples, *chunks))
        np.testing.assert_allclose(picture.rgb[0].movedim(0, -1), p3, atol=1 / 255)
    plain = read(tmp_path, png(samples, (b"cICP", bytes([1, 13, 0, 1])), gama(1.0)))
    np.testing.assert_array_equal(to_array(plain), samples)


def test_a_profile_or_srgb_goes_before_gamma_and_primaries(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    iccp = (b"iCCP", b"x\0\0" + zlib.compress(profile))
    for chunk in (iccp, (b"sRGB", b"\0")):
        picture = read(tmp_path, png(scene(), chunk, gama(1.0), chrm(P3_POINTS)))
        np.testing.assert_array_equal(to_array(picture), scene())


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_high_dynamic_range_is_refused_by_its_name(tmp_path, transfer, name):
    for samples in (scene(), scene().astype(np.uint16)):
        with pytest.raises(InputImageError, match=name) as caught:
            read(tmp_path, png(samples, (b"cICP", bytes([9, transfer, 0, 1]))))
        assert caught.value.code == "SP206"


@pytest.mark.parametrize(
    "chunk", [(b"cICP", bytes([77, 13, 0, 1])), (b"cICP", bytes([1, 13, 5, 1])), gama(0.0), chrm((0.1,) * 8)]
)
def test_color_spaces_that_do_not_exist_are_ignored_with_a_note(tmp_path, chunk):
    picture = read(tmp_path, png(scene(), chunk))
    np.testing.assert_array_equal(to_array(picture), scene())
    assert "ignored" in picture.warnings[0]


def texts(size: int) -> list[tuple[bytes, bytes]]:
    packed = zlib.compress(bytes(size))
    return [
        (b"zTXt", b"key\0\0" + packed),
        (b"iTXt", b"key\0\1\0\0\0" + packed),
        (b"tEXt", b"key\0" + b"x" * min(size, 3_000_000)),
    ]


def test_I08_large_texts_are_dropped_with_a_note_and_small_ones_without(tmp_path):
    for chunk in texts(80_000_000):
        picture = read(tmp_path, png(scene(), chunk))
        np.testing.assert_array_equal(to_array(picture), scene())
        assert "text" in picture.warnings[0], chunk[0]
    assert read(tmp_path, png(scene(), *texts(1000))).warnings == ()


def test_I08_many_texts_below_the_limit_are_no_error(tmp_path):
    picture = read(tmp_path, png(scene(), *[texts(1_000_000)[0]] * 100))
    np.testing.assert_array_equal(to_array(picture), scene())


def test_I20_a_large_profile_is_applied_and_a_huge_one_dropped_with_a_note(tmp_path):
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for size, notes in ((2_000_000, 0), (20_000_000, 1)):
        padded = profile + bytes(size - len(profile))
        padded[:4] = struct.pack(">I", size)
        picture = read(tmp_path, png(scene(), (b"iCCP", b"x\0\0" + zlib.compress(bytes(padded)))))
        np.testing.assert_array_equal(to_array(picture), scene())
        assert len(picture.warnings) == notes


def test_damaged_metadata_is_dropped_with_a_note(tmp_path):
    for chunk in ((b"iCCP", b"x\0\0garbage"), (b"zTXt", b"key\0\0garbage"), (b"iCCP", b"")):
        picture = read(tmp_path, png(scene(), chunk))
        np.testing.assert_array_equal(to_array(picture), scene())
        assert "damaged" in picture.warnings[0]


def test_texts_do_not_disturb_deep_pictures(tmp_path):
    samples = scene().astype(np.uint16) * 200
    data = png(samples, *texts(3_000_000))
    np.testing.assert_array_equal(decode_png16(data), samples)
    np.testing.assert_array_equal(to_array(read(tmp_path, data)), samples)


@pytest.mark.parametrize("behind", [False, True])
def test_no_pixel_is_decoded_for_the_header_and_exif_may_stand_behind_the_pixels(tmp_path, monkeypatch, behind):
    turned = Image.Exif()
    turned[0x0112] = 6
    data = png(scene())
    exif = with_chunks(data, (b"eXIf", turned.tobytes().removeprefix(b"Exif\0\0")))[33 : -len(data) + 33]
    (tmp_path / "x.png").write_bytes(data[:-12] + exif + data[-12:] if behind else data[:33] + exif + data[33:])
    assert read_image(tmp_path / "x.png").size == (32, 24)
    monkeypatch.setattr(Image.Image, "load", lambda image: pytest.fail("it was decoded"))
    assert picture_size(tmp_path / "x.png") == (24, 32)
