"""The one form in which pictures travel: `Picture`, made from whatever a caller has."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from styleplugin.errors import TensorInputError
from styleplugin.guard import guarded
from styleplugin.images.integers import to_samples
from styleplugin.images.metadata import Metadata
from styleplugin.options import DEFAULT_MAX_MEGAPIXELS

# Largest value of each sample type whose range is known. Floats are [0, 1] and count as 8 bits.
_LARGEST = {"bool": 1, "uint8": 255, "float16": 1, "bfloat16": 1, "float32": 1, "float64": 1}
_WIDE_INTEGERS = ("uint16", "int16", "int32", "uint32", "int64", "uint64")


@dataclass(frozen=True, eq=False)
class Picture:
    """An upright sRGB picture with its alpha aside; its memory belongs to nobody else."""

    rgb: Tensor
    """(1, 3, H, W) float32 in [0, 1], channels-last in memory; pictures of 32 bits may go outside."""
    alpha: Tensor | None = None
    """(1, 1, H, W) float32 in [0, 1]; where it is 0, `rgb` holds the mean of the visible colors."""
    bits: int = 8
    """Depth of the source: 8, 16 or 32 (float); decides the depth of the output."""
    name: str = ""
    """File name for messages; empty for pictures made in memory."""
    warnings: tuple[str, ...] = ()
    """What was noticed while reading; the run lists it in its report."""
    metadata: Metadata | None = None
    """What the file said of the picture, and the output may say again."""

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.rgb.shape[-2]

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.rgb.shape[-1]

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.height, self.width


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
    """
    # Reading needs Picture in turn.
    from styleplugin.images.small import from_pil, read_image

    if isinstance(obj, Picture):
        return obj
    if isinstance(obj, (str, os.PathLike)):
        return read_image(obj, max_megapixels=max_megapixels, bits=bits)
    if isinstance(obj, Image.Image):
        return from_pil(obj, bits=bits)
    if isinstance(obj, np.ndarray):
        _check_type(obj.dtype.name)
        native = np.array(obj, dtype=obj.dtype.newbyteorder("="), order="C")
        return _from_samples(torch.from_numpy(native), _channels_from_array, bits)
    if isinstance(obj, Tensor):
        _check_type(str(obj.dtype).removeprefix("torch."))
        return _from_samples(obj.detach().cpu(), _channels_from_tensor, bits)
    raise _type_error(type(obj).__name__)


def from_channels(channels: Tensor, *, bits: int, name: str = "", warnings: tuple[str, ...] = ()) -> Picture:
    """Set alpha aside, repeat gray, and hide the colors under alpha 0.

    Args:
        channels: (1, C, H, W) float32, C is 1 (gray), 2 (gray, alpha), 3 (RGB) or 4 (RGBA); becomes the picture's own.
        bits: Depth of the source: 8, 16 or 32.
        name: File name for messages.
        warnings: What was noticed while reading.
    """
    count = channels.shape[1]
    has_alpha = count in (2, 4)
    color = channels[:, : count - has_alpha].expand(-1, 3, -1, -1)
    if not has_alpha:
        return Picture(color.contiguous(memory_format=torch.channels_last), None, bits, name, warnings)
    alpha = channels[:, -1:].clamp(0, 1)
    visible = _hide(color, alpha).contiguous(memory_format=torch.channels_last)
    return Picture(visible, alpha.contiguous(), bits, name, warnings)


def to_array(picture: Picture, bits: int | None = None) -> np.ndarray:
    """Return (H, W, 3) or, with alpha, (H, W, 4) samples, rounded and clamped.

    Args:
        picture: Any picture.
        bits: 8 for uint8, 16 for uint16; by default 8 for pictures of 8 bits and 16 for all others.
    """
    deep = (bits or picture.bits) > 8
    channels = picture.rgb if picture.alpha is None else torch.cat([picture.rgb, picture.alpha], dim=1)
    scaled = channels[0].permute(1, 2, 0).clamp(0, 1).mul(65535 if deep else 255).round()
    return np.ascontiguousarray(scaled.numpy().astype(np.uint16 if deep else np.uint8))


def to_pil(picture: Picture) -> Image.Image:
    """Return an 8-bit RGB or RGBA Pillow image."""
    return Image.fromarray(to_array(picture, bits=8))


def check_finite(samples: Tensor, what: str) -> None:
    """Refuse NaN and Inf.

    Raises:
        TensorInputError: SP213, with the count and the first index in the layout of `samples`.
    """
    broken = ~samples.isfinite()
    count = int(broken.sum())
    if count:
        first = tuple(broken.nonzero()[0].tolist())
        raise TensorInputError(
            "SP213",
            f"{what} holds {count} NaN or infinite values, the first at index {first}; all values must be finite.",
            "Find out where they come from; replacing them would hide it.",
            {"count": count, "first": list(first)},
        )


