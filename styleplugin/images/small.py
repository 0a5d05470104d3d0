"""Picture files that fit in memory: read into `Picture`, written whole or not at all."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, PngImagePlugin, TiffImagePlugin

from styleplugin import values
from styleplugin.errors import OutputError, StylePluginWarning
from styleplugin.files import PathLike, atomic_write, check_regular_file, check_target
from styleplugin.guard import guarded
from styleplugin.images import bmp, heif, jxl, ppm, tiff
from styleplugin.images.deep import decode_png16, encode_png16, is_png16
from styleplugin.images.formats import EXTENSIONS, PACKAGES, is_readable
from styleplugin.images.integers import to_samples
from styleplugin.images.jpeg import MAX_SEGMENT, with_xmp
from styleplugin.images.metadata import metadata_of
from styleplugin.images.opening import Source, decoding, of_image, open_file, read_bytes
from styleplugin.images.picture import Picture, check_finite, from_channels, to_array, to_pil
from styleplugin.images.png import text_chunk
from styleplugin.images.profile import SRGB_PROFILE, cmyk_or_lab_to_srgb, deep_to_srgb, to_srgb
from styleplugin.kinds import PICTURE
from styleplugin.options import DEFAULT_MAX_MEGAPIXELS

_WRITERS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".avif": "AVIF",
    ".jxl": "JXL",
}
_SIDE_LIMITS = {"JPEG": 65500, "WEBP": 16383, "AVIF": 65535}
_WITHOUT_ALPHA = ("JPEG", "BMP")

_LOSSY = ("JPEG", "MPO", "WEBP", "AVIF", "HEIF", "JXL")
_INTEGER_MODES = ("1", "L", "P", "RGB", "I", "I;16", "I;16B", "I;16L")
_DEPTHS = {"uint8": (255, 8), "uint16": (65535, 16), "float32": (1, 32)}

_XMP_TAG = 700
_EXIF_HEAD = b"Exif\0\0"
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


@guarded()
def read_image(path: PathLike, *, max_megapixels: float = DEFAULT_MAX_MEGAPIXELS, bits: int | None = None) -> Picture:
    """Read a picture file, upright and in sRGB; of an animation or a multi-page file, the first frame.

    Args:
        path: JPEG, PNG, WebP, TIFF, BMP, GIF, MPO, PPM, and AVIF, HEIC and JPEG XL where their libraries are; the
            content decides, not the extension.
        max_megapixels: Most million pixels to decode; checked before any pixel is.
        bits: Of a value, for files of 32-bit integers that do not say; see `styleplugin.images.integers`.

    Raises:
        InputImageError: SP201, not a readable regular file; SP202, empty; SP203, not an accepted format; SP204,
            damaged or cut short; SP206, a kind of picture that is not read.
        ImageTooLargeError: SP205, more pixels than allowed.
        TensorInputError: SP213, a float picture with NaN or Inf; SP214, integers whose range is not known.
        ResourceError: SP504, it does not fit in the memory that is free; nothing was decoded.
    """
    file = check_regular_file(path)
    notes: list[str] = []
    data = read_bytes(file, max_megapixels)
    with decoding(file.name, notes):
        source = open_file(data, file.name, max_megapixels, notes)
        if source.image is not None:
            _note_surprises(source.image, file.suffix.lower(), notes)
        return _assemble(source, _samples(source, file.name, notes, bits), file.name, notes)


def decode_samples(
    data: bytes,
    name: str,
    *,
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
    admit: Callable[[int, int], None] = lambda height, width: None,
) -> np.ndarray:
    """Decode a picture file as `read_image` does, but to samples: for those who read thousands of pictures.

    Args:
        data: The whole file.
        name: Of the file, for messages.
        max_megapixels: As for `read_image`.
        admit: Called with height and width as they are stored, before a pixel is decoded; raises where they do not do.

    Returns:
        (H, W, C), upright and in sRGB: uint8, uint16 or, of float pictures, float32 with 1 for white; C is 1 (gray), 2
        (gray and alpha), 3 or 4 (alpha last). Of transparent pictures, what nobody can see is still there.

    Raises:
        InputImageError: As for `read_image`.
    """
    notes: list[str] = []
    with decoding(name, notes):
        source = open_file(data, name, max_megapixels, notes)
        admit(*_stored_size(source))
        return _upright(source, _samples(source, name, notes, None), notes)


def picture_size(path: PathLike, *, max_megapixels: float = DEFAULT_MAX_MEGAPIXELS) -> tuple[int, int]:
    """Return (height, width) of a picture file as it is stored, before it is turned upright; no pixel is decoded.

    Args:
        path: As for `read_image`.
        max_megapixels: Most million pixels that it may have.

    Raises:
        InputImageError: SP201 to SP206, as `read_image`, as far as that can be told without decoding.
        ImageTooLargeError: SP205, more pixels than allowed.
    """
    file = check_regular_file(path)
    data = read_bytes(file, max_megapixels)
    with decoding(file.name, []):
        return _stored_size(open_file(data, file.name, max_megapixels, []))


def from_pil(image: Image.Image, *, bits: int | None = None) -> Picture:
    """Turn a Pillow image of any mode into a picture, upright and in sRGB.

    Args:
        image: The image.
        bits: Of a value, for images of 32-bit integers; see `styleplugin.images.integers`.

    Raises:
        InputImageError: SP204, its file is damaged; SP206, a kind of picture that is not read.
        TensorInputError: SP213, a float picture with NaN or Inf; SP214, integers whose range is not known.
    """
    notes: list[str] = []
    with decoding("the image", notes):
        source = of_image(image, "the image", notes)
        return _assemble(source, _samples(source, "the image", notes, bits), "", notes)


def read_labels(
    picture: PathLike | Image.Image, *, max_megapixels: float = DEFAULT_MAX_MEGAPIXELS
) -> np.ndarray | None:
    """Return the integers of a picture as they are stored, upright, (H, W); of a palette, the indices.

    Args:
        picture: Path of a file, or a Pillow image.
        max_megapixels: Most million pixels to decode.

    Returns:
        None where there are no such integers: in files that lose values when they are written, in floating point, and
        in pictures of several channels that differ.

    Raises:
        InputImageError: As for `read_image`.
    """
    notes: list[str] = []
    if isinstance(picture, Image.Image):
        with decoding("the image", notes):
            return _labels(of_image(picture, "the image", notes), notes)
    file = check_regular_file(picture)
    with decoding(file.name, notes):
        return _labels(open_file(read_bytes(file, max_megapixels), file.name, max_megapixels, notes), notes)


def _labels(source: Source, notes: list[str]) -> np.ndarray | None:
    image = source.image or TiffImagePlugin.TiffImageFile(io.BytesIO(source.data))
    if image.format in _LOSSY or image.mode not in _INTEGER_MODES:
        return None
    if is_png16(source.data):
        values = decode_png16(source.data)
    elif bmp.is_packed(source.data):
        values = bmp.decode(source.data)
    else:
        values = np.asarray(image)
    values = values.reshape(*values.shape[:2], -1)
    if values.shape[2] not in (1, 3) or (values != values[..., :1]).any():
        return None
    return _upright(source, values, notes)[..., 0].astype(np.int64)


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
    _writer(path)
    check_target(path, PICTURE, overwrite=overwrite)
    if size:
        check_size(path, size)


def check_size(path: PathLike, size: tuple[int, int]) -> None:
    """Raise OutputError SP606 if a picture of (height, width) is too large for the format of its name."""
    kind = _writer(path)
    limit = _SIDE_LIMITS.get(kind)
    if limit and max(size) > limit:
        raise OutputError(
            "SP606",
            f"The picture is {size[1]} x {size[0]}; a {kind} file ends at {limit} pixels a side.",
            "Use .png or .tif.",
        )


def check_quality(quality: Any) -> int:
    """Return the quality of JPEG and WebP.

    Raises:
        UsageError: SP101, it is no whole number from 1 to 100.
    """
    return int(values.number("quality", quality, 1, 100, whole=True))


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


@guarded()
def write_image(
    picture: Picture,
    path: PathLike,
    *,
    overwrite: bool = False,
    quality: int = 95,
    metadata: bool = True,
    keep_location: bool = False,
) -> None:
    """Write a picture so that the file is either whole or not there; it says that its colors are sRGB.

    Warns `StylePluginWarning` for everything in `losses`.

    Args:
        picture: What to write; 16 bits are kept in PNG.
        path: The extension decides the format: .png, .jpg, .webp, .tif, .bmp, .avif or .jxl.
        overwrite: Whether an existing file may be replaced.
        quality: 1-100, of JPEG, WebP, AVIF and JPEG XL.
        metadata: Whether to write the picture's EXIF and XMP, see `styleplugin.images.metadata`; BMP holds none.
        keep_location: Whether they may say where the picture was taken.

    Raises:
        UsageError: SP101, another quality.
        OutputError: SP601-SP606 and SP608 as in `check_output` and `files.atomic_write`.
    """
    check_output(path, overwrite=overwrite, size=picture.size)
    data = image_bytes(picture, Path(path).suffix, quality=quality, metadata=metadata, keep_location=keep_location)
    with atomic_write(path) as handle:
        handle.write(data)
    for loss in losses(picture, path):
        warnings.warn(loss, StylePluginWarning, stacklevel=2)


def image_bytes(
    picture: Picture, format: str, *, quality: int = 95, metadata: bool = True, keep_location: bool = False
) -> bytes:
    """Return what `write_image` writes.

    Args:
        picture: What to encode.
        format: An extension, with or without its dot: png, jpg, webp, tif or bmp.
        quality: As for `write_image`.
        metadata: As for `write_image`.
        keep_location: As for `write_image`.

    Raises:
        UsageError: SP101, another quality.
        OutputError: SP605, another format; SP606, a side is too long for it.
    """
    quality = check_quality(quality)
    name = f"picture.{format.lower().lstrip('.')}"
    check_size(name, picture.size)
    exif, xmp = b"", b""
    if metadata and picture.metadata is not None:
        exif, xmp = picture.metadata.chosen(keep_location=keep_location)
    return _encode(picture, _writer(name), quality, exif, xmp)


def _stored_size(source: Source) -> tuple[int, int]:
    if source.tiff is not None:
        return source.tiff.size
    assert source.image is not None
    width, height = source.image.size
    return height, width


def _note_surprises(image: Image.Image, extension: str, notes: list[str]) -> None:
    kind = image.format or ""
    if extension and extension not in EXTENSIONS[kind]:
        notes.append(f"The file is named {extension} and holds a {kind} picture; it was read as {kind}.")
    frames = getattr(image, "n_frames", 1)
    # The second picture of an MPO is a preview or a depth map.
    if frames > 1 and kind != "MPO":
        notes.append(f"The file holds {frames} frames or pages; only the first was read.")


def _samples(source: Source, name: str, notes: list[str], bits: int | None) -> np.ndarray:
    """Decode to (H, W, C) in sRGB: uint8, uint16 or, for float pictures, float32."""
    samples = _stored(source, name, notes, bits)
    if samples is None:
        assert source.image is not None
        source.image.load()
        return np.asarray(to_srgb(source.image, source.profile, source.space, notes))
    if source.tiff is not None and source.tiff.colors in ("CMYK", "LAB"):
        return cmyk_or_lab_to_srgb(samples, source.tiff.colors, source.profile, notes)
    if samples.dtype.kind == "f":
        _check_floats(samples, name, notes)
    return deep_to_srgb(samples, source.profile, source.space, notes)


def _stored(source: Source, name: str, notes: list[str], bits: int | None) -> np.ndarray | None:
    """Decode what Pillow would cut, misread or not convert, (H, W, C); None for what it does well."""
    if source.tiff is not None:
        return tiff.decode(source.tiff, name, notes, bits)
    image = source.image
    assert image is not None
    if is_png16(source.data):
        return decode_png16(source.data)
    if heif.is_deep(image):
        return heif.decode(source.data)
    if bmp.is_packed(source.data):
        return bmp.decode(source.data)
    if image.format == "PPM" and ppm.is_deep(source.data):
        return ppm.decode(source.data)
    if image.format == "PPM" and ppm.is_deep_text(source.data):
        notes.append("The PPM holds more than 8 bits in digits; 8 of them were read.")
    if image.mode.startswith("I;16"):
        return np.asarray(image)[..., None].astype(np.uint16)
    if image.mode == "F":
        return np.asarray(image)[..., None]
    if image.mode == "I":
        values = np.asarray(image)[..., None]
        # Pillow scales gray of a PPM to 16 bits.
        return values.astype(np.uint16) if image.format == "PPM" else to_samples(values, repr(name), notes, bits)
    return None


def _check_floats(samples: np.ndarray, name: str, notes: list[str]) -> None:
    check_finite(torch.from_numpy(samples.copy()).squeeze(-1), repr(name))
    low, high = samples.min(), samples.max()
    if low < 0 or high > 1:
        notes.append(f"The float values go from {low:g} to {high:g}; 0 is black and 1 is white.")


def _assemble(source: Source, samples: np.ndarray, name: str, notes: list[str]) -> Picture:
    samples = _upright(source, samples, notes)
    largest, bits = _DEPTHS[samples.dtype.name]
    channels = torch.from_numpy(np.array(np.moveaxis(samples, -1, 0), dtype=np.float32, order="C"))[None]
    metadata = metadata_of(source.exif, source.xmp, samples.shape[:2], notes)
    picture = from_channels(channels.div_(largest), bits=bits, name=name)
    return replace(picture, warnings=tuple(dict.fromkeys(notes)), metadata=metadata)


def _upright(source: Source, samples: np.ndarray, notes: list[str]) -> np.ndarray:
    return _ORIENTATIONS[_orientation(source, notes)](samples)


def _orientation(source: Source, notes: list[str]) -> int:
    """Return the EXIF orientation 1-8; 1 where it is missing or broken."""
    orientation = None if source.exif is None else source.exif.get(_ORIENTATION_TAG, 1)
    if orientation in _ORIENTATIONS:
        return orientation
    notes.append("The EXIF data is broken and was ignored.")
    return 1


def _encode(picture: Picture, kind: str, quality: int, exif: bytes, xmp: bytes) -> bytes:
    if kind == "PNG" and picture.bits > 8:
        others = [(b"eXIf", exif.removeprefix(_EXIF_HEAD))] * bool(exif) + [text_chunk(xmp)] * bool(xmp)
        return encode_png16(to_array(picture, bits=16), SRGB_PROFILE, others)
    if picture.alpha is not None and kind in _WITHOUT_ALPHA:
        picture = Picture(picture.rgb * picture.alpha + (1 - picture.alpha))
    if kind == "JXL":
        return jxl.encode(to_pil(picture), quality=quality, exif=exif, xmp=xmp)
    settings = {
        # Not "optimize": it makes Pillow fail on noisy pictures, whose data outgrows its one buffer.
        "JPEG": {"quality": quality, "subsampling": 0},
        "WEBP": {"quality": quality},
        # Left to itself it cuts tiles by the number of processors, and equal pictures would be other files.
        "AVIF": {"quality": quality, "subsampling": "4:4:4", "autotiling": False},
        "TIFF": {"compression": "tiff_adobe_deflate"},
    }
    buffer = io.BytesIO()
    beside = _beside(kind, exif, xmp)
    to_pil(picture).save(buffer, kind, icc_profile=SRGB_PROFILE, **settings.get(kind, {}), **beside)
    data = buffer.getvalue()
    if kind == "JPEG" and xmp and len(xmp) < MAX_SEGMENT - 100:
        return with_xmp(data, xmp)
    if kind == "TIFF" and (exif or xmp):
        tags = Image.Exif()
        tags.load(exif)
        if xmp:
            tags[_XMP_TAG] = xmp
        return tiff.with_exif(data, tags)
    return data


def _beside(kind: str, exif: bytes, xmp: bytes) -> dict[str, object]:
    """Return how Pillow is told what to write beside the pixels."""
    given: dict[str, object] = {"exif": exif} if exif and kind in ("JPEG", "PNG", "WEBP", "AVIF") else {}
    if xmp and kind in ("WEBP", "AVIF"):
        given["xmp"] = xmp
    if xmp and kind == "PNG":
        information = PngImagePlugin.PngInfo()
        information.add(*text_chunk(xmp))
        given["pnginfo"] = information
    return given


def _writer(path: PathLike) -> str:
    extension = Path(path).suffix.lower()
    if extension not in _WRITERS:
        raise OutputError(
            "SP605",
            f"{str(path)!r} has the extension {extension!r}; pictures are written as {', '.join(_WRITERS)}.",
            "Use one of these.",
        )
    kind = _WRITERS[extension]
    if not is_readable(kind):
        raise OutputError(
            "SP605", f"This installation writes no {extension} files.", f"Install {PACKAGES[kind]}, or use .png."
        )
    return kind
