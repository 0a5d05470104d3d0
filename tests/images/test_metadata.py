from __future__ import annotations

import io
import struct
from dataclasses import replace

import numpy as np
import pytest
from fakes.tiff import tiff
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from styleplugin.images.color.profiles import SRGB_PROFILE
from styleplugin.images.formats.jpeg import with_xmp
from styleplugin.images.formats.png16 import encode_png16
from styleplugin.images.read import read_image, to_picture
from styleplugin.images.write import write_image

XMP = b"""<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:exif="http://ns.adobe.com/exif/1.0/"
 xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:aux="http://ns.adobe.com/exif/1.0/aux/"
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"
 xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" photoshop:City="secret place"
 exif:GPSLatitude="secret latitude" tiff:Orientation="6" aux:SerialNumber="secret number" hdrgm:GainMapMax="9.75">
<dc:creator><rdf:Seq><rdf:li>The maker</rdf:li></rdf:Seq></dc:creator>
<xmp:Thumbnails><rdf:Alt><rdf:li>secret thumbnail</rdf:li></rdf:Alt></xmp:Thumbnails>
<aux:LensSerialNumber>secret lens</aux:LensSerialNumber>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""

EXTENSIONS = [".png", ".jpg", ".webp", ".tif"]


def exif() -> Image.Exif:
    data = Image.Exif()
    data[0x010E], data[0x0110], data[0x8298], data[0x0112] = "A lake", "Camera", "(c) the maker", 6
    data[0x8769] = {
        0x9003: "2026:01:02 03:04:05",
        0x829A: 0.004,
        0x927C: b"secret notes",
        0xA431: "secret body",
        0xA435: "secret glass",
        0xA002: 24,
        0xA003: 16,
        0x9286: b"ASCII\0\0\0a comment",
    }
    data[0x8825] = {1: "N", 2: (47.0, 30.0, 0.0), 29: "secret day"}
    return data


def scene() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (16, 24, 3)).astype(np.uint8)


def content(tmp_path, extension: str) -> str:
    path = tmp_path / f"content{extension}"
    image = Image.fromarray(scene())
    if extension == ".jpg":
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", exif=exif(), comment=b"secret comment")
        path.write_bytes(with_xmp(buffer.getvalue(), XMP))
    elif extension == ".tif":
        both = Image.Exif()
        both.load(exif().tobytes())
        both[700] = XMP
        image.save(path, exif=both)
    elif extension == ".webp":
        image.save(path, exif=exif(), xmp=XMP, lossless=True)
    else:
        texts = PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", XMP.decode())
        texts.add_text("Comment", "secret text")
        image.save(path, exif=exif(), pnginfo=texts)
    return str(path)


@pytest.mark.parametrize("source", EXTENSIONS)
@pytest.mark.parametrize("extension", EXTENSIONS)
def test_I20_exif_and_xmp_are_kept_without_secrets_and_old_pixels(tmp_path, source, extension):
    read = read_image(content(tmp_path, source))
    path = tmp_path / f"out{extension}"
    write_image(read, path)
    data = path.read_bytes()
    assert b"secret" not in data
    with Image.open(path) as image:
        kept = image.getexif()
        details = kept.get_ifd(0x8769)
        assert image.size == (16, 24), "the content stands upright"
    assert kept[0x010E] == "A lake" and kept[0x0110] == "Camera" and kept[0x8298] == "(c) the maker"
    assert 0x0112 not in kept and not kept.get_ifd(0x8825)
    assert details[0x9003] == "2026:01:02 03:04:05" and details[0x829A] == 0.004
    assert (details[0xA002], details[0xA003], details[0xA001]) == (16, 24, 1)
    assert 0x927C not in details and 0xA431 not in details and 0xA435 not in details
    again = read_image(path)
    assert again.metadata is not None and b"The maker" in again.metadata.xmp
    assert b"hdrgm:" not in again.metadata.xmp and b"Orientation" not in again.metadata.xmp


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_I20_the_location_is_kept_on_request_and_everything_dropped_on_request(tmp_path, extension):
    read = read_image(content(tmp_path, ".jpg"))
    write_image(read, tmp_path / f"a{extension}", keep_location=True)
    with Image.open(tmp_path / f"a{extension}") as image:
        assert image.getexif().get_ifd(0x8825)[2] == (47.0, 30.0, 0.0)
    assert b"secret latitude" in read.metadata.xmp_with_location
    write_image(read, tmp_path / f"b{extension}", metadata=False)
    with Image.open(tmp_path / f"b{extension}") as image:
        assert not {0x010E, 0x8769, 0x8825} & set(image.getexif())
    assert b"maker" not in (tmp_path / f"b{extension}").read_bytes()


def test_I20_deep_pictures_keep_their_metadata_too(tmp_path):
    read = read_image(content(tmp_path, ".jpg"))
    deep = to_picture(scene().astype(np.uint16) * 257)
    write_image(replace(deep, metadata=read.metadata), tmp_path / "x.png")
    again = read_image(tmp_path / "x.png")
    assert again.bits == 16 and again.metadata is not None
    assert b"A lake" in again.metadata.exif and b"The maker" in again.metadata.xmp
    tags = ((0x010E, 7, tuple(b"A lake\0")), (700, 1, tuple(XMP)))
    (tmp_path / "x.tif").write_bytes(tiff(scene().astype(np.uint16) * 257, tags=tags))
    again = read_image(tmp_path / "x.tif")
    assert again.metadata is not None and b"The maker" in again.metadata.xmp


def test_I20_a_bitmap_holds_none(tmp_path):
    write_image(read_image(content(tmp_path, ".jpg")), tmp_path / "x.bmp")
    assert b"maker" not in (tmp_path / "x.bmp").read_bytes()


def test_I20_gain_maps_second_pictures_and_clips_are_not_kept_and_said(tmp_path):
    first, second = Image.fromarray(scene()), Image.fromarray(scene() // 2)
    first.save(tmp_path / "x.jpg", "MPO", save_all=True, append_images=[second])
    picture = read_image(tmp_path / "x.jpg")
    assert any("second picture" in note for note in picture.warnings)
    write_image(picture, tmp_path / "y.jpg")
    assert b"MPF" not in (tmp_path / "y.jpg").read_bytes()
    assert any("gain map" in note for note in read_image(content(tmp_path, ".jpg")).warnings)
    plain = io.BytesIO()
    first.save(plain, "JPEG")
    body = b"urn:iso:std:iso:ts:21496:-1\0" + bytes(8)
    data = plain.getvalue()
    data = data[:2] + struct.pack(">BBH", 0xFF, 0xE2, len(body) + 2) + body + data[2:]
    (tmp_path / "z.jpg").write_bytes(data)
    assert any("gain map" in note for note in read_image(tmp_path / "z.jpg").warnings)
    clip = XMP.replace(
        b'tiff:Orientation="6"', b'xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" GCamera:MotionPhoto="1"'
    )
    (tmp_path / "z.jpg").write_bytes(with_xmp(plain.getvalue(), clip))
    assert any("clip" in note for note in read_image(tmp_path / "z.jpg").warnings)


@pytest.mark.parametrize(
    ("xmp", "note"),
    [
        (b"<not xml", "broken"),
        (b'<!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;</x>', "broken"),
        (b"<x>" + b"y" * 300_000 + b"</x>", "300 kB"),
        (b"\xff\xfe<x/>", "broken"),
    ],
)
def test_I20_xmp_that_is_broken_dangerous_or_huge_is_dropped_with_a_note(tmp_path, xmp, note):
    Image.fromarray(scene()).save(tmp_path / "x.webp", xmp=xmp)
    picture = read_image(tmp_path / "x.webp")
    assert picture.metadata is None and any(note in warning for warning in picture.warnings)


def test_I20_huge_values_of_exif_are_dropped(tmp_path):
    data = exif()
    data[0x010E] = "x" * 40_000
    Image.fromarray(scene()).save(tmp_path / "x.png", exif=data)
    picture = read_image(tmp_path / "x.png")
    assert picture.metadata is not None and len(picture.metadata.exif) < 1000 and b"Camera" in picture.metadata.exif


def test_pictures_without_metadata_have_none(tmp_path):
    (tmp_path / "x.png").write_bytes(encode_png16(scene().astype(np.uint16), SRGB_PROFILE))
    assert read_image(tmp_path / "x.png").metadata is None
    assert to_picture(scene()).metadata is None
