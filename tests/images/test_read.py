"""Picture files that are read."""

from __future__ import annotations

import io
import os
import socket
import struct
import warnings
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from fakes.pictures import save, scene
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from styleplugin.errors import ImageTooLargeError, InputImageError
from styleplugin.images.color.profiles import SRGB_PROFILE
from styleplugin.images.picture import to_array
from styleplugin.images.read import from_pil, picture_size, read_image, to_picture
from styleplugin.images.write import write_image

quick = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    header = (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in (header, *chunks, (b"IEND", b"")):
        data += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return data


def matrix_profile(red: tuple, green: tuple, blue: tuple, gamma: float) -> bytes:
    """Make an ICC profile of three primaries (XYZ under D50) and a gamma."""

    def xyz(*values: float) -> bytes:
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in values))

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    text = b"desc\0\0\0\0" + struct.pack(">I", 2) + b"x\0" + bytes(78)
    tags = {b"desc": text + bytes(-len(text) % 4), b"wtpt": xyz(0.9642, 1, 0.8249)}
    tags |= {b"rXYZ": xyz(*red), b"gXYZ": xyz(*green), b"bXYZ": xyz(*blue)}
    tags |= {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve}
    table, body, offset = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, value in tags.items():
        table += name + struct.pack(">II", offset + len(body), len(value))
        body += value
    header = struct.pack(">I4sI4s4s4s", offset + len(body), bytes(4), 0x02100000, b"mntr", b"RGB ", b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061) + bytes(48)
    return header + table + body


ADOBE_RGB = matrix_profile((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446), 2.2)


NAMES = [
    "a b.png",
    'it\'s "x".png',
    "new\nline.png",
    "\N{ARTIST PALETTE}.png",
    "-rf.png",
    "x" * 251 + ".png",
    "\udcff.png",
]


@pytest.mark.parametrize("extension", [".png", ".bmp", ".tif", ".gif", ".ppm", ".webp"])
def test_lossless_files_are_read_exactly(tmp_path, extension):
    image = Image.fromarray(scene()).quantize(64).convert("RGB") if extension == ".gif" else Image.fromarray(scene())
    path = save(tmp_path / f"x{extension}", image, **({"lossless": True} if extension == ".webp" else {}))
    picture = read_image(path)
    assert picture.name == path.name and picture.bits == 8 and picture.warnings == ()
    np.testing.assert_array_equal(to_array(picture), np.asarray(image))


def test_I01_empty_file(tmp_path):
    path = tmp_path / "x.png"
    path.touch()
    with pytest.raises(InputImageError, match="is empty") as caught:
        read_image(path)
    assert caught.value.code == "SP202"


