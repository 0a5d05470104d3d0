"""Profiles of deep pictures, and what files say that their colors are; LittleCMS, through Pillow, is the other way."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from fakes.tiff import tiff
from PIL import Image, ImageCms

from styleplugin.images.color.profiles import SRGB_PROFILE
from styleplugin.images.formats.png16 import encode_png16
from styleplugin.images.picture import to_array
from styleplugin.images.read import read_image
from styleplugin.images.write import write_image

Point = tuple[float, float, float]


def xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in values))


def power(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"


def table(gamma: float, count: int = 1024) -> bytes:
    values = np.rint((np.arange(count) / (count - 1)) ** gamma * 65535).astype(">u2")
    return b"curv\0\0\0\0" + struct.pack(">I", count) + values.tobytes()


def parametric(kind: int, *values: float) -> bytes:
    return (
        b"para\0\0\0\0"
        + struct.pack(">HH", kind, 0)
        + struct.pack(f">{len(values)}i", *(round(v * 65536) for v in values))
    )


SRGB_CURVE = parametric(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def profile(points: tuple[Point, Point, Point] | None, curve: bytes) -> bytes:
    """Make an ICC profile of three primaries (XYZ under D50) or of gray, and a curve."""
    text = b"desc\0\0\0\0" + struct.pack(">I", 2) + b"x\0" + bytes(78)
    tags = {b"desc": text + bytes(-len(text) % 4), b"wtpt": xyz(0.9642, 1, 0.8249)}
    if points is None:
        tags |= {b"kTRC": curve}
    else:
        tags |= {name: xyz(*point) for name, point in zip((b"rXYZ", b"gXYZ", b"bXYZ"), points, strict=True)}
        tags |= {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    directory, body, offset = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, value in tags.items():
        value += bytes(-len(value) % 4)
        directory += name + struct.pack(">II", offset + len(body), len(value))
        body += value
    colors = b"GRAY" if points is None else b"RGB "
    header = struct.pack(">I4sI4s4s4s", offset + len(body), bytes(4), 0x04200000, b"mntr", colors, b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061) + bytes(48)
    return header + directory + body


P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
PROPHOTO = ((0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03134, 0.00009, 0.82491))
PROFILES = {
    "Display P3": profile(P3, SRGB_CURVE),
    "Adobe RGB": profile(ADOBE, power(563 / 256)),
    "ProPhoto": profile(PROPHOTO, power(1.8)),
    "ProPhoto, table": profile(PROPHOTO, table(1.8)),
    "P3, power with offset": profile(P3, parametric(1, 2.2, 1.0, 0.0)),
    "P3, gamma": profile(P3, parametric(0, 2.2)),
    "P3, all seven": profile(P3, parametric(4, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045, 0.0, 0.0)),
}


def colors() -> np.ndarray:
    """All colors of a grid, (H, W, 3) uint8."""
    axis = np.linspace(0, 255, 17).round().astype(np.uint8)
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(17, -1, 3)


def through_lcms(image: Image.Image, icc: bytes) -> np.ndarray:
    source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    converted = ImageCms.profileToProfile(
        image,
        source,
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION | ImageCms.Flags.NOOPTIMIZE,
    )
    assert converted is not None
    return np.asarray(converted)


def deep_file(kind: str, samples: np.ndarray, icc: bytes) -> bytes:
    return encode_png16(samples, icc) if kind == "png" else tiff(samples, icc=icc)


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("kind", ["png", "tif"])
def test_I19_deep_pictures_are_converted_as_those_of_8_bits(tmp_path, kind, name):
    samples, icc = colors(), PROFILES[name]
    path = tmp_path / f"x.{kind}"
    path.write_bytes(deep_file(kind, samples.astype(np.uint16) * 257, icc))
    picture = read_image(path)
    assert picture.bits == 16 and picture.warnings == ()
    wanted = through_lcms(Image.fromarray(samples), icc)
    assert np.abs(to_array(picture) / 257 - wanted).max() <= 1
    assert np.abs(wanted.astype(int) - samples).max() > 20, "the profile must matter"
    assert to_array(picture)[-1, -1].tolist() == [65535] * 3


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_I19_deep_gray_is_converted_by_its_curve(tmp_path, kind):
    ramp, icc = np.arange(256, dtype=np.uint8)[None], profile(None, power(1.0))
    path = tmp_path / f"x.{kind}"
    path.write_bytes(deep_file(kind, ramp.astype(np.uint16)[..., None] * 257, icc))
    assert np.abs(to_array(read_image(path)) / 257 - through_lcms(Image.fromarray(ramp), icc)).max() <= 1


def test_I19_deep_alpha_is_no_color(tmp_path):
    samples = np.concatenate([colors(), np.full((17, 289, 1), 77, np.uint8)], -1).astype(np.uint16) * 257
    (tmp_path / "x.png").write_bytes(encode_png16(samples, PROFILES["ProPhoto"]))
    picture = to_array(read_image(tmp_path / "x.png"))
    assert (picture[..., 3] == 77 * 257).all()
    assert np.abs(picture[..., :3] / 257 - through_lcms(Image.fromarray(colors()), PROFILES["ProPhoto"])).max() <= 1


def test_I19_a_deep_picture_in_some_edition_of_srgb_stays_exactly(tmp_path):
    samples = np.random.default_rng(0).integers(0, 65536, (9, 7, 3)).astype(np.uint16)
    for kind in ("png", "tif"):
        (tmp_path / f"x.{kind}").write_bytes(deep_file(kind, samples, SRGB_PROFILE))
        np.testing.assert_array_equal(to_array(read_image(tmp_path / f"x.{kind}")), samples)


def test_I19_float_colors_outside_srgb_are_kept(tmp_path):
    green = np.zeros((2, 2, 3), np.float32)
    green[..., 1] = 1
    (tmp_path / "x.tif").write_bytes(tiff(green, icc=PROFILES["Display P3"]))
    # P3's green in sRGB, from the chromaticities of both: linear (-0.2249, 1.0421, -0.0786).
    expected = [-0.5117, 1.0183, -0.3106]
    np.testing.assert_allclose(read_image(tmp_path / "x.tif").rgb[0, :, 0, 0], expected, atol=2e-3)


def test_I19_a_table_profile_is_applied_with_8_bits_and_a_note(tmp_path):
    plain = profile(PROPHOTO, power(1.8))
    count = struct.unpack(">I", plain[128:132])[0]
    lut = b"mft1\0\0\0\0\3\3\2\0" + struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    ramp = bytes(range(256))
    grid = np.stack(np.meshgrid(*[[0, 128]] * 3, indexing="ij"), -1).astype(np.uint8)
    lut += ramp * 3 + grid.tobytes() + ramp * 3
    offset = len(plain) + 12
    shifted = b"".join(
        plain[132 + 12 * i : 136 + 12 * i]
        + struct.pack(">I", struct.unpack(">I", plain[136 + 12 * i : 140 + 12 * i])[0] + 12)
        + plain[140 + 12 * i : 144 + 12 * i]
        for i in range(count)
    )
    icc = plain[:128] + struct.pack(">I", count + 1) + shifted + b"A2B0" + struct.pack(">II", offset, len(lut))
    icc = icc + plain[132 + 12 * count :] + lut
    icc = struct.pack(">I", len(icc)) + icc[4:]
    samples = colors()
    (tmp_path / "x.png").write_bytes(encode_png16(samples.astype(np.uint16) * 257, icc))
    picture = read_image(tmp_path / "x.png")
    assert any("table" in note for note in picture.warnings)
    Image.fromarray(samples).save(tmp_path / "y.png", icc_profile=icc)
    np.testing.assert_array_equal(to_array(picture), to_array(read_image(tmp_path / "y.png")))
    assert np.abs(to_array(picture) - samples.astype(int)).max() > 20


@pytest.mark.parametrize("icc", [b"garbage" * 40, PROFILES["ProPhoto"][:200], profile(None, power(1.0))])
def test_I19_a_profile_that_is_broken_or_of_other_colors_is_ignored_with_a_note(tmp_path, icc):
    samples = colors().astype(np.uint16) * 257
    for kind in ("png", "tif"):
        (tmp_path / f"x.{kind}").write_bytes(deep_file(kind, samples, icc))
        picture = read_image(tmp_path / f"x.{kind}")
        np.testing.assert_array_equal(to_array(picture), samples)
        assert "profile" in picture.warnings[0]


@pytest.mark.parametrize("extension", [".png", ".jpg", ".webp", ".tif"])
@pytest.mark.parametrize("name", ["sRGB", "Display P3", "ProPhoto"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.filterwarnings("ignore:.*written with 8 bits")
def test_every_file_says_what_its_pixels_are(tmp_path, extension, name, mode, deep):
    curves = {"sRGB": SRGB_CURVE, "Display P3": SRGB_CURVE, "ProPhoto": power(1.8)}
    if mode == "L":
        icc, patches = profile(None, curves[name]), np.linspace(0, 255, 27).astype(np.uint8)[None]
    else:
        icc = SRGB_PROFILE if name == "sRGB" else PROFILES[name]
        patches = colors()[::8, ::36].copy()
    samples = patches.repeat(16, 0).repeat(16, 1)
    image = Image.fromarray(samples)
    seen = through_lcms(image, icc)
    if deep:
        (tmp_path / "in.png").write_bytes(
            encode_png16(samples.reshape(*samples.shape[:2], -1).astype(np.uint16) * 257, icc)
        )
    else:
        image.save(tmp_path / "in.png", icc_profile=icc)
    write_image(read_image(tmp_path / "in.png"), tmp_path / f"out{extension}", quality=100)
    with Image.open(tmp_path / f"out{extension}") as written:
        shown = through_lcms(written.convert("RGB"), written.info["icc_profile"])
    lossy = extension in (".jpg", ".webp")
    # In the middle of the patches.
    assert np.abs(shown.astype(int) - seen)[8::16, 8::16].max() <= (4 if lossy else 1)


def test_I19_gray_of_8_bits_is_exact_in_the_dark(tmp_path):
    ramp = np.tile(np.arange(256, dtype=np.uint8), (2, 1))
    Image.fromarray(ramp).save(tmp_path / "x.png", icc_profile=profile(None, power(1.0)))
    linear = ramp / 255
    expected = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055) * 255
    assert np.abs(to_array(read_image(tmp_path / "x.png"))[..., 0] - expected).max() <= 0.6


def test_equal_pictures_are_equal_files_whatever_the_time():
    assert SRGB_PROFILE[24:36] == struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
    ImageCms.ImageCmsProfile(io.BytesIO(SRGB_PROFILE))


def test_cameras_name_adobe_rgb_in_exif_instead_of_a_profile(tmp_path):
    exif = Image.Exif()
    exif[0x8769] = {0xA001: 0xFFFF, 0xA005: {1: "R03"}}
    Image.fromarray(np.full((16, 16, 3), (100, 150, 100), np.uint8)).save(tmp_path / "x.jpg", exif=exif, quality=100)
    np.testing.assert_allclose(to_array(read_image(tmp_path / "x.jpg"))[8, 8], (66, 151, 97), atol=2)


def test_profiles_that_name_a_high_dynamic_range_are_refused(tmp_path):
    plain = bytearray(PROFILES["Display P3"])
    # The first tag, the description, becomes `cicp`: BT.2020 and PQ.
    place = struct.unpack(">I", plain[136:140])[0]
    plain[132:136], plain[place : place + 12] = b"cicp", b"cicp\0\0\0\0" + bytes([9, 16, 0, 1])
    Image.fromarray(colors()).save(tmp_path / "x.jpg", icc_profile=bytes(plain))
    with pytest.raises(Exception, match="PQ"):
        read_image(tmp_path / "x.jpg")


def test_a_packed_profile_is_found_in_a_png_of_16_bits(tmp_path):
    assert zlib.compress(SRGB_PROFILE) in encode_png16(np.zeros((1, 1, 3), np.uint16), SRGB_PROFILE)
