"""AVIF and HEIC: what Pillow does not say of them, and HEIC of more than 8 bits.

Source: ISO/IEC 14496-12 (boxes), 23008-12 (HEIF: `ftyp`, `ipco`, `colr`), AV1-ISOBMFF 2.3.3 (`av1C`).
"""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image

from styleplugin.images.color.spaces import ColorSpace, check_range, space_of_numbers

_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"}
_UNSPECIFIED = 2


def kind_of(data: bytes) -> str | None:
    """Return "AVIF" or "HEIF" for files of these kinds, by their brands; None for others."""
    if data[4:8] != b"ftyp":
        return None
    (length,) = struct.unpack_from(">I", data)
    box = data[8 : min(length, 256)]
    brands = {box[:4], *(box[i : i + 4] for i in range(8, len(box), 4))}
    if brands & _AVIF_BRANDS:
        return "AVIF"
    return "HEIF" if brands & _HEIF_BRANDS else None


def open_heif(data: bytes) -> Image.Image:
    """Return a HEIC picture as Pillow sees it; no pixel is decoded, and Pillow's own list of formats stays as it is."""
    import pillow_heif

    return pillow_heif.HeifImageFile(io.BytesIO(data))


def is_deep(image: Image.Image) -> bool:
    """Tell whether a HEIC picture has more than 8 bits."""
    return image.format == "HEIF" and image.info.get("bit_depth", 8) > 8


def decode(data: bytes) -> np.ndarray:
    """Decode a HEIC picture of more than 8 bits: (H, W, C) uint16 over the whole range."""
    import pillow_heif

    image = pillow_heif.open_heif(data, convert_hdr_to_8bit=False)
    samples = np.asarray(image)
    samples = samples.reshape(*samples.shape[:2], -1)[:, : image.size[0]]
    # The library moves the bits to the left, so that white is a little too dark.
    depth = image.info["bit_depth"]
    values = (samples >> (16 - depth)).astype(np.float64) * (65535 / (2**depth - 1))
    if image.mode.startswith(("RGBa", "La")):
        values[..., :-1] *= 65535 / np.maximum(values[..., -1:], 1)
    return np.rint(values.clip(0, 65535)).astype(np.uint16)


def color_space(image: Image.Image, data: bytes, name: str, notes: list[str]) -> ColorSpace | None:
    """Return the color space that numbers of H.273 describe; None where there are none, or they say sRGB.

    Raises:
        InputImageError: SP206, the picture is made for a screen of high dynamic range.
    """
    primaries, transfer = _numbers(image, data)
    check_range(transfer, name)
    if (primaries, transfer) == (1, 13) or _UNSPECIFIED in (primaries, transfer):
        return None
    space = space_of_numbers(primaries, transfer, gray=image.mode in ("L", "LA", "I;16"))
    if space is None:
        notes.append(f"The color space with the numbers {primaries} and {transfer} is not known and was ignored.")
    return space


def note_depth(data: bytes, notes: list[str]) -> None:
    """Say that Pillow reads 8 bits of an AVIF picture that has more."""
    start = data.find(b"av1C", 0, 1 << 16)
    flags = data[start + 6] if 0 <= start < len(data) - 6 else 0
    if flags & 0x40:
        notes.append(f"The AVIF picture has {12 if flags & 0x20 else 10} bits; 8 of them were read.")


def _numbers(image: Image.Image, data: bytes) -> tuple[int, int]:
    if image.format == "HEIF":
        profile = image.info.get("nclx_profile") or {}
        return (
            int(profile.get("color_primaries", _UNSPECIFIED)),
            int(profile.get("transfer_characteristics", _UNSPECIFIED)),
        )
    start = data.find(b"colrnclx", 0, 1 << 16)
    if start < 0 or len(data) < start + 12:
        return _UNSPECIFIED, _UNSPECIFIED
    primaries, transfer = struct.unpack_from(">HH", data, start + 8)
    return primaries, transfer
