"""What a PNG says beside its pixels: profile, color space and text; taken out of the file before Pillow opens it.

Pillow refuses a picture whose text or profile unpacks to more than a megabyte, and knows no cICP.

Source: W3C PNG (third edition), sections 11.3.2 (color space) and 11.3.3 (text).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from styleplugin.images.color.spaces import ColorSpace, check_range, decode_srgb, gamma, space_of, space_of_numbers

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MAX_TEXT = 1 << 20
"""Largest text that is kept; XMP and old EXIF are texts."""
_MAX_PROFILE = 16 << 20
_MAX_EXIF = 1 << 20
_XMP_KEY = b"XML:com.adobe.xmp"

_SRGB_GAMMA = 1 / 2.2
_SRGB_POINTS = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_BESIDE = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")


@dataclass
class PngFile:
    """A PNG, split."""

    data: bytes
    """The file without profile and large texts, and with what else stands beside the pixels in front of them."""
    profile: bytes | None = None
    """The ICC profile."""
    is_srgb: bool = False
    gamma: float | None = None
    """Exponent that the numbers were encoded with."""
    points: Sequence[float] | None = None
    """Chromaticities x and y of white, red, green and blue."""
    numbers: Sequence[int] | None = None
    """Of H.273: primaries, transfer function, matrix, and whether the whole range is used."""
    xmp: bytes = b""
    notes: list[str] = field(default_factory=list)


def split(data: bytes) -> PngFile:
    """Take a PNG apart; one that breaks the format is left as it is, for the decoder to judge."""
    file = PngFile(data)
    kept: list[memoryview] = [memoryview(data)[: len(_SIGNATURE)]]
    pixels = late = 0
    for kind, chunk, body in _chunks(data):
        if kind == b"IDAT" and not pixels:
            pixels = len(kept)
        if not _keep(file, kind, body):
            continue
        if pixels and kind in _BESIDE:
            # Pillow would decode the pixels to find it.
            kept.insert(pixels + late, chunk)
            late += 1
        else:
            kept.append(chunk)
    if late or sum(map(len, kept)) < len(data):
        # What stands behind the end mark, or was not understood, is not lost: it decides whether the file is whole.
        whole = b"".join(kept)
        file.data = whole if kept[-1][4:8] == b"IEND" else data
    return file


def color_space(file: PngFile, name: str, notes: list[str], *, gray: bool) -> ColorSpace | None:
    """Return the color space that the chunks describe; None where it is sRGB, or a profile says more.

    Raises:
        InputImageError: SP206, the picture is made for a screen of high dynamic range.
    """
    if file.profile is not None:
        return None
    if file.numbers is not None:
        primaries, transfer, matrix, full = file.numbers
        check_range(transfer, name)
        space = space_of_numbers(primaries, transfer, gray=gray) if not matrix and full else None
        if space is not None:
            return None if (primaries, transfer) == (1, 13) else space
        notes.append(f"The color space with the numbers {tuple(file.numbers)} is not known and was ignored.")
    if file.is_srgb:
        return None
    return described(file.gamma, file.points, notes, gray=gray)


def described(
    exponent: float | None, points: Sequence[float] | None, notes: list[str], *, gray: bool
) -> ColorSpace | None:
    """Return the color space of gAMA and cHRM; None where it is sRGB.

    The exponent 1/2.2 stands for sRGB's own curve, of which it is the rounded form that the specification asks for.
    """
    plain = exponent is None or abs(exponent - _SRGB_GAMMA) < 0.005
    usual = points is None or gray or max(abs(a - b) for a, b in zip(points, _SRGB_POINTS, strict=True)) < 0.002
    if plain and usual:
        return None
    white, red, green, blue = zip(*[iter(points or _SRGB_POINTS)] * 2, strict=True)
    try:
        if exponent is not None and not 0.05 <= exponent <= 20:
            raise ValueError("no picture is encoded so")
        curve = decode_srgb if plain or exponent is None else gamma(1 / exponent)
        return space_of((red, green, blue), white, curve, gray=gray)
    except ValueError:
        notes.append("The file's gamma or primaries describe no color space and were ignored.")
        return None


def text_chunk(xmp: bytes) -> tuple[bytes, bytes]:
    """Return kind and body of the chunk that holds an XMP packet."""
    return b"iTXt", _XMP_KEY + b"\0\0\0\0\0" + xmp


def _keep(file: PngFile, kind: bytes, body: memoryview) -> bool:
    """Take note of a chunk; return whether Pillow shall see it."""
    if kind == b"iCCP":
        file.profile = _profile(bytes(body), file.notes)
        return False
    if kind in (b"tEXt", b"zTXt", b"iTXt"):
        return _keep_text(file, kind, bytes(body))
    if kind == b"eXIf" and len(body) > _MAX_EXIF:
        file.notes.append(f"The EXIF data has {len(body) / 1e6:.1f} MB and was dropped.")
        return False
    if kind == b"sRGB":
        file.is_srgb = True
    elif kind == b"gAMA" and len(body) == 4:
        file.gamma = struct.unpack(">I", body)[0] / 1e5
    elif kind == b"cHRM" and len(body) == 32:
        file.points = [value / 1e5 for value in struct.unpack(">8I", body)]
    elif kind == b"cICP" and len(body) == 4:
        file.numbers = tuple(body)
    return True


def _profile(body: bytes, notes: list[str]) -> bytes | None:
    _, _, rest = body.partition(b"\0")
    profile = _unpacked(rest[1:], _MAX_PROFILE)
    if profile is None:
        notes.append("The color profile is damaged or larger than 16 MB and was ignored.")
    return profile


def _keep_text(file: PngFile, kind: bytes, body: bytes) -> bool:
    key, _, rest = body.partition(b"\0")
    packed = None
    if kind == b"zTXt":
        packed = rest[1:]
    elif kind == b"iTXt":
        is_packed, rest = rest[:1] == b"\1", rest[2:].partition(b"\0")[2].partition(b"\0")[2]
        packed = rest if is_packed else None
    text = rest if packed is None else _unpacked(packed, _MAX_TEXT)
    if text is None or len(text) > _MAX_TEXT:
        file.notes.append(
            f"A text of the file ({key[:30].decode('latin-1')!r}) is damaged or too large; it was dropped."
        )
        return False
    if key == _XMP_KEY:
        file.xmp = text
    # Pillow looks here for how the picture stands; old programs put EXIF into a text.
    return key == _XMP_KEY or key.startswith(b"Raw profile type exif")


def _unpacked(packed: bytes, most: int) -> bytes | None:
    """Unpack, or return None for what is damaged or larger than that."""
    unpacker = zlib.decompressobj()
    try:
        unpacked = unpacker.decompress(packed, most + 1)
    except zlib.error:
        return None
    return unpacked if unpacker.eof and len(unpacked) <= most else None


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview, memoryview]]:
    """Yield kind, whole chunk and body of all chunks up to the end mark, or to the first that is cut."""
    view, position = memoryview(data), len(_SIGNATURE)
    while position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            return
        yield kind, view[position:end], view[position + 8 : end - 4]
        if kind == b"IEND":
            return
        position = end
