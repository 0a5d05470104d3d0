"""AVIF, HEIC and JPEG XL."""

import base64
import io

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from styleplugin.errors import ImageTooLargeError, InputImageError, OutputError
from styleplugin.images.formats import heif, jxl, known
from styleplugin.images.picture import Picture, to_array
from styleplugin.images.read import picture_size, read_image, to_picture
from styleplugin.images.write import write_image

EXIF = Image.Exif()
EXIF[0x0112], EXIF[0x010E] = 6, "a hill"
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
AVIF10 = (
    "AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUEAAADrbWV0YQAAAAAAAAAhaGRscgAAAAAAAAAAcGljdAAAAAAAAAAAAAAAAAAAAAAOcG"
    "l0bQAAAAAAAQAAAB5pbG9jAAAAAEQAAAEAAQAAAAEAAAETAAAAHQAAAChpaW5mAAAAAAABAAAAGmluZmUCAAAAAAEAAGF2MDFDb2xvcgAAAABq"
    "aXBycAAAAEtpcGNvAAAAFGlzcGUAAAAAAAAABgAAAAQAAAAQcGl4aQAAAAADCgoKAAAADGF2MUOBIEAAAAAAE2NvbHJuY2x4AAIAAgAAgAAAAB"
    "dpcG1hAAAAAAAAAAEAAQQBAoMEAAAAJW1kYXQSAAoIOAhvzgQEASAyDxAAAAYrkI35ayY3uSub5A=="
)
JXL16 = (
    "AAAADEpYTCANCocKAAAAFGZ0eXBqeGwgAAAAAGp4bCAAAAAJanhsbAoAAAAwanhsY/8KGED8ABQtAggEAQBkAEsYixVCigQpHoD9AAAAAPv/Aw"
    "AAEgAAAAA="
)


def scene(height: int = 24, width: int = 32) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 7 + 20, columns * 5 + 30, rows * 3 + columns * 2], -1).astype(np.uint8)


def heic(samples: np.ndarray, mode: str = "RGB", **settings: object) -> bytes:
    buffer = io.BytesIO()
    size = (samples.shape[1], samples.shape[0])
    pillow_heif.encode(mode, size, samples.tobytes(), buffer, quality=-1, chroma=444, **settings)
    return buffer.getvalue()


def read(tmp_path, data: bytes, name: str, **options) -> Picture:
    (tmp_path / name).write_bytes(data)
    return read_image(tmp_path / name, **options)


@pytest.mark.parametrize("extension", [".avif", ".jxl"])
@pytest.mark.parametrize("channels", [3, 4])
def test_what_is_written_is_read_again(tmp_path, extension, channels):
    samples = np.dstack([scene(), np.full((24, 32), 200, np.uint8)])[..., :channels]
    picture = to_picture(np.ascontiguousarray(samples))
    for name in ("a", "b"):
        write_image(picture, tmp_path / f"{name}{extension}")
    again = read_image(tmp_path / f"a{extension}")
    assert np.abs(to_array(again).astype(int) - samples).mean() < 1.5 and not again.warnings
    assert (tmp_path / f"a{extension}").read_bytes() == (tmp_path / f"b{extension}").read_bytes()
    assert picture_size(tmp_path / f"a{extension}") == (24, 32)
    with pytest.raises(ImageTooLargeError):
        read_image(tmp_path / f"a{extension}", max_megapixels=0.0005)


@pytest.mark.parametrize(("quality", "error"), [(1, 40), (100, 1)])
@pytest.mark.parametrize("extension", [".avif", ".jxl"])
def test_every_quality_is_written(tmp_path, extension, quality, error):
    write_image(to_picture(scene()), tmp_path / f"a{extension}", quality=quality)
    again = to_array(read_image(tmp_path / f"a{extension}"))
    assert np.abs(again.astype(int) - scene()).mean() < error


@pytest.mark.parametrize("extension", [".avif", ".jxl"])
def test_exif_and_xmp_are_kept(tmp_path, extension):
    Image.fromarray(scene()).save(tmp_path / "x.jpg", exif=EXIF)
    write_image(read_image(tmp_path / "x.jpg"), tmp_path / f"x{extension}")
    again = read_image(tmp_path / f"x{extension}")
    assert again.size == (32, 24)
    assert again.metadata is not None and b"a hill" in again.metadata.exif


