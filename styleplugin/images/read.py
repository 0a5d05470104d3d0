"""Picture files that fit in memory, read into `Picture`."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from PIL import Image, TiffImagePlugin
from torch import Tensor

from styleplugin.files import PathLike, check_regular_file
from styleplugin.guard import guarded
from styleplugin.images.color.profiles import cmyk_or_lab_to_srgb, deep_to_srgb, to_srgb
from styleplugin.images.formats import bmp, heif, ppm, tiff
from styleplugin.images.formats.known import EXTENSIONS
from styleplugin.images.formats.png16 import decode_png16, is_png16
from styleplugin.images.in_memory import from_array, from_tensor, type_error
from styleplugin.images.integers import to_samples
from styleplugin.images.metadata import metadata_of
from styleplugin.images.opening import Source, decoding, of_image, open_file, read_bytes
from styleplugin.images.picture import Picture, check_finite, from_channels
from styleplugin.options import DEFAULT_MAX_MEGAPIXELS

_LOSSY = ("JPEG", "MPO", "WEBP", "AVIF", "HEIF", "JXL")
_INTEGER_MODES = ("1", "L", "P", "RGB", "I", "I;16", "I;16B", "I;16L")
_DEPTHS = {"uint8": (255, 8), "uint16": (65535, 16), "float32": (1, 32)}
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
def to_picture(obj: Any, *, bits: int | None = None, max_megapixels: float = DEFAULT_MAX_MEGAPIXELS) -> Picture:
    """Turn a path, Pillow image, array or tensor into a picture; a `Picture` is returned as it is.

    Args:
        obj: Path of an image file; `PIL.Image.Image`; numpy array (H, W), (H, W, C) or (1, H, W, C); torch tensor
            (C, H, W) or (1, C, H, W) on any device; C is 1, 3 or 4. Samples are uint8 (0..255), bool, floating point in
            [0, 1], or wider integers, whose values tell their range (see `styleplugin.images.integers`).
        bits: Of a value, for integers of which the values do not tell.
        max_megapixels: Most million pixels of a file to decode.

    Raises:
        InputImageError: SP201-SP206, a file that cannot be read.
        TensorInputError: SP211, a type that is not supported; SP212, a wrong shape; SP213, NaN or Inf; SP214, values
            far outside the range of their type, or integers whose range is not known.

    Example:
        >>> import numpy as np
        >>> to_picture(np.full((4, 6, 3), 255, np.uint8)).rgb.unique()
        tensor([1.])
    """
    if isinstance(obj, Picture):
        return obj
    if isinstance(obj, (str, os.PathLike)):
        return read_image(obj, max_megapixels=max_megapixels, bits=bits)
    if isinstance(obj, Image.Image):
        return from_pil(obj, bits=bits)
    if isinstance(obj, np.ndarray):
        return from_array(obj, bits=bits)
    if isinstance(obj, Tensor):
        return from_tensor(obj, bits=bits)
    raise type_error(type(obj).__name__)


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

    Example:
        >>> from PIL import Image
        >>> Image.new("RGB", (6, 4), "red").save("red.png")
        >>> picture = read_image("red.png")
        >>> picture.size, picture.rgb[0, :, 0, 0].tolist()
        ((4, 6), [1.0, 0.0, 0.0])
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

    Example:
        >>> from PIL import Image
        >>> Image.new("RGB", (6, 4)).save("black.png")
        >>> picture_size("black.png")
        (4, 6)
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
