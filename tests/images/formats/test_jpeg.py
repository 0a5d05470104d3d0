from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from styleplugin import memory
from styleplugin.errors import InputImageError, ResourceError
from styleplugin.images.formats import jpeg
from styleplugin.images.picture import to_array
from styleplugin.images.read import read_image


def picture_file(**settings) -> bytes:
    rows, columns = np.mgrid[:24, :32]
    buffer = io.BytesIO()
    Image.fromarray(np.stack([rows * 7, columns * 5, rows + columns], -1).astype(np.uint8)).save(
        buffer, "JPEG", **settings
    )
    return buffer.getvalue()


def with_segment(data: bytes, marker: int, body: bytes) -> bytes:
    return data[:2] + struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body + data[2:]


def read(tmp_path, data: bytes):
    (tmp_path / "x.jpg").write_bytes(data)
    return read_image(tmp_path / "x.jpg")


def test_I27_what_no_decoder_reads_is_named(tmp_path):
    data = bytearray(picture_file())
    place = data.index(b"\xff\xc0")
    for offset, value, name in ((4, 12, "12 bits"), (1, 0xC3, "lossless"), (1, 0xC5, "hierarchical")):
        changed = bytearray(data)
        changed[place + offset] = value
        with pytest.raises(InputImageError, match=name) as caught:
            read(tmp_path, bytes(changed))
        assert caught.value.code == "SP206"


def test_I27_tables_of_any_quality_and_every_subsampling_work(tmp_path):
    exact = np.asarray(Image.open(io.BytesIO(picture_file(quality=100, subsampling=0)))).astype(int)
    for settings in ({"qtables": [list(range(1, 65))] * 2}, {"subsampling": 2}, {"restart_marker_rows": 1}):
        assert np.abs(to_array(read(tmp_path, picture_file(**settings))) - exact).mean() < 12


def test_I27_arithmetic_coding_works_or_is_called_damaged_never_more(tmp_path):
    # Nothing at hand writes it: a header that says so, in front of data that is coded otherwise.
    data = picture_file().replace(b"\xff\xc0", b"\xff\xc9", 1)
    assert jpeg.describe(data).frame == 0xC9
    try:
        assert read(tmp_path, data).size == (24, 32)
    except InputImageError as error:
        assert error.code == "SP204"


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({}, 0),
        ({"progressive": True, "subsampling": 0}, 2 * 3 * 24 * 32),
        ({"progressive": True, "subsampling": 2}, 2 * (24 * 32 + 2 * 12 * 16)),
    ],
)
def test_I21_the_coefficients_that_a_decoder_keeps_are_counted(settings, kept):
    assert jpeg.describe(picture_file(**settings)).coefficients == kept


def test_I21_a_scan_for_each_component_keeps_them_too():
    data = picture_file(subsampling=0)
    place = data.index(b"\xff\xda")
    assert jpeg.describe(data[: place + 4] + b"\x01" + data[place + 5 :]).coefficients == 2 * 3 * 24 * 32


def test_I21_a_picture_beyond_the_free_memory_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    """15 bytes for each of the 768 pixels, and 6 for their coefficients."""
    monkeypatch.setattr(memory, "_SMALL", 0)
    for settings, needed in (({}, 15 * 768), ({"progressive": True, "subsampling": 0}, 21 * 768)):
        data = picture_file(**settings)
        monkeypatch.setattr(memory, "free_memory", lambda free=needed: free)
        assert read(tmp_path, data).size == (24, 32)
        monkeypatch.setattr(memory, "free_memory", lambda free=needed - 1: free)
        with pytest.raises(ResourceError, match="needs at least") as caught:
            read(tmp_path, data)
        assert caught.value.code == "SP504"


BROKEN = [
    (0xE2, b"ICC_PROFILE\0"),
    (0xE0, b"JFIF\0"),
    (0xEE, b"Adobe"),
    (0xE2, b"MPF\0MM\0*\xff\xff\xff\xff"),
    (0xE1, b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"),
    (0xED, b"Photoshop 3.0\x008BIM\x03\xed\0\0\xff\xff\xff\xff"),
    (0xE1, b"http://ns.adobe.com/xap/1.0/\0<not xml"),
]


@pytest.mark.parametrize(("marker", "body"), BROKEN)
def test_broken_metadata_never_fails_a_good_picture(tmp_path, marker, body):
    exact = to_array(read(tmp_path, picture_file()))
    picture = read(tmp_path, with_segment(picture_file(), marker, body))
    np.testing.assert_array_equal(to_array(picture), exact)


def test_dropped_metadata_is_said(tmp_path):
    for marker, body in BROKEN[:3]:
        assert "metadata" in read(tmp_path, with_segment(picture_file(), marker, body)).warnings[0]


def test_no_sentence_shows_an_address(tmp_path):
    good = picture_file()
    for data in (good[:60], b"\xff\xd8\xff" + bytes(50), b"RIFF" + bytes(40), b"II*\0" + bytes(40), b"BM" + bytes(70)):
        with pytest.raises(InputImageError) as caught:
            read(tmp_path, data)
        assert "0x" not in caught.value.message and "object" not in caught.value.message


def test_the_limit_is_ours_and_not_that_of_pillow(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    (tmp_path / "x.jpg").write_bytes(picture_file())
    assert read_image(tmp_path / "x.jpg", max_megapixels=0.001).size == (24, 32)
    with pytest.raises(InputImageError, match=r"limit is 0\.0005 megapixels") as caught:
        read_image(tmp_path / "x.jpg", max_megapixels=0.0005)
    assert caught.value.code == "SP205"