def _from_samples(samples: Tensor, arrange: Callable[[Tensor], Tensor], bits: int | None) -> Picture:
    """Check values in the caller's layout, so that indices in messages are the caller's; then arrange and scale."""
    channels = arrange(samples)
    name = _name(samples)
    if name in _WIDE_INTEGERS:
        notes: list[str] = []
        channels = torch.from_numpy(to_samples(channels.numpy(), "the picture", notes, bits))
        largest, depth = (255, 8) if channels.dtype == torch.uint8 else (65535, 16)
        scaled = channels.to(torch.float32, memory_format=torch.channels_last).div_(largest)
        return from_channels(scaled, bits=depth, warnings=tuple(notes))
    warnings = _check_range(samples) if samples.is_floating_point() else ()
    channels = channels.to(torch.float32, copy=True, memory_format=torch.channels_last)
    if _LARGEST[name] > 1:
        channels.div_(_LARGEST[name])
    return from_channels(channels.clamp_(0, 1) if warnings else channels, bits=8, warnings=warnings)


def _name(samples: Tensor) -> str:
    return str(samples.dtype).removeprefix("torch.")


def _check_type(name: str) -> None:
    if name not in _LARGEST and name not in _WIDE_INTEGERS:
        raise _type_error(name)


def _type_error(name: str) -> TensorInputError:
    return TensorInputError(
        "SP211",
        f"The picture is of type {name}; it must be a path, a Pillow image, or an array or tensor of "
        f"{', '.join((*_LARGEST, *_WIDE_INTEGERS))}.",
        "Convert it first.",
    )


def _channels_from_array(samples: Tensor) -> Tensor:
    """Arrange (H, W), (H, W, C) or (1, H, W, C) as (1, C, H, W)."""
    given = tuple(samples.shape)
    if samples.ndim == 2:
        samples = samples[..., None]
    if samples.ndim == 4 and given[0] == 1:
        samples = samples[0]
    if samples.ndim != 3 or samples.shape[2] not in (1, 3, 4) or not samples.numel():
        raise _shape_error("array", given, "(H, W), (H, W, C) or (1, H, W, C)")
    return samples.permute(2, 0, 1)[None]


def _channels_from_tensor(samples: Tensor) -> Tensor:
    """Arrange (C, H, W) or (1, C, H, W) as (1, C, H, W)."""
    given = tuple(samples.shape)
    if samples.ndim == 3:
        samples = samples[None]
    if samples.ndim != 4 or samples.shape[0] != 1 or samples.shape[1] not in (1, 3, 4) or not samples.numel():
        raise _shape_error("tensor", given, "(C, H, W) or (1, C, H, W)")
    return samples


def _shape_error(kind: str, given: tuple[int, ...], expected: str) -> TensorInputError:
    return TensorInputError(
        "SP212",
        f"The {kind} has the shape {given}; a picture is {expected} with C = 1, 3 or 4 and at least one pixel.",
        "Permute it, or give the pictures of a batch one by one.",
        {"shape": list(given)},
    )


def _check_range(samples: Tensor) -> tuple[str, ...]:
    """Refuse values that are not finite or mean another range; return a warning for values slightly outside."""
    # In the order of memory: the host's channels-last tensors are 30 times faster so.
    in_order = samples.permute(sorted(range(samples.dim()), key=samples.stride, reverse=True))
    low, high = (float(value) for value in in_order.aminmax())
    if not (math.isfinite(low) and math.isfinite(high)):
        check_finite(samples, "The picture")
    if low >= 0 and high <= 1:
        return ()
    outside = f"The values of the picture go from {low:g} to {high:g}; they must lie in 0..1."
    if high > 2:
        raise TensorInputError("SP214", outside, "Divide by 255 if these are 8-bit values.")
    if low < -0.5:
        raise TensorInputError("SP214", outside, "Undo the normalization first; -1..1 becomes 0..1 by x / 2 + 0.5.")
    return (f"The values of the picture went from {low:g} to {high:g} and were clamped to 0..1.",)


def _hide(color: Tensor, alpha: Tensor) -> Tensor:
    """Replace colors nobody can see, which may be anything, by the mean of the visible ones."""
    weight = _total(alpha)
    if not weight > 0:
        return torch.where(alpha > 0, color, 0.5)
    return torch.where(alpha > 0, color, (_total(color * alpha) / weight).to(color))


def _total(channels: Tensor) -> Tensor:
    """Add up each channel, row by row: a sum over all pixels at once is shared out to threads and rounds with them."""
    return channels.sum(3, keepdim=True, dtype=torch.float64).sum(2, keepdim=True)