@pytest.mark.parametrize(
    "content",
    [b"hello", b"<html></html>", b"<svg xmlns='x'/>", b"%PDF-1.7\n", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"SIMPLE  =   T"],
)
@pytest.mark.parametrize("extension", [".png", ".txt", ""])
def test_I02_other_files_are_refused_with_the_accepted_formats(tmp_path, content, extension):
    path = tmp_path / f"x{extension}"
    path.write_bytes(content * 50)
    with pytest.raises(InputImageError, match="JPEG, PNG") as caught:
        read_image(path)
    assert caught.value.code == "SP203"


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("BMP", {}),
        ("GIF", {}),
        ("PPM", {}),
    ],
)
def test_I03_a_file_cut_anywhere_is_refused_or_whole(tmp_path, kind, settings):
    buffer = io.BytesIO()
    Image.fromarray(scene()).save(buffer, kind, **settings)
    data = buffer.getvalue()
    path = tmp_path / "cut"
    path.write_bytes(data)
    whole = read_image(path).rgb
    # GIF ends with a block terminator and a trailer; its pixels are whole without them.
    needed = len(data) - 2 * (kind == "GIF")
    for length in sorted({*range(1, needed, max(1, needed // 16)), *range(needed - 6, needed)}):
        path.write_bytes(data[:length])
        with pytest.raises(InputImageError):
            read_image(path)
    for length in range(needed, len(data)):
        path.write_bytes(data[:length])
        assert read_image(path).rgb.equal(whole)


@quick
@given(
    kind=st.sampled_from(["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP"]),
    place=st.floats(0, 1),
    value=st.binary(min_size=1, max_size=4),
)
def test_I04_damaged_bytes_never_crash(tmp_path, kind, place, value):
    buffer = io.BytesIO()
    Image.fromarray(scene()).save(buffer, kind)
    data = buffer.getvalue()
    position = int(place * (len(data) - 1))
    path = tmp_path / "bad"
    path.write_bytes(data[:position] + value + data[position + len(value) :])
    with suppress(InputImageError):
        assert read_image(path, max_megapixels=1).rgb.isfinite().all()


def test_I05_content_wins_over_the_extension(tmp_path):
    path = save(tmp_path / "x.jpg", scene(), "PNG")
    picture = read_image(path)
    np.testing.assert_array_equal(to_array(picture), scene())
    assert len(picture.warnings) == 1 and "PNG" in picture.warnings[0]


@pytest.mark.parametrize(
    ("width", "height"), [(60_000, 60_000), (20_000, 12_950), (2**31 - 1, 1), (2**31 - 1, 2**31 - 1)]
)
def test_I06_I09_a_bomb_is_refused_before_decoding(tmp_path, width, height):
    path = tmp_path / "bomb.png"
    path.write_bytes(png(width, height, (b"IDAT", zlib.compress(bytes(100)))))
    with pytest.raises(ImageTooLargeError) as caught:
        read_image(path)
    assert caught.value.code == "SP205" and "the limit is 256 megapixels" in caught.value.message


def test_I06_the_limit_is_ours(tmp_path):
    path = save(tmp_path / "x.png", scene())
    with pytest.raises(ImageTooLargeError, match="32 x 24") as caught:
        read_image(path, max_megapixels=0.0005)
    assert caught.value.details["width"] == 32


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, 0), (0, 0)])
def test_I09_no_pixels(tmp_path, width, height):
    path = tmp_path / "x.png"
    path.write_bytes(png(width, height, (b"IDAT", zlib.compress(b""))))
    with pytest.raises(InputImageError):
        read_image(path)


def test_I07_a_size_without_data_is_refused(tmp_path):
    path = tmp_path / "hollow.png"
    path.write_bytes(png(5000, 5000, (b"IDAT", zlib.compress(bytes(10)))))
    with pytest.raises(InputImageError, match="cut short"):
        read_image(path)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2), (15, 15)])
def test_I10_tiny_pictures(tmp_path, size):
    assert read_image(save(tmp_path / "x.png", scene(*size))).size == size


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_I13_gray_and_palette_become_rgb(tmp_path, mode):
    image = Image.fromarray(scene()).convert(mode)
    picture = read_image(save(tmp_path / "x.png", image))
    np.testing.assert_array_equal(to_array(picture), np.asarray(image.convert("RGB")))


def test_I13_alpha_is_kept_aside(tmp_path):
    samples = scene(channels=4)
    samples[:12, :, 3] = 100
    for mode in ("RGBA", "LA"):
        picture = read_image(save(tmp_path / f"{mode}.png", Image.fromarray(samples).convert(mode)))
        assert picture.alpha is not None
        np.testing.assert_array_equal(to_array(picture)[..., 3], samples[..., 3])


def test_I13_transparent_palette_and_gray(tmp_path):
    palette = Image.fromarray(scene()).quantize(16)
    index = int(np.asarray(palette)[0, 0])
    gray = Image.fromarray(scene()).convert("L")
    value = int(np.asarray(gray)[0, 0])
    for name, image, key in (("p.png", palette, index), ("p.gif", palette, index), ("l.png", gray, value)):
        picture = read_image(save(tmp_path / name, image, transparency=key))
        assert picture.alpha is not None and picture.warnings == ()
        np.testing.assert_array_equal(picture.alpha[0, 0].numpy() == 0, np.asarray(image) == key)


