"""Color profiles: everything becomes sRGB, and what is written says that it is."""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image, ImageCms

_SRGB = ImageCms.createProfile("sRGB")
_MADE = bytearray(ImageCms.ImageCmsProfile(_SRGB).tobytes())
# The time of day, and the hash that covers it: equal pictures are equal files.
_MADE[24:36], _MADE[84:100] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0), bytes(16)
SRGB_PROFILE = bytes(_MADE)
"""What is embedded in every output."""

_GRAY_MODES = ("1", "L", "LA", "La")


def to_srgb(image: Image.Image, notes: list[str]) -> Image.Image:
    """Convert an 8-bit image of any mode to RGB or, with transparency, RGBA in sRGB.

    Args:
        image: Loaded Pillow image; its embedded profile is used if it fits.
        notes: Receives what had to be assumed or ignored.
    """
    alpha = None
    color = image
    if image.has_transparency_data:
        color = image.convert("RGBA")
        alpha = color.getchannel("A")
        color = color.getchannel("R") if image.mode in _GRAY_MODES else color.convert("RGB")
    elif image.mode not in ("L", "RGB", "CMYK", "LAB"):
        color = image.convert("L" if image.mode in _GRAY_MODES else "RGB")

    color = _through_profile(color, image.info.get("icc_profile"), notes)
    if alpha is not None:
        color.putalpha(alpha)
    return color


def is_srgb(profile: bytes, mode: str) -> bool:
    """Tell whether a profile leaves a grid of colors where it is, within one step of 8 bits.

    Many files carry some edition of sRGB; converting them would only add rounding.

    Raises:
        ImageCms.PyCMSError: The profile is damaged or does not fit the mode.
    """
    if mode == "L":
        colors = np.arange(256, dtype=np.uint8)[None]
    elif mode == "RGB":
        steps = np.linspace(0, 255, 9).astype(np.uint8)
        colors = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
    else:
        return False
    before = Image.fromarray(colors)
    after = np.asarray(_apply(before, _open(profile)), dtype=int)
    return bool(np.abs(after - np.asarray(before.convert("RGB"), dtype=int)).max() <= 1)


def _through_profile(color: Image.Image, profile: bytes | None, notes: list[str]) -> Image.Image:
    if color.mode == "LAB":
        return _apply(color, ImageCms.createProfile("LAB"))
    if profile:
        try:
            return color.convert("RGB") if is_srgb(profile, color.mode) else _apply(color, _open(profile))
        except ImageCms.PyCMSError:
            notes.append("The color profile is damaged or does not fit the picture and was ignored.")
    if color.mode == "CMYK":
        notes.append("CMYK colors were converted without a profile; they may look different in print software.")
    return color.convert("RGB")


def _open(profile: bytes) -> ImageCms.ImageCmsProfile:
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(profile))
    except OSError as error:
        raise ImageCms.PyCMSError(error) from error


def _apply(color: Image.Image, profile: object) -> Image.Image:
    """Map colors to sRGB, black to black, as photo programs do."""
    converted = ImageCms.profileToProfile(
        color,
        profile,  # pyright: ignore[reportArgumentType]
        _SRGB,
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert converted is not None
    return converted
