"""Picture files that fit in memory: read into `Picture`, written whole or not at all."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageCms, UnidentifiedImageError

from styleplugin.errors import (
    ImageTooLargeError,
    InputImageError,
    OutputError,
    StylePluginError,
    StylePluginWarning,
)
from styleplugin.files import PathLike, atomic_write, check_regular_file, check_target
from styleplugin.images.deep import decode_png16, decode_tiff16, encode_png16, is_png16
from styleplugin.images.picture import Picture, check_finite, from_channels, to_array, to_pil
from styleplugin.images.profile import SRGB_PROFILE, is_srgb, to_srgb
from styleplugin.kinds import PICTURE
from styleplugin.modes import plain_modes

DEFAULT_MAX_MEGAPIXELS = 178.0
"""Just under what Pillow itself refuses."""

_EXTENSIONS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".mpo", ".jpg", ".jpeg"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
}
# Pillow opens MPO as JPEG first.
_FORMATS = [kind for kind in _EXTENSIONS if kind != "MPO"]
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"II*\0", b"MM\0*", b"GIF8", b"BM")
_PNG_END = b"IEND\xaeB`\x82"

_WRITERS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
_SIDE_LIMITS = {"JPEG": 65500, "WEBP": 16383}
_WITHOUT_ALPHA = ("JPEG", "BMP")

_DEPTHS = {"uint8": (255, 8), "uint16": (65535, 16), "float32": (1, 32)}

_BITS_PER_SAMPLE_TAG = 0x0102
_PHOTOMETRIC_TAG = 0x0106
_WHITE_IS_ZERO = 0
_ORIENTATION_TAG = 0x0112
_ORIENTATIONS = {
    1: lambda samples: samples,
    2: lambda samples: samples[:, ::-1],
    3: lambda samples: samples[::-1, ::-1],
    4: lambda samples: samples[::-1],
    5: lambda samples: samples.swapaxes(0, 1),
    6: lambda samples: samples[::-1].swapaxes(0, 1),
    7: lambda samples: samples[::-1, ::-1].swapaxes(0, 1),
    8: lambda samples: samples[:, ::-1].swapaxes(0, 1),
}


@plain_modes()
def read_image(path: PathLike, *, max_megapixels: float = DEFAULT_MAX_MEGAPIXELS) -> Picture:
    """Read a picture file, upright and in sRGB; of an animation or a multi-page file, the first frame.

    Args:
        path: JPEG, PNG, WebP, TIFF, BMP, GIF, MPO or PPM; the content decides, not the extension.
        max_megapixels: Most million pixels to decode; checked before any pixel is.

    Raises:
        InputImageError: SP201, not a readable regular file; SP202, empty; SP203, not an accepted format; SP204,
            damaged or cut short; SP206, a kind of picture that is not read, or only with an extra.
        ImageTooLargeError: SP205, more pixels than allowed.
        TensorInputError: SP213, a float picture with NaN or Inf.
    """
    file = check_regular_file(path)
    notes: list[str] = []
    data = _read_bytes(file, max_megapixels)
    with _decoding(file.name, notes):
        image = _open(data, file.name, max_megapixels)
        _note_surprises(image, file.suffix.lower(), notes)
        return _assemble(image, _samples(image, data, file.name, notes), file.name, notes)


def from_pil(image: Image.Image) -> Picture:
    """Turn a Pillow image of any mode into a picture, upright and in sRGB.

    Raises:
        InputImageError: SP204, its file is damaged; SP206, a kind of picture that is not read.
        TensorInputError: SP213, a float picture with NaN or Inf.
    """
    notes: list[str] = []
    with _decoding("the image", notes):
        return _assemble(image, _samples(image, b"", "the image", notes), "", notes)


def check_output(
    path: PathLike,
    *,
    overwrite: bool,
    size: tuple[int, int] | None = None,
) -> None:
    """Find out before the work starts whether a picture can be written there.

    Args:
        path: Where the picture shall go; the extension decides the format.
        overwrite: Whether an existing file may be replaced.
        size: (height, width) of the picture, if known.

    Raises:
        OutputError: SP601-SP603 and SP608 as in `files.check_target`; SP605, unknown extension; SP606, a side is too
            long for the format.
    """
    kind = _writer(path)
    check_target(path, PICTURE, overwrite=overwrite)
    limit = _SIDE_LIMITS.get(kind)
    if size and limit and max(size) > limit:
        raise OutputError(
            "SP606",
            f"The picture is {size[1]} x {size[0]}; a {kind} file ends at {limit} pixels a side.",
            "Use .png or .tif.",
        )


def losses(picture: Picture, path: PathLike) -> tuple[str, ...]:
    """Return what a file of this extension cannot hold, one sentence each, as `write_image` warns."""
    kind = _writer(path)
    lost = []
    if picture.alpha is not None and kind in _WITHOUT_ALPHA:
        lost.append(f"{kind} holds no transparency; the picture was put on white.")
    if picture.bits > 8 and kind != "PNG":
        lost.append(f"{kind} is written with 8 bits; the picture has {picture.bits}. Use .png to keep 16.")
    if picture.bits > 16 and kind == "PNG":
        lost.append("PNG is written with 16 bits; the values of the float picture were clamped to 0..1.")
    return tuple(lost)


def write_image(picture: Picture, path: PathLike, *, overwrite: bool = False, quality: int = 95) -> None:
    """Write a picture so that the file is either whole or not there; sRGB is embedded, other metadata is not.

    Warns `StylePluginWarning` for everything in `losses`.

    Args:
        picture: What to write; 16 bits are kept in PNG.
        path: The extension decides the format: .png, .jpg, .webp, .tif or .bmp.
        overwrite: Whether an existing file may be replaced.
        quality: 1-100, of JPEG and WebP.

    Raises:
        OutputError: SP601-SP606 and SP608 as in `check_output` and `files.atomic_write`.
    """
    check_output(path, overwrite=overwrite, size=picture.size)
    with atomic_write(path) as handle:
        handle.write(_encode(picture, _writer(path), quality))
    for loss in losses(picture, path):
        warnings.warn(loss, StylePluginWarning, stacklevel=2)


def _read_bytes(file: Path, max_megapixels: float) -> bytes:
    """Read the file once; everything else looks at these bytes, so that a replaced file cannot mix two pictures."""
    # No accepted format needs more than 16 bytes a pixel; the rest is room for metadata.
    limit = max_megapixels * 16e6 + 64e6
    try:
        size = file.stat().st_size
        data = file.read_bytes() if size <= limit else b""
    except OSError as error:
        reason = error.strerror or error
        raise InputImageError("SP201", f"{file.name!r} cannot be read: {reason}.", "Check the path.") from error
    if size > limit:
        raise ImageTooLargeError("SP205", f"{file.name!r} has {size / 1e6:,.0f} MB; that is no picture of this size.")
    if not data:
        raise InputImageError("SP202", f"{file.name!r} is empty; a picture is needed.", "Copy the file again.")
    return data


@contextmanager
def _decoding(name: str, notes: list[str]) -> Iterator[None]:
    """Turn whatever Pillow raises on damaged bytes into one error, and its warnings into notes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        except (StylePluginError, MemoryError):
            raise
        except Image.DecompressionBombError as error:
            raise ImageTooLargeError("SP205", f"{name!r} is too large: {error}", "Make it smaller.") from error
        # Its parsers raise nearly everything on hostile bytes, IndexError and struct.error included.
        except Exception as error:
            raise InputImageError(
                "SP204", f"{name!r} is damaged or cut short ({error}).", "Copy or export the file again."
            ) from error
        finally:
            notes += [str(warning.message) for warning in caught if warning.category is UserWarning]