def test_I14_cmyk_without_a_profile_is_converted_with_a_warning(tmp_path):
    image = Image.fromarray(scene()).convert("CMYK")
    picture = read_image(save(tmp_path / "x.tif", image))
    np.testing.assert_array_equal(to_array(picture), np.asarray(image.convert("RGB")))
    assert "CMYK" in picture.warnings[0]
    assert np.abs(to_array(read_image(save(tmp_path / "x.jpg", image, quality=100))).astype(int) - scene()).mean() < 3


def test_I14_lab_is_converted_by_its_definition(tmp_path):
    transform = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    lab = ImageCms.applyTransform(Image.fromarray(scene()), transform)
    assert lab is not None
    picture = read_image(save(tmp_path / "x.tif", lab))
    # 8 bits of Lab are coarse in the dark.
    assert np.abs(to_array(picture).astype(int) - scene()).mean() < 1.5


def test_I15_gray_of_16_bits_keeps_every_value(tmp_path):
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    for name in ("x.png", "x.tif"):
        picture = read_image(save(tmp_path / name, Image.fromarray(ramp)))
        assert picture.bits == 16
        np.testing.assert_array_equal(to_array(picture)[..., 1], ramp)


def test_I15_integers_beyond_16_bits_are_refused(tmp_path):
    path = save(tmp_path / "x.tif", Image.fromarray(np.array([[0, 70_000]], np.int32)))
    with pytest.raises(InputImageError, match="70000"):
        read_image(path)


def test_I16_float_tiff_keeps_finite_values_and_refuses_others(tmp_path):
    values = np.array([[-0.5, 0.25, 3]], np.float32)
    picture = read_image(save(tmp_path / "x.tif", Image.fromarray(values)))
    assert picture.bits == 32 and picture.rgb[0, 0, 0].tolist() == [-0.5, 0.25, 3]
    assert "from -0.5 to 3" in picture.warnings[0]
    values[0, 1] = np.nan
    with pytest.raises(InputImageError, match=r"1 NaN.*\(0, 1\)"):
        read_image(save(tmp_path / "y.tif", Image.fromarray(values)))


@pytest.mark.parametrize("extension", [".gif", ".png", ".tif", ".webp"])
def test_I17_the_first_of_several_frames_is_read_with_a_warning(tmp_path, extension):
    frames = [Image.fromarray(np.full((8, 8, 3), value, np.uint8)) for value in (0, 255)]
    path = save(tmp_path / f"x{extension}", frames[0], save_all=True, append_images=frames[1:])
    picture = read_image(path)
    assert picture.rgb.max() < 0.02
    assert any("2 frames" in warning for warning in picture.warnings)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("extension", [".png", ".tif"])
def test_I18_pictures_are_turned_upright(tmp_path, orientation, extension):
    image = Image.fromarray(scene())
    exif = image.getexif()
    exif[0x0112] = orientation
    path = save(tmp_path / f"x{extension}", image, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(path.read_bytes()))))
    picture = read_image(path)
    np.testing.assert_array_equal(to_array(picture), expected)
    assert (picture.size != image.size[::-1]) == (orientation > 4)
    write_image(picture, tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as out:
        assert 0x0112 not in out.getexif()


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12"]
)
def test_I18_broken_exif_never_stops_the_reading(tmp_path, exif):
    path = save(tmp_path / "x.jpg", scene(), exif=exif)
    picture = read_image(path)
    assert picture.size == (24, 32)


