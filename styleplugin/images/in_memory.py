"""Pictures from what a program has in memory: arrays and tensors of many shapes and types."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from styleplugin.errors import TensorInputError
from styleplugin.images.integers import to_samples
from styleplugin.images.picture import Picture, check_finite, from_channels

# Largest value of each sample type whose range is known. Floats are [0, 1] and count as 8 bits.
_LARGEST = {"bool": 1, "uint8": 255, "float16": 1, "bfloat16": 1, "float32": 1, "float64": 1}
_WIDE_INTEGERS = ("uint16", "int16", "int32", "uint32", "int64", "uint64")


def from_array(samples: np.ndarray, *, bits: int | None = None) -> Picture:
    """Return the picture in an array, (H, W), (H, W, C) or (1, H, W, C); see `styleplugin.images.read.to_picture`."""
    _check_type(samples.dtype.name)
    native = np.array(samples, dtype=samples.dtype.newbyteorder("="), order="C")
    return _from_samples(torch.from_numpy(native), _channels_from_array, bits)


def from_tensor(samples: Tensor, *, bits: int | None = None) -> Picture:
    """Return the picture in a tensor, (C, H, W) or (1, C, H, W); see `styleplugin.images.read.to_picture`."""
    _check_type(_name(samples))
    return _from_samples(samples.detach().cpu(), _channels_from_tensor, bits)


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
        raise type_error(name)


def type_error(name: str) -> TensorInputError:
    """Return the error for what is no picture."""
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