def _open(data: bytes, name: str, max_megapixels: float) -> Image.Image:
    """Read the header and check it; no pixel is decoded yet."""
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        if data.startswith(_MAGIC):
            raise
        raise InputImageError(
            "SP203",
            f"{name!r} is not a picture in an accepted format: {', '.join(_FORMATS)}.",
            "Convert it to one of these.",
        ) from None
    width, height = image.size
    if width * height > max_megapixels * 1e6:
        raise ImageTooLargeError(
            "SP205",
            f"{name!r} is {width} x {height} ({width * height / 1e6:,.1f} megapixels); "
            f"the limit is {max_megapixels:g} megapixels.",
            "Make it smaller, or raise the limit.",
            {"width": width, "height": height, "max_megapixels": max_megapixels},
        )
    if width < 1 or height < 1:
        raise ValueError(f"its size is {width} x {height}")
    # Pillow does not miss the last bytes of a PNG.
    if image.format == "PNG" and _PNG_END not in data:
        raise ValueError("the end mark is missing")
    return image


def _note_surprises(image: Image.Image, extension: str, notes: list[str]) -> None:
    kind = image.format or ""
    if extension and extension not in _EXTENSIONS[kind]:
        notes.append(f"The file is named {extension} and holds a {kind} picture; it was read as {kind}.")
    frames = getattr(image, "n_frames", 1)
    # The second picture of an MPO is a preview or a depth map.
    if frames > 1 and kind != "MPO":
        notes.append(f"The file holds {frames} frames or pages; only the first was read.")


