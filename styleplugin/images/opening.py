"""From the bytes of a file to its pixels as stored, and to what it says beside them.

Pillow's plugins are called one by one: `Image.open` has a limit of pixels of its own, which belongs to the process.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import (
    BmpImagePlugin,  # noqa: F401 - plugins register themselves
    GifImagePlugin,  # noqa: F401
    Image,
    JpegImagePlugin,  # noqa: F401
    PngImagePlugin,
    PpmImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401
    WebPImagePlugin,  # noqa: F401
)

with suppress(ImportError):  # Before Pillow 11.3 there is none.
    from PIL import AvifImagePlugin  # noqa: F401
from styleplugin.errors import ImageTooLargeError, InputImageError, StylePluginError
from styleplugin.guard import is_out_of_memory
from styleplugin.images.color.spaces import ColorSpace, adobe_rgb, check_range, transfer_of
from styleplugin.images.formats import heif, jpeg, jxl, png, tiff
from styleplugin.images.formats.known import EXTENSIONS, PACKAGES, is_readable
from styleplugin.images.formats.pillow_warnings import pillow_warnings
from styleplugin.images.metadata import note_lost_pictures
from styleplugin.memory import check_room

# Pillow opens MPO as JPEG first.
_FORMATS = [kind for kind in EXTENSIONS if kind != "MPO" and kind not in PACKAGES]
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"GIF8", b"BM")
_PNG_END = b"IEND\xaeB`\x82"
_BYTES_PER_PIXEL = 3 + 3 * 4
"""What is decoded, and the colors in single precision that are made of it."""
_EXIF_IFD, _INTEROPERABILITY_IFD, _INTEROPERABILITY_INDEX = 0x8769, 0xA005, 1
_XMP_TAG, _ORIENTATION_TAG = 700, 0x0112
# An address says nothing to anybody, and is another one each time.
_ADDRESS = re.compile(r"<[^<>]* at 0x[0-9a-fA-F]+>")


@dataclass
class Source:
    """A picture as its file has it."""

    image: Image.Image | None
    """Its header, as Pillow sees it; None for TIFF that Pillow cannot read."""
    data: bytes = b""
    """The file, without what `image` must not see; empty for Pillow images from elsewhere."""
    tiff: tiff.TiffFile | None = None
    """TIFF that is decoded here."""
    profile: bytes | None = None
    space: ColorSpace | None = None
    """What the colors are where there is no profile; None for sRGB."""
    exif: Image.Exif | None = None
    xmp: bytes = b""


def read_bytes(file: Path, max_megapixels: float) -> bytes:
    """Read the file once; everything else looks at these bytes, so that a replaced file cannot mix two pictures.

    Raises:
        InputImageError: SP201, SP202; ImageTooLargeError: SP205.
    """
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
def decoding(name: str, notes: list[str]) -> Iterator[None]:
    """Turn whatever Pillow raises on damaged bytes into one error, and its warnings into notes."""
    with pillow_warnings(notes):
        try:
            yield
        except StylePluginError:
            raise
        except Image.DecompressionBombError as error:
            raise ImageTooLargeError(
                "SP205", f"{name!r} holds a frame that is far larger than its header says.", "Export the file again."
            ) from error
        # Its parsers raise nearly everything on hostile bytes, IndexError and struct.error included.
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise InputImageError(
                "SP204",
                f"{name!r} is damaged or cut short ({_ADDRESS.sub('the file', str(error))}).",
                "Copy or export the file again.",
            ) from error


def open_file(data: bytes, name: str, max_megapixels: float, notes: list[str]) -> Source:
    """Read the header and what stands beside the pixels, and check the size; no pixel is decoded yet.

    Raises:
        InputImageError: SP203, SP204, SP206; ImageTooLargeError: SP205; ResourceError: SP504; or any error of Pillow.
    """
    if data.startswith(tiff.MAGIC):
        file = tiff.read_header(data, name)
        if file.is_deep:
            _check_size((file.size[1], file.size[0]), name, max_megapixels)
            return _tiff_source(file, notes)
    if data.startswith(b"\x89PNG"):
        source = _png_source(data, name, max_megapixels, notes)
    elif data.startswith(b"\xff\xd8\xff"):
        source = _jpeg_source(data, name, max_megapixels, notes)
    elif data.startswith(jxl.MAGIC):
        source = _jxl_source(data, name, max_megapixels, notes)
    elif kind := heif.kind_of(data):
        source = _heif_source(data, kind, name, max_megapixels, notes)
    else:
        source = Source(_opened(data, name, max_megapixels), data)
        _add_information(source)
    check_range(transfer_of(source.profile), name)
    return source


def of_image(image: Image.Image, name: str, notes: list[str]) -> Source:
    """Return the source of an image that Pillow opened, or that was made in memory."""
    source = Source(image)
    _add_information(source)
    if source.profile is None and "srgb" not in image.info:
        gray = image.mode in ("1", "L", "LA", "I", "I;16", "I;16B", "F")
        points = image.info.get("chromaticity")
        source.space = png.described(image.info.get("gamma"), points, notes, gray=gray) or source.space
    note_lost_pictures(source.xmp, notes, more=image.format == "MPO")
    check_range(transfer_of(source.profile), name)
    return source


def _tiff_source(file: tiff.TiffFile, notes: list[str]) -> Source:
    try:
        exif = tiff.read_exif(file)
    # EXIF is parsed by Pillow without checks of its own.
    except Exception:
        exif = None
    if file.has_more_pages:
        notes.append("The file holds several pages; only the first was read.")
    return Source(None, file.data, file, file.profile, exif=exif, xmp=_as_bytes(file.tags.get(_XMP_TAG)))


def _png_source(data: bytes, name: str, max_megapixels: float, notes: list[str]) -> Source:
    file = png.split(data)
    source = Source(_opened(file.data, name, max_megapixels), file.data)
    # Pillow does not miss the last bytes of a PNG.
    if _PNG_END not in data:
        raise ValueError("the end mark is missing")
    notes += file.notes
    _add_information(source)
    assert source.image is not None
    gray = source.image.mode in ("1", "L", "LA", "I", "I;16", "I;16B")
    source.profile, source.xmp = file.profile, file.xmp
    source.space = png.color_space(file, name, notes, gray=gray)
    note_lost_pictures(source.xmp, notes)
    return source


def _jpeg_source(data: bytes, name: str, max_megapixels: float, notes: list[str]) -> Source:
    file = jpeg.describe(data)
    jpeg.check_coding(file, name)
    try:
        image = _opened(data, name, max_megapixels)
    except StylePluginError:
        raise
    except Exception:
        # The picture is good more often than what stands around it.
        data = jpeg.without_metadata(data)
        image = _opened(data, name, max_megapixels)
        file = jpeg.JpegFile(file.frame, file.bits)
        notes.append("The file's metadata is broken and was dropped.")
    _check_room(image.size, name, file.coefficients)
    source = Source(image, data)
    _add_information(source)
    source.xmp = file.xmp
    note_lost_pictures(file.xmp, notes, gain_map=file.has_gain_map, more=file.has_more_pictures)
    return source


def _heif_source(data: bytes, kind: str, name: str, max_megapixels: float, notes: list[str]) -> Source:
    _check_readable(kind, name)
    image = heif.open_heif(data) if kind == "HEIF" else Image.OPEN[kind][0](io.BytesIO(data), "")
    _check_size(image.size, name, max_megapixels)
    source = Source(image, data)  # pyright: ignore[reportArgumentType]
    _add_information(source)
    if source.profile is None:
        source.space = heif.color_space(image, data, name, notes) or source.space
    if kind == "AVIF":
        heif.note_depth(data, notes)
    note_lost_pictures(source.xmp, notes)
    return source


def _jxl_source(data: bytes, name: str, max_megapixels: float, notes: list[str]) -> Source:
    _check_readable("JXL", name)
    header = jxl.read_header(data)
    # Its decoder gives the header with the pixels.
    _check_size(header.size, name, max_megapixels)
    image, packed = jxl.decode(data)
    if packed is not None:
        source = _jpeg_source(packed, name, max_megapixels, notes)
        assert source.image is not None
        source.image.format = "JXL"
        return source
    source = Source(image)
    _add_information(source)
    if source.exif is not None:
        # The decoder has turned it upright.
        source.exif[_ORIENTATION_TAG] = 1
    if header.bits > 8 and image.mode not in ("F", "I;16"):
        notes.append(f"The JPEG XL picture has {header.bits} bits; 8 of them were read.")
    return source


def _check_readable(kind: str, name: str) -> None:
    if not is_readable(kind):
        raise InputImageError(
            "SP203",
            f"{name!r} is a picture in the format {kind}, which this installation does not read.",
            f"Install {PACKAGES[kind]}, or convert it to PNG or JPEG.",
        )


def _add_information(source: Source) -> None:
    """Take what Pillow found beside the pixels."""
    image = source.image
    assert image is not None
    source.profile = image.info.get("icc_profile") or None
    source.xmp = _as_bytes(image.info.get("xmp") or getattr(image, "tag_v2", {}).get(_XMP_TAG))
    try:
        # Of a PNG, everything stands in front of the pixels by now; asked itself, it decodes them first.
        is_split = isinstance(image, PngImagePlugin.PngImageFile) and source.data
        source.exif = Image.Image.getexif(image) if is_split else image.getexif()
        if source.profile is None and _names_adobe_rgb(source.exif) and image.mode == "RGB":
            source.space = adobe_rgb()
    # EXIF is parsed by Pillow without checks of its own.
    except Exception:
        source.exif = None


def _names_adobe_rgb(exif: Image.Exif) -> bool:
    """Tell whether a camera says, by a letter and two digits, that its colors are Adobe RGB (CIPA DC-008, 4.6.7)."""
    if _EXIF_IFD not in exif or _INTEROPERABILITY_IFD not in exif.get_ifd(_EXIF_IFD):
        return False
    return str(exif.get_ifd(_INTEROPERABILITY_IFD).get(_INTEROPERABILITY_INDEX, "")).startswith("R03")


def _as_bytes(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    return bytes(value) if isinstance(value, (bytes, tuple)) else b""


def _opened(data: bytes, name: str, max_megapixels: float) -> Image.Image:
    image = _first_that_opens(data, name)
    _check_size(image.size, name, max_megapixels)
    return image


def _first_that_opens(data: bytes, name: str) -> Image.Image:
    for kind in _FORMATS:
        factory, accepts = Image.OPEN[kind]
        if accepts is not None and not accepts(data[:16]):
            continue
        try:
            return factory(io.BytesIO(data), "")  # pyright: ignore[reportReturnType]
        except (SyntaxError, IndexError, TypeError, KeyError, ValueError, OSError):
            if data.startswith(_MAGIC):
                raise
    accepted = ", ".join(kind for kind in EXTENSIONS if kind != "MPO" and is_readable(kind))
    raise InputImageError(
        "SP203",
        f"{name!r} is not a picture in an accepted format: {accepted}.",
        "Convert it to one of these.",
    )


def _check_size(size: tuple[int, int], name: str, max_megapixels: float) -> None:
    width, height = size
    if width * height > max_megapixels * 1e6:
        raise ImageTooLargeError(
            "SP205",
            f"{name!r} is {width} x {height} ({width * height / 1e6:,.1f} megapixels); "
            f"the limit is {max_megapixels:g} megapixels.",
            "Make it smaller, or raise the limit with `max_megapixels`.",
            {"width": width, "height": height, "max_megapixels": max_megapixels},
        )
    if width < 1 or height < 1:
        raise ValueError(f"its size is {width} x {height}")
    _check_room(size, name)


def _check_room(size: tuple[int, int], name: str, more: int = 0) -> None:
    """Refuse a picture that does not fit in memory, with what its decoder needs beside it, before that is taken."""
    needed = size[0] * size[1] * _BYTES_PER_PIXEL + more
    what = f"Reading {name!r}, {size[0]} x {size[1]},"
    check_room(needed, what, "Close other programs, or make the picture smaller.")
