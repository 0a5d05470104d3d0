"""What every run begins and ends with: options by name, styles with weights, a content with its mask, a result."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from functools import cached_property
from typing import Any, BinaryIO, cast

import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from styleplugin.engine.stream import OnStep
from styleplugin.errors import MaskError, UsageError
from styleplugin.files import PathLike
from styleplugin.images.borders import Borders, uniform_borders
from styleplugin.images.masks import read_mask
from styleplugin.images.picture import Picture, to_pil
from styleplugin.images.read import to_picture
from styleplugin.images.write import image_bytes, losses, write_image
from styleplugin.kinds import PICTURE
from styleplugin.options import DEFAULT_MAX_MEGAPIXELS, StyleWeight
from styleplugin.paths import Written, check_paths
from styleplugin.report import Report


@dataclass(frozen=True, eq=False)
class Result:
    """A stylized picture and the account of how it was made.

    Example:
        >>> import numpy as np
        >>> from styleplugin import to_picture
        >>> result = Result(to_picture(np.zeros((4, 6, 3), np.uint8)))
        >>> result.save("black.png")
        >>> result.image.size, tuple(result.tensor.shape)
        ((6, 4), (1, 3, 4, 6))
    """

    picture: Picture
    report: Report = field(default_factory=Report)
    inputs: tuple[PathLike, ...] = ()
    """The files it was made from, which it never replaces."""

    @property
    def image(self) -> Image.Image:
        """The picture as an 8-bit Pillow image, RGB or RGBA."""
        return to_pil(self.picture)

    @property
    def tensor(self) -> Tensor:
        """The colors as (1, 3, H, W) float32 in [0, 1], channels-last in memory."""
        return self.picture.rgb

    def save(
        self,
        path: str | os.PathLike[str] | BinaryIO,
        *,
        overwrite: bool = False,
        quality: int = 95,
        format: str | None = None,
        metadata: bool = True,
        keep_location: bool = False,
    ) -> None:
        """Write the picture; see `styleplugin.images.write.write_image` for formats and errors.

        Args:
            path: A file name, or an open binary file.
            overwrite: Whether an existing picture may be replaced.
            quality: 1 to 100, of JPEG and WebP.
            format: Of an open file: png, jpg, webp, tif or bmp. A file name says it itself.
            metadata: Whether to write the picture's EXIF and XMP.
            keep_location: Whether they may say where the picture was taken.

        Raises:
            UsageError: SP119, an open file without a format, or a name with one; SP101, another quality.
            OutputError: SP607, the path leads to a file that the picture was made from.
        """
        is_path = isinstance(path, (str, os.PathLike))
        if is_path and format is not None:
            raise UsageError(
                "SP119", f"The format {format!r} was given, but the name's extension decides.", "Leave it out."
            )
        if not is_path and format is None:
            raise UsageError("SP119", "An open file does not name its format.", 'Add it, for example format="png".')
        kept = {"quality": quality, "metadata": metadata, "keep_location": keep_location}
        if isinstance(path, (str, os.PathLike)):
            check_paths(self.inputs, [Written(path, PICTURE, overwrite)])
            write_image(self.picture, path, overwrite=overwrite, **kept)
        else:
            path.write(image_bytes(self.picture, str(format), **kept))
            path = f"picture.{str(format).lower().lstrip('.')}"
        self.report.warnings += [note for note in losses(self.picture, path) if note not in self.report.warnings]


@dataclass(frozen=True, eq=False)
class Content:
    """A picture to stylize, and where."""

    picture: Picture
    where: Tensor | None
    """The mask, (1, 1, H, W), or None where it is white everywhere."""

    @property
    def counted(self) -> Tensor | None:
        """How much each pixel counts in the statistics: mask and alpha; None where all count alike."""
        alpha = self.picture.alpha
        return alpha if self.where is None else self.where if alpha is None else self.where * alpha

    @cached_property
    def is_blank(self) -> bool:
        """Whether what counts has one color, within half a step of 8 bits; one pixel is no surprise."""
        colors, counted = self.picture.rgb.flatten(2), self.counted
        visible = colors if counted is None else colors[:, :, (counted > 0).flatten()]
        return visible.shape[2] > 1 and bool((visible.amax(2) - visible.amin(2)).max() < 0.5 / 255)

    @property
    def is_hidden(self) -> bool:
        """Whether mask and alpha leave nothing to do."""
        counted = self.counted
        return counted is not None and not bool(counted.any())


def read_content(
    content: Any,
    mask: Any,
    report: Report,
    *,
    label: int | None = None,
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
) -> Content:
    """Read a content and its mask; size and warnings go to the report.

    Args:
        content: As for `to_picture`.
        mask: As for `read_mask`, or None.
        report: Gets them.
        label: As for `read_mask`.
        max_megapixels: Most million pixels of a file.

    Raises:
        InputImageError: SP2xx, a picture or mask that cannot be used.
    """
    picture = to_picture(content, max_megapixels=max_megapixels)
    report.content_size = picture.size
    for note in picture.warnings:
        report.warn(f"content: {note}")
    where = None
    if mask is not None:
        where, notes = read_mask(mask, picture.size, label=label, max_megapixels=max_megapixels)
        for note in notes:
            report.warn(f"mask: {note}")
        if not where.any():
            report.warn("empty_mask: the mask is black everywhere; the content is returned as it is.")
        where = None if bool((where == 1).all()) else where
    if picture.alpha is not None and not bool(picture.alpha.any()):
        report.warn("empty_alpha: the content is transparent everywhere; it is returned as it is.")
    read = Content(picture, where)
    if not read.is_hidden and read.is_blank:
        report.warn("blank_content: the content has no contrast; there is nothing to keep but its color.")
    return read


def read_style(
    style: Any,
    mask: Any = None,
    *,
    label: int | None = None,
    trim: bool = False,
    max_megapixels: float = DEFAULT_MAX_MEGAPIXELS,
) -> Picture:
    """Read the picture of a style; its alpha becomes what counts of it, and its warnings say what was noticed.

    Args:
        style: As for `to_picture`.
        mask: Which part counts, as for `read_mask`, or None.
        label: As for `read_mask`.
        trim: Whether to leave uniform borders out.
        max_megapixels: Most million pixels of a file.

    Raises:
        InputImageError: SP2xx, a picture or mask that cannot be used; SP223, nothing of it counts.
    """
    picture = to_picture(style, max_megapixels=max_megapixels)
    notes, counted = list(picture.warnings), picture.alpha
    if mask is not None:
        where, more = read_mask(mask, picture.size, label=label, max_megapixels=max_megapixels)
        notes += more
        if not bool(where.any()):
            raise MaskError(
                "SP223",
                "The mask of the style picture is black everywhere; white parts are measured.",
                "Invert the mask, or leave it out.",
            )
        counted = where if counted is None else where * counted
    if counted is not None and not bool(counted.any()):
        raise MaskError("SP223", "The style picture is transparent everywhere.", "Give a picture that can be seen.")
    rgb = picture.rgb
    borders = uniform_borders(rgb) if picture.alpha is None and (trim or mask is None) else Borders()
    if borders and trim:
        rgb, counted = borders.cut(rgb), None if counted is None else borders.cut(counted)
        notes.append(f"Uniform borders were left out, in pixels: {borders}.")
    elif borders:
        notes.append(
            f"The picture has uniform borders, which count as style, in pixels: {borders}; `trim_style` omits them."
        )
    return dataclasses.replace(picture, rgb=rgb, alpha=counted, warnings=tuple(notes))


def options_from(cls: type, values: dict[str, Any]) -> Any:
    """Make an options object.

    Raises:
        UsageError: SP100, an unknown name; SP101 to SP103, a value out of range.
    """
    known = [f.name for f in fields(cls)]
    for name in values:
        if name not in known:
            close = get_close_matches(name, known, 1)
            hint = f"Did you mean {close[0]}?" if close else f"Known options: {', '.join(known)}."
            raise UsageError("SP100", f"There is no option {name!r} here.", hint)
    return cls(**values)


def settings_of(*options: Any) -> dict[str, Any]:
    """Return the fields of several options objects, by name."""
    return {name: value for part in options for name, value in dataclasses.asdict(part).items()}


def weighted(style: Any) -> list[StyleWeight]:
    """Return one or several styles as a list with weights.

    Raises:
        UsageError: SP109, an empty list.
    """
    if not isinstance(style, (list, tuple)):
        return [style if isinstance(style, StyleWeight) else StyleWeight(style=style)]
    if not style:
        raise UsageError("SP109", "The list of styles is empty; at least one style is needed.", "Give a style.")
    parts = []
    for part in cast(Sequence[Any], style):
        if isinstance(part, tuple) and len(part) == 2:
            part = StyleWeight(style=part[0], weight=part[1])
        parts.append(part if isinstance(part, StyleWeight) else StyleWeight(style=part))
    return parts


def scaled(picture: Tensor, scale: float) -> Tensor:
    """Resize (1, C, H, W) by a factor, at least to one pixel; smaller with antialiasing."""
    if scale == 1:
        return picture
    size = [max(1, round(side * scale)) for side in picture.shape[2:]]
    return F.interpolate(picture, size=size, mode="bicubic", antialias=True).clamp(0, 1)


def part_of(on_step: OnStep | None, place: int, parts: int) -> OnStep | None:
    """Return the progress of one of several equal parts of a run."""
    if on_step is None or parts == 1:
        return on_step
    return lambda done, total, stage: on_step(place * total + done, parts * total, stage)
