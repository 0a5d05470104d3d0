"""Contact sheets: a row for each pair, content, style and the outputs side by side, for looking."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from styleplugin.images.picture import to_pil
from styleplugin.images.read import read_image

_GAP, _HEAD = 4, 18


def write_sheet(
    path: Path, names: Sequence[str], rows: Sequence[Sequence[Path]], *, width: int = 384, one_to_one: bool = False
) -> None:
    """Write a sheet.

    Args:
        path: Target, a JPEG or PNG file.
        names: Of the columns.
        rows: Picture files, one for each column.
        width: Of a cell in pixels; its height is two thirds of that.
        one_to_one: Show a piece of the middle, pixel for pixel, instead of the whole picture.
    """
    height = 2 * width // 3
    sheet = Image.new("RGB", (len(names) * (width + _GAP) - _GAP, _HEAD + len(rows) * (height + _GAP) - _GAP), "white")
    for column, name in enumerate(names):
        ImageDraw.Draw(sheet).text((column * (width + _GAP) + 4, 3), name, fill="black")
    for number, row in enumerate(rows):
        for column, file in enumerate(row):
            cell = _cell(to_pil(read_image(file)).convert("RGB"), (width, height), one_to_one=one_to_one)
            sheet.paste(cell, (column * (width + _GAP), _HEAD + number * (height + _GAP)))
    sheet.save(path, quality=88)


def _cell(image: Image.Image, size: tuple[int, int], *, one_to_one: bool) -> Image.Image:
    """Fit a picture into a cell, or cut out its middle."""
    if one_to_one:
        left, top = ((own - side) // 2 for own, side in zip(image.size, size, strict=True))
        return image.crop((left, top, left + size[0], top + size[1]))
    image.thumbnail(size, Image.Resampling.LANCZOS)
    cell = Image.new("RGB", size, "white")
    cell.paste(image, tuple((side - own) // 2 for own, side in zip(image.size, size, strict=True)))
    return cell
