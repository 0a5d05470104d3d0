"""EXIF and XMP on their way from the content to the output: what is still true of it, and nobody's secret.

Dropped are the thumbnail, serial numbers and the location, what speaks of the old pixels (sizes, orientation, color
space, gain maps, develop settings), and the maker's notes, which nobody can take apart and which hold all of these.

Source: CIPA DC-008 (EXIF 3.0); ISO 16684-1 (XMP).
"""

from __future__ import annotations

import xml.dom.minidom
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.dom.minidom import Element, Node
from xml.parsers.expat import ExpatError

from PIL import Image

_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_WIDTH, _HEIGHT, _COLOR_SPACE = 0xA002, 0xA003, 0xA001
_SRGB = 1
_MAX_VALUE = 16 << 10
"""Bytes of a single EXIF value."""
_MAX_EXIF = 60 << 10
"""So that it fits in a segment of a JPEG."""
_MAX_XMP = 256 << 10

# Description, maker, model, resolution, software, date, artist, host, ratings, copyright, and Windows' own texts. All
# others of the first directory say how the pixels are stored, or are not known.
_KEPT = (0x010E, 0x010F, 0x0110, 0x011A, 0x011B, 0x0128, 0x0131, 0x0132, 0x013B, 0x013C, 0x4746, 0x4749, 0x8298)
_KEPT += (0x9C9B, 0x9C9C, 0x9C9D, 0x9C9E, 0x9C9F)
_DROPPED = {
    0x927C: "maker's notes",
    0xA431: "serial number of the body",
    0xA435: "serial number of the lens",
    0xA420: "unique number of the picture",
    0xA005: "interoperability",
    0x9101: "configuration of the components",
    0x9102: "compressed bits per pixel",
    0x9214: "area of the subject",
    0xA214: "location of the subject in the picture",
}

_DROPPED_NAMESPACES = (
    "http://ns.adobe.com/hdr-gain-map/",
    "http://ns.adobe.com/camera-raw-settings/",
    "http://ns.adobe.com/xmp/note/",
    "http://ns.adobe.com/xap/1.0/g/img/",
    "http://ns.apple.com/",
    "http://ns.google.com/photos/",
)
_DROPPED_NAMES = (
    "Thumbnails",
    "MakerNote",
    "ImageUniqueID",
    "Orientation",
    "ImageWidth",
    "ImageLength",
    "PixelXDimension",
    "PixelYDimension",
    "ColorSpace",
    "ICCProfile",
)
_LOCATION_NAMES = (
    "City",
    "State",
    "Country",
    "CountryCode",
    "Location",
    "LocationCreated",
    "LocationShown",
)
_GAIN_MAPS = (b"http://ns.adobe.com/hdr-gain-map/", b"http://ns.apple.com/HDRGainMap/")
_CLIPS = (b'MotionPhoto="1"', b"MotionPhoto>1<", b'MicroVideo="1"', b"MicroVideo>1<")


@dataclass(frozen=True)
class Metadata:
    """What an output says of its content, each with and without the location; empty where there is nothing."""

    exif: bytes = b""
    """As in a JPEG, beginning with "Exif"; upright, and of the size of the upright picture."""
    xmp: bytes = b""
    """A packet of XMP, UTF-8."""
    exif_with_location: bytes = b""
    xmp_with_location: bytes = b""

    def chosen(self, *, keep_location: bool) -> tuple[bytes, bytes]:
        """Return EXIF and XMP for a file."""
        if keep_location:
            return self.exif_with_location, self.xmp_with_location
        return self.exif, self.xmp


def metadata_of(exif: Image.Exif | None, xmp: bytes, size: tuple[int, int], notes: list[str]) -> Metadata | None:
    """Return what can be kept; None where that is nothing.

    Args:
        exif: As the file has it, or None.
        xmp: As the file has it, or empty.
        size: (height, width) of the upright picture.
        notes: Receives what was lost because it could not be read, is too large, or belongs to the old pixels.
    """
    exifs = [_exif(exif, size, notes, keep_location=keep) for keep in (False, True)]
    packets = [_xmp(xmp, notes, keep_location=keep) for keep in (False, True)]
    note_lost_pictures(xmp, notes)
    if not any((*exifs, *packets)):
        return None
    return Metadata(exifs[0], packets[0], exifs[1], packets[1])


