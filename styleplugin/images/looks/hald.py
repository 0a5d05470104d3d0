"""Pictures that hold a table: a picture of all colors, to which a photo program gave the look.

A HALD picture of level L has the sides L^3 and L^2 nodes on an axis; its pixels, read as text is, are the table's
colors with red running fastest, then green, then blue. The other common layout has the same sides: L x L squares of
L^2 x L^2 pixels, one for each blue, with red from left to right and green from top to bottom.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

from torch import Tensor

from styleplugin.errors import InputImageError
from styleplugin.files import PathLike
from styleplugin.images.looks.judge import changes_with_red, is_edited, is_smooth, roughness
from styleplugin.images.looks.table import LUT, MAX_SIZE, unusable
from styleplugin.images.picture import from_channels
from styleplugin.images.read import picture_size, read_image
from styleplugin.images.write import write_image

_MAX_LEVEL = 16
"""Of pictures that are read; 256 nodes, every color of 8 bits."""
_NODES_OF_CURVES = 64
"""Fewest nodes for a look with curves, which bend between the nodes of its table."""


def write_hald(lut: LUT, path: PathLike, *, overwrite: bool = False) -> None:
    """Write a HALD picture, 16-bit PNG: the look applied to a picture of all colors.

    The level is the first with at least as many nodes as the table has.

    Raises:
        OutputError: SP601 to SP605 or SP608, the file exists or cannot be written.
    """
    nodes = lut.size if lut.curves is None else max(lut.size, _NODES_OF_CURVES)
    level = max(2, math.ceil(math.sqrt(nodes)))
    colors = lut.apply(_hald_identity(level)).clamp(0, 1)
    write_image(from_channels(colors, bits=16), path, overwrite=overwrite)


def read_hald(path: PathLike) -> LUT:
    """Read a picture of either layout, of 8 or 16 bits; more nodes than a table may have are resampled.

    Raises:
        InputImageError: SP2xx, the picture cannot be read; SP240, it holds no table. Where its sides show that, no
            pixel is decoded.
    """
    file = Path(path)
    _check_sides(picture_size(path), file)
    picture = read_image(path)
    # The file may have been replaced.
    level = _check_sides(picture.size, file)
    # The sum, since a look may change with red alone, whose neighbors are the same in both.
    arrangements = _hald(picture.rgb, level), _squares(picture.rgb, level)
    table = min(arrangements, key=lambda arrangement: sum(roughness(arrangement)))
    if not (is_smooth(table) and changes_with_red(table)):
        raise _no_table(file, "colors that are neighbors in a table lie far apart in it, as in a photograph")
    notes = list(picture.warnings)
    if is_edited(table):
        notes.append(
            f"{file.name} seems to have gone through an editor or JPEG (noise, sharpening, scaling): its neighboring "
            "colors are rough. Use the picture as it was exported."
        )
    lut = LUT(table, file.stem)
    if lut.size > MAX_SIZE:
        notes.append(f"{file.name} has {lut.size} steps of each color and was resampled to {MAX_SIZE}.")
        lut = _resampled(lut, MAX_SIZE)
    return dataclasses.replace(lut, warnings=tuple(notes))


def _check_sides(size: tuple[int, int], file: Path) -> int:
    """Return the level of a HALD picture of this height and width."""
    height, width = size
    level = round(width ** (1 / 3))
    if size != (level**3, level**3) or not 2 <= level <= _MAX_LEVEL:
        raise _no_table(file, f"it is {width} x {height}, and the sides of a HALD are L^3, L from 2 to {_MAX_LEVEL}")
    return level


def _hald(rgb: Tensor, level: int) -> Tensor:
    """Arrange (1, 3, L^3, L^3) as (S, S, S, 3), blue, green and red."""
    size = level * level
    return rgb[0].permute(1, 2, 0).reshape(size, size, size, 3)


def _squares(rgb: Tensor, level: int) -> Tensor:
    """The same for squares: the rows and columns of squares are blue."""
    size = level * level
    parts = rgb[0].permute(1, 2, 0).reshape(level, size, level, size, 3)
    return parts.transpose(1, 2).reshape(size, size, size, 3)


def _resampled(lut: LUT, size: int) -> LUT:
    colors = LUT.identity(size).table.reshape(1, size * size, size, 3).movedim(-1, 1)
    return dataclasses.replace(lut, table=lut.apply(colors).movedim(1, -1).reshape(size, size, size, 3))


def _hald_identity(level: int) -> Tensor:
    side = level**3
    return LUT.identity(level * level).table.reshape(side, side, 3).permute(2, 0, 1)[None]


def _no_table(file: Path, what: str) -> InputImageError:
    return unusable(file, what, "Give a .cube file, a HALD picture, or 8 x 8 squares of 64 x 64.")
