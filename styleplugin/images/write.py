"""Pictures as files: written whole or not at all, by their extension."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from styleplugin import values
from styleplugin.errors import OutputError, StylePluginWarning
from styleplugin.files import PathLike, atomic_write, check_target
from styleplugin.guard import guarded
from styleplugin.images.color.profiles import SRGB_PROFILE
from styleplugin.images.formats import jxl, tiff
from styleplugin.images.formats.jpeg import MAX_SEGMENT, with_xmp
from styleplugin.images.formats.known import PACKAGES, is_readable
from styleplugin.images.formats.png import text_chunk
from styleplugin.images.formats.png16 import encode_png16
from styleplugin.images.picture import Picture, to_array, to_pil
from styleplugin.kinds import PICTURE

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
_XMP_TAG = 700
_EXIF_HEAD = b"Exif\0\0"


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