def note_lost_pictures(xmp: bytes, notes: list[str], *, gain_map: bool = False, more: bool = False) -> None:
    """Say which pictures beside the picture were not kept.

    Args:
        xmp: The packet, which names some of them.
        notes: Receives the sentences.
        gain_map: Whether the file says elsewhere that it has one.
        more: Whether it holds more than one picture.
    """
    if gain_map or any(name in xmp for name in _GAIN_MAPS):
        notes.append("The gain map, which makes the picture brighter on some screens, was not kept.")
    if more:
        notes.append("The file's second picture (a preview, a depth map or a gain map) was not kept.")
    if any(name in xmp for name in _CLIPS):
        notes.append("The clip of the motion photo was not kept.")


def _exif(source: Image.Exif | None, size: tuple[int, int], notes: list[str], *, keep_location: bool) -> bytes:
    if source is None:
        return b""
    target = Image.Exif()
    try:
        for tag, value in _small(source).items():
            if tag in _KEPT:
                target[tag] = value
        details = {tag: value for tag, value in _small(source.get_ifd(_EXIF_IFD)).items() if tag not in _DROPPED}
        location = _small(source.get_ifd(_GPS_IFD)) if keep_location else {}
        if not (len(target) or details or location):
            return b""
        target[_EXIF_IFD] = details | {_COLOR_SPACE: _SRGB, _WIDTH: size[1], _HEIGHT: size[0]}
        if location:
            target[_GPS_IFD] = location
        data = target.tobytes()
    # Values of the wrong type, which Pillow reads, it cannot always write.
    except Exception:
        notes.append("The EXIF data is broken and was dropped.")
        return b""
    if len(data) > _MAX_EXIF:
        notes.append(f"The EXIF data has {len(data) / 1000:.0f} kB and was dropped.")
        return b""
    return data


def _small(directory: Mapping[int, Any]) -> dict[int, Any]:
    """Return the values that are not huge."""
    return {tag: value for tag, value in directory.items() if not hasattr(value, "__len__") or len(value) <= _MAX_VALUE}


def _xmp(packet: bytes, notes: list[str], *, keep_location: bool) -> bytes:
    packet = packet.strip(b"\0 \r\n\t")
    if not packet:
        return b""
    if len(packet) > _MAX_XMP:
        notes.append(f"The XMP data has {len(packet) / 1000:.0f} kB and was dropped.")
        return b""
    try:
        text = packet.decode("utf-8")
        if "<!DOCTYPE" in text:
            raise ValueError("XMP has no document type")
        # Entities, with which a small text becomes a huge one, are defined in a DOCTYPE only.
        document = xml.dom.minidom.parseString(text.encode())  # noqa: S318
        assert document.documentElement is not None
        _clean(document.documentElement, keep_location)
        cleaned = "".join(node.toxml() for node in document.childNodes)
    except (ExpatError, ValueError, RecursionError):
        notes.append("The XMP data is broken and was dropped.")
        return b""
    return cleaned.encode()


def _clean(element: Element, keep_location: bool) -> None:
    for attribute in list(element.attributes.values()):
        if _is_dropped(attribute, keep_location):
            element.removeAttributeNode(attribute)
    for child in list(element.childNodes):
        if child.nodeType != Node.ELEMENT_NODE:
            continue
        if _is_dropped(child, keep_location):
            element.removeChild(child)
        else:
            _clean(child, keep_location)


def _is_dropped(node: Any, keep_location: bool) -> bool:
    name = node.localName or ""
    if (node.namespaceURI or "").startswith(_DROPPED_NAMESPACES) or name in _DROPPED_NAMES or "SerialNumber" in name:
        return True
    return not keep_location and (name.startswith("GPS") or name in _LOCATION_NAMES)
