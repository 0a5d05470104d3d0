"""Color profiles: everything becomes sRGB, and what is written says that it is."""

from __future__ import annotations

import io
import struct

import numpy as np
from PIL import Image, ImageCms

from styleplugin.images.color.spaces import ColorSpace, matrix_space

_SRGB = ImageCms.createProfile("sRGB")
_MADE = bytearray(ImageCms.ImageCmsProfile(_SRGB).tobytes())
# The time of day, and the hash that covers it: equal pictures are equal files.
_MADE[24:36], _MADE[84:100] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0), bytes(16)
SRGB_PROFILE = bytes(_MADE)
"""What is embedded in every output."""

_RAMP = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
"""All levels of gray."""
_GRAY_MODES = ("1", "L", "LA", "La")


def to_srgb(image: Image.Image, profile: bytes | None, space: ColorSpace | None, notes: list[str]) -> Image.Image:
    """Convert an 8-bit image of any mode to RGB or, with transparency, RGBA in sRGB.

    Args:
        image: Loaded Pillow image.
        profile: Its ICC profile, used if it fits.
        space: What its colors are where it has no profile; None for sRGB.
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

    if space is not None and color.mode in ("L", "RGB"):
        color = _in_space(color, space)
    else:
        color = _through_profile(color, profile, notes)
    if alpha is not None:
        color.putalpha(alpha)
    return color


def deep_to_srgb(samples: np.ndarray, profile: bytes | None, space: ColorSpace | None, notes: list[str]) -> np.ndarray:
    """Convert samples of more than 8 bits to sRGB.

    Args:
        samples: (H, W, C) uint16 or float32; C is 1 (gray), 2 (gray, alpha), 3 or 4.
        profile: As for `to_srgb`.
        space: As for `to_srgb`.
        notes: Receives what had to be assumed or ignored.

    Returns:
        The same shape and type; or 8 bits, where only LittleCMS knows the way.
    """
    alpha = samples.shape[2] % 2 == 0
    color = samples[..., :-1] if alpha else samples
    gray = color.shape[2] == 1
    converted = color
    if profile:
        try:
            if not is_srgb(profile, "L" if gray else "RGB"):
                space = matrix_space(profile, gray=gray)
                converted = _through_table(color, profile, notes) if space is None else space.convert(color)
        except (ImageCms.PyCMSError, ValueError):
            notes.append("The color profile is damaged or does not fit the picture and was ignored.")
    elif space is not None:
        converted = space.convert(color)
    if not alpha:
        return converted
    opacity = samples[..., -1:]
    if converted.dtype == np.uint8:
        opacity = _eight_bits(opacity)
    return np.concatenate([converted, opacity], -1)


def cmyk_or_lab_to_srgb(samples: np.ndarray, mode: str, profile: bytes | None, notes: list[str]) -> np.ndarray:
    """Convert 16-bit CMYK (uint16) or Lab (uint16 bits of CIELab) to (H, W, 3) uint8 sRGB."""
    notes.append(f"The {mode} picture was converted to sRGB with 8 bits.")
    high = (samples.view(np.uint16) >> 8).astype(np.uint8)
    size = (samples.shape[1], samples.shape[0])
    # As the file stores it, inks are dark where they are many, and a and b are signed.
    image = Image.frombytes(mode, size, np.ascontiguousarray(high).tobytes(), "raw", mode)
    return np.asarray(to_srgb(image, profile, None, notes))


def is_srgb(profile: bytes, mode: str) -> bool:
    """Tell whether a profile leaves a grid of colors where it is, within one step of 8 bits.

    Many files carry some edition of sRGB; converting them would only add rounding.

    Raises:
        ImageCms.PyCMSError: The profile is damaged or does not fit the mode.
    """
    if mode == "L":
        colors = np.asarray(_RAMP)
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


def _in_space(color: Image.Image, space: ColorSpace) -> Image.Image:
    samples = np.asarray(color)
    converted = space.convert(samples.reshape(*samples.shape[:2], -1))
    return Image.fromarray(converted[..., 0] if color.mode == "L" else converted).convert("RGB")


def _through_table(color: np.ndarray, profile: bytes, notes: list[str]) -> np.ndarray:
    """Convert colors through a profile that is a table: (H, W, C) to (H, W, C) uint8."""
    notes.append("The color profile is a table, which was applied with 8 bits.")
    samples = _eight_bits(color)
    gray = samples.shape[2] == 1
    converted = np.asarray(_apply(Image.fromarray(samples[..., 0] if gray else samples), _open(profile)))
    return converted[..., :1] if gray else converted


def _eight_bits(samples: np.ndarray) -> np.ndarray:
    largest = 1 if samples.dtype.kind == "f" else np.iinfo(samples.dtype).max
    return np.rint(samples.clip(0, largest) * (255 / largest)).astype(np.uint8)


def _open(profile: bytes) -> ImageCms.ImageCmsProfile:
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(profile))
    except OSError as error:
        raise ImageCms.PyCMSError(error) from error


def _apply(color: Image.Image, profile: object) -> Image.Image:
    """Map colors to sRGB, black to black, as photo programs do."""
    if color.mode == "L" and color.size != _RAMP.size:
        levels = np.asarray(_apply(_RAMP, profile))[0]
        return color.convert("RGB").point(levels.T.reshape(-1).tolist())
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    if color.mode == "L":
        # What LittleCMS makes of gray to be quick is off by up to 10 levels in the dark.
        flags |= ImageCms.Flags.NOOPTIMIZE
    converted = ImageCms.profileToProfile(
        color,
        profile,  # pyright: ignore[reportArgumentType]
        _SRGB,
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=flags,
    )
    assert converted is not None
    return converted
