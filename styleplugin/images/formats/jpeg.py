"""What a JPEG says beside its pixels: how it is coded, what depends on the old pixels, and its XMP.

Source: ITU-T T.81 (markers); CIPA DC-007 (MPF); ISO 21496-1 (gain maps); Adobe XMP part 3 (XMP in JPEG).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from styleplugin.errors import InputImageError

_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
_APP0, _APP1, _APP2, _APP14, _APP15 = 0xE0, 0xE1, 0xE2, 0xEE, 0xEF
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_HUFFMAN_FRAMES = (0xC0, 0xC1, 0xC2)
_ARITHMETIC_FRAMES = (0xC9, 0xCA)
_PROGRESSIVE_FRAMES = (0xC2, 0xCA)
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_GAIN_MAP = b"urn:iso:std:iso:ts:21496:-1\0"
MAX_SEGMENT = 65533
"""Bytes of a segment."""


@dataclass
class JpegFile:
    """A JPEG's segments before its first scan."""

    frame: int = 0
    """Marker of the frame: how it is coded."""
    bits: int = 8
    coefficients: int = 0
    """Bytes that a decoder keeps until the last scan has come, where each scan holds a part of the whole picture."""
    has_gain_map: bool = False
    has_more_pictures: bool = False
    xmp: bytes = b""


def describe(data: bytes) -> JpegFile:
    """Read the segments; what breaks the format is left to the decoder."""
    file, end, components = JpegFile(), 2, b""
    for marker, segment in _segments(data):
        end += len(segment)
        body = segment[4:]
        if marker in _FRAMES and len(body) >= 1:
            file.frame, file.bits = marker, body[0]
            components = body
        elif marker == _APP1 and body.startswith(_XMP):
            file.xmp = body[len(_XMP) :]
        elif marker == _APP2:
            file.has_more_pictures |= body.startswith(b"MPF\0")
            file.has_gain_map |= body.startswith(_GAIN_MAP)
    if file.frame in _PROGRESSIVE_FRAMES or _components_of_scan(data[end:]) < len(components[6:]) // 3:
        file.coefficients = _coefficient_bytes(components)
    return file


def _components_of_scan(scan: bytes) -> int:
    return scan[4] if scan[:2] == bytes([0xFF, _SCAN]) and len(scan) > 4 else 255


def _coefficient_bytes(frame: bytes) -> int:
    """Return the bytes of all coefficients, two each, by the header of a frame (T.81, B.2.2)."""
    if len(frame) < 9:
        return 0
    height, width = struct.unpack_from(">HH", frame, 1)
    sampling = [(value >> 4, value & 15) for value in frame[7::3]]
    most = [max(1, *factors) for factors in zip((0, 0), *sampling, strict=True)]
    return sum(2 * -(-width * across // most[0]) * -(-height * down // most[1]) for across, down in sampling)


def check_coding(file: JpegFile, name: str) -> None:
    """Refuse what no decoder at hand reads, by its name.

    Raises:
        InputImageError: SP206.
    """
    what = ""
    if file.bits != 8:
        what = f"{file.bits} bits per sample"
    elif file.frame and file.frame not in (*_HUFFMAN_FRAMES, *_ARITHMETIC_FRAMES):
        what = "lossless or hierarchical coding"
    if what:
        raise InputImageError(
            "SP206", f"{name!r} is a JPEG with {what}; this is not read.", "Save it as a usual JPEG, or as PNG."
        )


def without_metadata(data: bytes) -> bytes:
    """Return a JPEG with only those application segments, if they are whole, that say how colors are stored."""
    kept, end = [data[:2]], 2
    whole = {_APP0: 16, _APP14: 14}
    for marker, segment in _segments(data):
        end += len(segment)
        is_metadata = _APP0 <= marker <= _APP15
        if not is_metadata or len(segment) >= whole.get(marker, len(segment) + 1):
            kept.append(segment)
    return b"".join([*kept, data[end:]])


def with_xmp(data: bytes, xmp: bytes) -> bytes:
    """Return a JPEG with an XMP packet, behind its other application segments, as readers expect it."""
    place = 2
    for marker, segment in _segments(data):
        if not _APP0 <= marker <= _APP2:
            break
        place += len(segment)
    body = _XMP + xmp
    return data[:place] + struct.pack(">BBH", 0xFF, _APP1, len(body) + 2) + body + data[place:]


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield marker and whole segment of everything from the start mark to the first scan."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker in (_START, _END, _SCAN) or marker == 0xFF:
            return
        (length,) = struct.unpack_from(">H", data, position + 2)
        segment = data[position : position + 2 + length]
        if length < 2 or len(segment) < 2 + length:
            return
        yield marker, segment
        position += 2 + length