def test_I18_an_orientation_that_does_not_exist_is_ignored_with_a_warning(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 99
    picture = read_image(save(tmp_path / "x.png", scene(), exif=exif))
    np.testing.assert_array_equal(to_array(picture), scene())
    assert "EXIF" in picture.warnings[0]


def test_I19_srgb_profile_changes_nothing(tmp_path):
    picture = read_image(save(tmp_path / "x.png", scene(), icc_profile=SRGB_PROFILE))
    np.testing.assert_array_equal(to_array(picture), scene())
    assert picture.warnings == ()


def test_I19_adobe_rgb_is_converted(tmp_path):
    green = np.full((4, 4, 4), 0, np.uint8)
    green[..., :] = (100, 150, 100, 200)
    for channels in (3, 4):
        picture = read_image(save(tmp_path / "x.png", green[..., :channels], icc_profile=ADOBE_RGB))
        # From the definitions of both color spaces: Adobe RGB (100, 150, 100) is sRGB (66.0, 151.4, 97.1).
        np.testing.assert_allclose(to_array(picture)[0, 0, :3], (66.0, 151.4, 97.1), atol=1)
        assert picture.warnings == ()
    assert to_array(picture)[0, 0, 3] == 200


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_I19_garbage_profile_is_ignored_with_a_warning(tmp_path, mode):
    image = Image.fromarray(scene()).convert(mode)
    picture = read_image(save(tmp_path / "x.tif", image, icc_profile=b"garbage" * 30))
    np.testing.assert_array_equal(to_array(picture), np.asarray(image.convert("RGB")))
    assert any("profile" in warning for warning in picture.warnings)


def test_I24_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "missing.png")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        for path in (tmp_path, tmp_path / "fifo.png", tmp_path / "link.png", tmp_path / "s", "/dev/zero", "a\0b", ""):
            with pytest.raises(InputImageError) as caught:
                read_image(path)
            assert caught.value.code == "SP201"


def test_I25_the_bytes_are_read_once(tmp_path, monkeypatch):
    path = save(tmp_path / "x.png", scene())
    reads = []
    read_bytes = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: reads.append(self) or read_bytes(self))
    read_image(path)
    assert reads == [path]


def test_I25_a_file_that_cannot_be_read_is_one_error(tmp_path, monkeypatch):
    path = save(tmp_path / "x.png", scene())

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(InputImageError, match="Permission denied"):
        read_image(path)


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_I26_names_are_data(tmp_path, name):
    write_image(to_picture(scene()), tmp_path / name)
    np.testing.assert_array_equal(to_array(read_image(tmp_path / name)), scene())
    (tmp_path / name).write_bytes(b"text")
    with pytest.raises(InputImageError) as caught:
        read_image(tmp_path / name)
    assert "\n" not in caught.value.message
    caught.value.message.encode()


def test_I28_trailing_data_does_not_reach_the_output(tmp_path):
    path = save(tmp_path / "x.png", scene())
    path.write_bytes(path.read_bytes() + b"<script>payload</script>")
    write_image(read_image(path), tmp_path / "out.png")
    assert b"payload" not in (tmp_path / "out.png").read_bytes()


def test_reading_raises_no_warnings_and_leaves_pillow_alone(tmp_path):
    limit = Image.MAX_IMAGE_PIXELS
    path = tmp_path / "large.png"
    path.write_bytes(png(10_000, 9_000, (b"IDAT", zlib.compress(bytes(10)))))
    filters = list(warnings.filters)
    with pytest.raises(InputImageError):
        read_image(path)
    assert limit == Image.MAX_IMAGE_PIXELS and warnings.filters == filters


def test_pillow_images_are_treated_like_files(tmp_path):
    image = Image.fromarray(scene())
    exif = image.getexif()
    exif[0x0112] = 6
    path = save(tmp_path / "x.png", image, exif=exif)
    with Image.open(path) as opened:
        assert from_pil(opened).rgb.equal(read_image(path).rgb)
    cut = io.BytesIO(path.read_bytes()[:100])
    with pytest.raises(InputImageError):
        from_pil(Image.open(cut))


def test_the_size_of_a_file_is_told_without_its_pixels(tmp_path):
    for name in ("a.png", "a.jpg", "a.tif", "a.webp"):
        Image.new("RGB", (7, 5)).save(tmp_path / name)
        assert picture_size(tmp_path / name) == (5, 7)
    with pytest.raises(ImageTooLargeError, match="7 x 5"):
        picture_size(tmp_path / "a.png", max_megapixels=1e-6)