def _samples(image: Image.Image, data: bytes, name: str, notes: list[str]) -> np.ndarray:
    """Decode to (H, W, C) in sRGB: uint8, uint16 or, for float pictures, float32."""
    tags = getattr(image, "tag_v2", {})
    is_wide_gray = image.mode.startswith("I") or image.mode == "F"
    if is_png16(data):
        return decode_png16(data)
    if data and not is_wide_gray and max(tags.get(_BITS_PER_SAMPLE_TAG, (8,))) > 8:
        return decode_tiff16(data, name)
    # Pillow does not scale the one and does not invert the other.
    if is_wide_gray and (tags.get(_BITS_PER_SAMPLE_TAG) == (12,) or tags.get(_PHOTOMETRIC_TAG) == _WHITE_IS_ZERO):
        raise _unsupported(name, "12-bit or inverted gray")
    image.load()
    return _wide_gray(image, name, notes)[..., None] if is_wide_gray else np.asarray(to_srgb(image, notes))


def _wide_gray(image: Image.Image, name: str, notes: list[str]) -> np.ndarray:
    """Return gray of more than 8 bits: (H, W) uint16 or float32."""
    gray = np.asarray(image)
    low, high = gray.min(), gray.max()
    if image.mode == "F":
        check_finite(torch.from_numpy(gray.copy()), repr(name))
        if low < 0 or high > 1:
            notes.append(f"The float values go from {low:g} to {high:g}; 0 is black and 1 is white.")
        return gray
    if low < 0 or high > 65535:
        raise _unsupported(name, f"integers from {low} to {high}")
    return gray.astype(np.uint16)


def _unsupported(name: str, what: str) -> InputImageError:
    return InputImageError(
        "SP206", f"{name!r} holds {what}; gray of 8 bits, 16 bits or float is read.", "Convert it to 16 bits."
    )


def _assemble(image: Image.Image, samples: np.ndarray, name: str, notes: list[str]) -> Picture:
    if samples.dtype != np.uint8:
        _note_unused_profile(image, samples.shape[2], notes)
    samples = _ORIENTATIONS[_orientation(image, notes)](samples)
    largest, bits = _DEPTHS[samples.dtype.name]
    channels = torch.from_numpy(np.array(np.moveaxis(samples, -1, 0), dtype=np.float32, order="C"))[None]
    return from_channels(channels.div_(largest), bits=bits, name=name, warnings=tuple(dict.fromkeys(notes)))


def _note_unused_profile(image: Image.Image, channels: int, notes: list[str]) -> None:
    """Say so when a profile other than sRGB was not applied: ImageCms works on 8 bits only."""
    profile = image.info.get("icc_profile")
    try:
        if profile and not is_srgb(profile, "RGB" if channels > 2 else "L"):
            notes.append("The color profile was not applied, since the picture has more than 8 bits.")
    except ImageCms.PyCMSError:
        notes.append("The color profile is damaged and was ignored.")


def _orientation(image: Image.Image, notes: list[str]) -> int:
    """Return the EXIF orientation 1-8; 1 where it is missing or broken."""
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    # EXIF is parsed by Pillow without checks of its own.
    except Exception:
        orientation = None
    if orientation in _ORIENTATIONS:
        return orientation
    notes.append("The EXIF data is broken and was ignored.")
    return 1


def _encode(picture: Picture, kind: str, quality: int) -> bytes:
    if kind == "PNG" and picture.bits > 8:
        return encode_png16(to_array(picture, bits=16), SRGB_PROFILE)
    if picture.alpha is not None and kind in _WITHOUT_ALPHA:
        picture = Picture(picture.rgb * picture.alpha + (1 - picture.alpha))
    settings = {
        # Not "optimize": it makes Pillow fail on noisy pictures, whose data outgrows its one buffer.
        "JPEG": {"quality": quality, "subsampling": 0},
        "WEBP": {"quality": quality},
        "TIFF": {"compression": "tiff_adobe_deflate"},
    }
    buffer = io.BytesIO()
    to_pil(picture).save(buffer, kind, icc_profile=SRGB_PROFILE, **settings.get(kind, {}))
    return buffer.getvalue()


def _writer(path: PathLike) -> str:
    extension = Path(path).suffix.lower()
    if extension not in _WRITERS:
        raise OutputError(
            "SP605",
            f"{str(path)!r} has the extension {extension!r}; pictures are written as {', '.join(_WRITERS)}.",
            "Use one of these.",
        )
    return _WRITERS[extension]