def test_heic_is_read_upright_and_in_its_depth(tmp_path):
    plain = read(tmp_path, heic(scene()), "a.heic")
    assert np.abs(to_array(plain).astype(int) - scene()).max() <= 3 and plain.bits == 8
    turned = read(tmp_path, heic(scene(), exif=EXIF.tobytes()), "b.heic")
    assert turned.size == (32, 24)
    deep = read(tmp_path, heic(np.full((16, 16, 3), 65535, np.uint16), "RGB;16"), "c.heic")
    assert deep.bits == 16 and to_array(deep).min() > 65400 and not deep.warnings


# The second holds linear light.
@pytest.mark.parametrize(("name", "data", "bits", "green"), [("a.avif", AVIF10, 10, 128), ("a.jxl", JXL16, 16, 188)])
def test_lost_bits_are_named(tmp_path, name, data, bits, green):
    picture = read(tmp_path, base64.b64decode(data), name)
    assert any(f"{bits} bits; 8 of them" in note for note in picture.warnings)
    np.testing.assert_allclose(to_array(picture)[0, 0], (255, green, 0), atol=2)


def test_numbers_of_the_color_space_count(tmp_path):
    numbers = {"color_primaries": 12, "transfer_characteristics": 13}
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 200
    srgb, p3 = (read(tmp_path, heic(red, **n), f"{i}.heic") for i, n in enumerate(({}, numbers)))
    assert to_array(p3)[0, 0, 0] > to_array(srgb)[0, 0, 0] + 10
    with pytest.raises(InputImageError, match="high dynamic range") as caught:
        read(tmp_path, heic(red, color_primaries=9, transfer_characteristics=16), "hdr.heic")
    assert caught.value.code == "SP206"


def test_the_packed_jpeg_is_the_picture(tmp_path):
    Image.fromarray(scene()).save(tmp_path / "a.jpg", quality=90, exif=EXIF)
    with pytest.warns(UserWarning, match="JPEG reconstruction"):
        jxl.encode(Image.fromarray(scene()), quality=90, exif=b"", xmp=b"")
        Image.open(tmp_path / "a.jpg").save(tmp_path / "a.jxl")
    packed = read_image(tmp_path / "a.jxl")
    np.testing.assert_array_equal(to_array(packed), to_array(read_image(tmp_path / "a.jpg")))
    assert not packed.warnings


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (300, 200), (9, 4000), (40, 30)])
def test_the_size_of_a_jxl_is_told_by_its_header(size):
    data = jxl.encode(Image.new("RGB", size), quality=50, exif=b"", xmp=b"")
    assert jxl.read_header(data).size == size
    with pytest.raises(ValueError, match="cut short"):
        jxl.read_header(data[:2])


@pytest.mark.parametrize("name", ["a.avif", "a.heic", "a.jxl"])
def test_damaged_files_are_told(tmp_path, name):
    if name == "a.heic":
        (tmp_path / name).write_bytes(heic(scene()))
    else:
        write_image(to_picture(scene()), tmp_path / name)
    data = (tmp_path / name).read_bytes()
    for cut in (len(data) // 3, len(data) * 2 // 3):
        with pytest.raises(InputImageError) as caught:
            read(tmp_path, data[:cut], name)
        assert caught.value.code in ("SP203", "SP204")


@pytest.mark.parametrize(("kind", "name"), [("HEIF", "a.heic"), ("JXL", "a.jxl"), ("AVIF", "a.avif")])
def test_a_missing_library_is_named(tmp_path, monkeypatch, kind, name):
    data = {"HEIF": heic(scene()), "JXL": base64.b64decode(JXL16), "AVIF": base64.b64decode(AVIF10)}[kind]
    assert name[1:] in known.picture_extensions()
    monkeypatch.setattr(known, "find_spec", lambda module: None)
    monkeypatch.setattr(known.features, "check", lambda feature: False)
    assert name[1:] not in known.picture_extensions()
    with pytest.raises(InputImageError, match=f"Install {known.PACKAGES[kind]}") as caught:
        read(tmp_path, data, name)
    assert caught.value.code == "SP203"
    if kind != "HEIF":
        with pytest.raises(OutputError, match=f"Install {known.PACKAGES[kind]}"):
            write_image(to_picture(scene()), tmp_path / f"out{name[1:]}")


def test_reading_heic_leaves_pillow_as_it_is(tmp_path):
    before = dict(Image.OPEN)
    read(tmp_path, heic(scene()), "a.heic")
    assert before == Image.OPEN and heif.kind_of(b"\0\0\0\x10ftypqt  ") is None
