"""JPEG XL: the size in its header, which its decoder would tell only with all pixels, and its pixels.

Source: ISO/IEC 18181-1, D.2 (size) and D.3 (depth); 18181-2, clause 9 (boxes).
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

from PIL import Image

_CODESTREAM = b"\xff\x0a"
_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
MAGIC = (_CODESTREAM, _CONTAINER)
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_SIDE_BITS = (9, 13, 18, 30)


@dataclass(frozen=True)
class Header:
    """What the first bytes say."""

    size: tuple[int, int]
    """(width, height), as stored."""
    bits: int
    """Of a sample; 8 where that is not told at once."""


def read_header(data: bytes) -> Header:
    """Read the header.

    Raises:
        ValueError: It is cut short.
    """
    bits = _Bits(_codestream(data)[2:64])
    is_small = bits.take(1)
    height = _side(bits, is_small)
    ratio = bits.take(3)
    width = _side(bits, is_small) if ratio == 0 else height * _RATIOS[ratio - 1][0] // _RATIOS[ratio - 1][1]
    return Header((width, height), _depth(bits))


def decode(data: bytes) -> tuple[Image.Image, bytes | None]:
    """Decode a picture, upright.

    Returns:
        The picture; and, if the file holds a JPEG that was packed without loss, the bytes of that JPEG.
    """
    import pillow_jxl

    is_jpeg, header, pixels, profile, boxes = pillow_jxl.Decoder(num_threads=-1)(data)  # pyright: ignore
    if is_jpeg:
        return Image.new("RGB", (1, 1)), bytes(pixels)
    mode = "F" if header.mode == "F;16" else header.mode
    image = Image.frombytes(mode, (header.width, header.height), bytes(pixels))
    image.format = "JXL"
    if profile:
        image.info["icc_profile"] = bytes(profile)
    for box in boxes:
        if box.box_type == b"Exif":
            image.info["exif"] = b"Exif\0\0" + _without_offset(bytes(box.data))
        elif box.box_type == b"xml ":
            image.info["xmp"] = bytes(box.data)
    return image, None


def encode(image: Image.Image, *, quality: int, exif: bytes, xmp: bytes) -> bytes:
    """Return the file of an 8-bit RGB or RGBA picture in sRGB; quality 100 loses nothing."""
    import pillow_jxl  # noqa: F401 - it registers itself

    buffer = io.BytesIO()
    # Its encoder refuses a quality of 100 that is not called lossless.
    settings = {"lossless": True} if quality == 100 else {"quality": quality}
    image.save(buffer, "JXL", exif=exif, xmp=xmp, use_container=True, **settings)
    return buffer.getvalue()


def _without_offset(exif: bytes) -> bytes:
    """Return EXIF without the four bytes that say where it begins, which some programs leave out."""
    return exif if exif[:4] in (b"II*\0", b"MM\0*") else exif[4:]


def _codestream(data: bytes) -> bytes:
    position = 0 if data.startswith(_CONTAINER) else len(data)
    while position + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        if kind in (b"jxlc", b"jxlp"):
            return data[position + (8 if kind == b"jxlc" else 12) :]
        if length < 8:
            raise ValueError("a box has no length")
        position += length
    return data


def _side(bits: _Bits, is_small: int) -> int:
    return (bits.take(5) + 1) * 8 if is_small else bits.take(_SIDE_BITS[bits.take(2)]) + 1


def _depth(bits: _Bits) -> int:
    if bits.take(1):
        return 8
    if bits.take(1):
        bits.take(3)
        # An intrinsic size, a preview or an animation stands before the depth.
        if bits.take(1) or bits.take(1) or bits.take(1):
            return 8
    if bits.take(1):
        return 32
    selector = bits.take(2)
    return bits.take(6) + 1 if selector == 3 else (8, 10, 12)[selector]


class _Bits:
    """Bits from the lowest of each byte upwards."""

    def __init__(self, data: bytes) -> None:
        self._rest, self._left = int.from_bytes(data, "little"), 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError("the header is cut short")
        value = self._rest & ((1 << count) - 1)
        self._rest >>= count
        return value
