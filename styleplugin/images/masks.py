"""Where something applies: masks, drawn in light and dark or written as labels."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from styleplugin.errors import MaskError, TensorInputError
from styleplugin.guard import guarded
from styleplugin.images.color.conversions import luminance
from styleplugin.images.picture import Picture
from styleplugin.images.read import to_picture
from styleplugin.options import DEFAULT_MAX_MEGAPIXELS

_WHITES = (255, 65535)


@guarded()
def read_mask(
    obj: Any,
    size: tuple[int, int],
    *,
    label: int | None = None,
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
) -> tuple[Tensor, tuple[str, ...]]:
    """Read where the style applies.

    A mask whose values are 0 and 1 only is a mask. Several integers of which the largest is neither 255 nor 65535 are
    labels, and one of them must be named; files that lose values when they are written, as JPEG does, hold no labels.

    Args:
        obj: As for `to_picture`, or a tensor (H, W). Colors count by their luminance; transparent parts count as 0.
        size: (height, width) of the picture the mask belongs to; a mask of another size is resized by area.
        label: The value that is meant, where the mask is a picture of labels; of a palette, the index.
        max_megapixels: Most million pixels of a file to decode.

    Returns:
        (1, 1, H, W) float32 in [0, 1], and the warnings for the report.

    Raises:
        InputImageError: SP201-SP206, a file that cannot be read.
        MaskError: SP220, NaN, Inf, or a type, shape or range that `to_picture` refuses; SP224, labels of which none was
            named, or a label that is not there.
    """
    if isinstance(obj, Tensor) and obj.ndim == 2:
        obj = obj[None]
    if label is None:
        mask, notes = _unnamed(obj, max_megapixels)
    else:
        mask, notes = _named(_labels(obj, max_megapixels), label), ()
    given = (mask.shape[2], mask.shape[3])
    if given == tuple(size):
        return mask, notes
    resized = f"The mask is {given[1]} x {given[0]} and its picture {size[1]} x {size[0]}; the mask was resized."
    return F.interpolate(mask, size=tuple(size), mode="area"), (*notes, resized)


def _unnamed(obj: Any, max_megapixels: float) -> tuple[Tensor, tuple[str, ...]]:
    """Read a mask of which no label was named: drawn in light and dark, or of 0 and 1."""
    if isinstance(obj, (np.ndarray, Tensor)):
        labels = _labels(obj, max_megapixels)
        if labels is not None and _are_labels(labels):
            return _zero_and_one(labels)
        return _drawn(obj, max_megapixels)
    mask = notes = None
    try:
        mask, notes = _drawn(obj, max_megapixels)
    except MaskError as error:
        # Labels of 32 bits have no range that a picture could have.
        if error.details.get("high") is None:
            raise
    if mask is not None and notes is not None and bool((mask == 1).any()):
        return mask, notes
    labels = _labels(obj, max_megapixels)
    if labels is not None and (mask is None or _are_labels(labels)):
        return _zero_and_one(labels)
    assert mask is not None and notes is not None
    return mask, notes


def _drawn(obj: Any, max_megapixels: float) -> tuple[Tensor, tuple[str, ...]]:
    """Read a mask as a picture: its light, and transparent parts as black."""
    try:
        picture = to_picture(obj, max_megapixels=max_megapixels)
    except TensorInputError as error:
        raise MaskError("SP220", f"The mask cannot be used: {error.message}", error.hint, error.details) from error
    mask = luminance(picture.rgb).clamp(0, 1)
    return mask if picture.alpha is None else mask * picture.alpha, picture.warnings


def _labels(obj: Any, max_megapixels: float) -> np.ndarray | None:
    """Return the integers that a mask is made of, (H, W); None where it is made of anything else."""
    if isinstance(obj, Picture):
        return _labels_of_picture(obj)
    if isinstance(obj, (str, os.PathLike, Image.Image)):
        # Reading needs masks' neighbors in turn.
        from styleplugin.images.read import read_labels

        return read_labels(obj, max_megapixels=max_megapixels)
    if isinstance(obj, Tensor):
        if obj.is_floating_point() or obj.dtype == torch.bool or obj.is_complex():
            return None
        obj = obj.detach().cpu().numpy()
        return _one_channel(np.moveaxis(obj[0] if obj.ndim == 4 else obj, 0, -1))
    if isinstance(obj, np.ndarray) and obj.dtype.kind in "ui":
        return _one_channel(obj[0] if obj.ndim == 4 else obj)
    return None


def _labels_of_picture(picture: Picture) -> np.ndarray | None:
    if picture.alpha is not None or picture.bits > 16:
        return None
    values = picture.rgb[0].movedim(0, -1).numpy() * (255 if picture.bits == 8 else 65535)
    whole = np.rint(values)
    return _one_channel(whole.astype(np.int64)) if np.abs(values - whole).max() < 0.01 else None


def _one_channel(values: np.ndarray) -> np.ndarray | None:
    """Return (H, W) of (H, W) or of (H, W, C) with equal channels; None for others, and for none at all."""
    if not values.size or values.ndim not in (2, 3):
        return None
    if values.ndim == 2:
        return values
    return values[..., 0] if (values == values[..., :1]).all() else None


def _are_labels(labels: np.ndarray) -> bool:
    """Tell labels from light and dark; one value all over, beyond 1, is a uniform gray, and has nothing to choose."""
    low, high = labels.min(), labels.max()
    return high not in _WHITES and (low < high or high <= 1)


def _zero_and_one(labels: np.ndarray) -> tuple[Tensor, tuple[str, ...]]:
    if labels.min() >= 0 and labels.max() <= 1:
        return _where(labels == 1), ("The mask holds 0 and 1 only; 1 was read as white.",) * bool(labels.any())
    raise MaskError(
        "SP224",
        f"The largest value of the mask is {labels.max()}, which is not white; it seems to hold labels: "
        f"{_listed(labels)}.",
        "Name the label that is meant: label=N (on the command line `mask_label=N`); or give a mask with white.",
    )


def _named(labels: np.ndarray | None, label: int) -> Tensor:
    if labels is None:
        raise MaskError(
            "SP224",
            f"The label {label} was named, but the mask holds no labels.",
            "Give integers, a palette, or a gray picture as PNG or TIFF; or leave the label out.",
        )
    where = labels == label
    if not where.any():
        raise MaskError(
            "SP224", f"The mask has no label {label}; it has {_listed(labels)}.", "Name one of these labels."
        )
    return _where(where)


def _where(chosen: np.ndarray) -> Tensor:
    return torch.from_numpy(chosen.astype(np.float32))[None, None]


def _listed(labels: np.ndarray) -> str:
    found = np.unique(labels)
    return ", ".join(map(str, found[:12])) + (", ..." if len(found) > 12 else "")
