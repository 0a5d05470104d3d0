"""Several styles, each in a region of its own: one set of statistics and one run per region, added up."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from styleplugin.engine.stream import OnStep
from styleplugin.errors import UsageError
from styleplugin.images.masks import read_mask
from styleplugin.images.picture import Picture
from styleplugin.images.read import to_picture
from styleplugin.job import Result, part_of
from styleplugin.options import DEFAULT_MAX_MEGAPIXELS, StyleWeight
from styleplugin.paths import paths_among

Paint = Callable[[Picture, Sequence[StyleWeight], Tensor, "OnStep | None"], Result]
"""Stylizes a picture with a mix of styles where a mask (H, W) is white."""


def has_regions(parts: Sequence[StyleWeight]) -> bool:
    """Whether a style applies to a part of the picture only."""
    return any(part.region is not None for part in parts)


def refuse_regions(parts: Sequence[StyleWeight], where: str) -> None:
    """Raise UsageError SP127 if a style has a region."""
    if has_regions(parts):
        raise UsageError("SP127", f"A style has a region, which {where} cannot follow.", "Use a mask for all styles.")


def stylize_regions(
    content: Any,
    parts: Sequence[StyleWeight],
    mask: Any,
    paint: Paint,
    on_step: OnStep | None,
    *,
    label: int | None = None,
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
) -> Result:
    """Paint every region in its style, and what they leave in the mix of the styles without a region.

    Where regions overlap, their styles share the place. What no style covers is left as it is.

    Args:
        content: Path, Pillow image, array, tensor or `Picture`.
        parts: The styles; regions are pictures as masks are.
        mask: Where anything is painted at all, or None.
        paint: See `Paint`.
        on_step: Progress of all regions together.
        label: The value that is painted, where the mask is a picture of labels.
        max_megapixels: Most million pixels of a file.

    Raises:
        InputImageError: SP2xx, a mask that cannot be used.
    """
    picture = to_picture(content, max_megapixels=max_megapixels)
    notes: list[str] = []

    def place_of(mask: Any, what: str, label: int | None = None) -> Tensor:
        where, warned = read_mask(mask, picture.size, label=label, max_megapixels=max_megapixels)
        notes.extend(f"{what}: {note}" for note in warned)
        return where

    groups: list[tuple[list[StyleWeight], Tensor]] = []
    for part in parts:
        if part.region is not None:
            groups.append(([dataclasses.replace(part, region=None)], place_of(part.region, "region")))
    covered = torch.stack([where for _, where in groups]).amax(0)
    free = [part for part in parts if part.region is None]
    if free:
        groups.append((free, 1 - covered))
    # A style whose region is empty has nothing to do; if no style has, the run says so.
    groups = [group for group in groups if bool(group[1].any())] or groups[:1]
    shares = sum(where for _, where in groups)
    assert isinstance(shares, Tensor)
    shares = shares.clamp(min=1) if mask is None else shares.clamp(min=1) / place_of(mask, "mask", label)
    rgb, results = picture.rgb.clone(), []
    for i, (styles, where) in enumerate(groups):
        results.append(paint(picture, styles, (where / shares)[0, 0], part_of(on_step, i, len(groups))))
        rgb += results[-1].tensor - picture.rgb
    report = dataclasses.replace(
        results[0].report,
        style_sizes=[size for result in results for size in result.report.style_sizes],
        seconds={name: sum(result.report.seconds[name] for result in results) for name in results[0].report.seconds},
        warnings=list(dict.fromkeys(note for result in results for note in result.report.warnings)),
    )
    for note in notes:
        report.warn(note)
    inputs = paths_among(content, list(parts), mask)
    return Result(dataclasses.replace(picture, rgb=rgb, warnings=()), report, inputs)
