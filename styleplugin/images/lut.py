"""Looks as tables: 3D color tables (LUTs), their files, and applying them.

A table maps colors alone, so that other programs can give the same look to a film: `.cube` for editors, players and
ffmpeg, HALD pictures for photo programs. Colors are sRGB as in the picture file, gamma-encoded, full range.

Source: Adobe "Cube LUT Specification 1.0" (2013); tetrahedral interpolation after Kasson et al. 1995.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from styleplugin.errors import InputImageError, NumericalError, UsageError
from styleplugin.files import atomic_write, check_regular_file, check_target
from styleplugin.images.picture import from_channels
from styleplugin.images.small import read_image, write_image
from styleplugin.kinds import TABLE
from styleplugin.modes import plain_modes

PathLike = str | os.PathLike[str]

MAX_SIZE = 129
"""Most nodes of an axis that a file may have."""
_MAX_BYTES = 128 << 20
_LARGEST = 1e9
"""Of the numbers of a `.cube` file: far from where float32 ends, far beyond every look."""
_NARROWEST = 1e-6
"""A domain's least width, as a share of its corners (and of 1): narrower ones are no width in float32."""
_PIXELS = 1 << 20
"""Pixels that are looked up at once."""
_COLOR_SPACE = "sRGB, gamma-encoded, full range, in and out"


@dataclass(frozen=True, eq=False)
class LUT:
    """A 3D color table.

    Raises:
        NumericalError: SP704, a value is not finite.
    """

    table: Tensor
    """(S, S, S, 3) float32: the output colors at [blue][green][red], red running fastest."""
    title: str = ""
    low: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Red, green and blue of the first node."""
    high: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Of the last node; colors beyond are looked up at the edge."""

    def __post_init__(self) -> None:
        if not bool(torch.isfinite(self.table).all()):
            raise NumericalError(
                "SP704", "The color table holds values that are not finite.", "Check the pictures it was made from."
            )

    @property
    def size(self) -> int:
        """Nodes of an axis."""
        return len(self.table)

    @classmethod
    def identity(cls, size: int) -> LUT:
        """Return the table that changes nothing."""
        axis = torch.linspace(0, 1, size, dtype=torch.float32, device="cpu")
        blue, green, red = torch.meshgrid(axis, axis, axis, indexing="ij")
        return cls(torch.stack([red, green, blue], -1))

    @plain_modes()
    def apply(self, rgb: Tensor) -> Tensor:
        """Look up (N, 3, H, W) colors in [0, 1] by tetrahedral interpolation."""
        pixels = rgb.movedim(1, -1).reshape(-1, 3)
        table = self.table.reshape(-1, 3).to(rgb)
        low, high = (
            torch.tensor(corner, dtype=torch.float32, device="cpu").to(rgb) for corner in (self.low, self.high)
        )
        output = torch.empty_like(pixels)
        for part, target in zip(pixels.split(_PIXELS), output.split(_PIXELS), strict=True):
            nodes, weights = tetrahedra((part - low) / (high - low), self.size)
            target.copy_(torch.einsum("pkc,pk->pc", table[nodes], weights))
        return output.reshape(*rgb.shape[:1], *rgb.shape[2:], 3).movedim(-1, 1).contiguous()


def tetrahedra(colors: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return the four nodes around each color, and their weights.

    The cell of a color is cut into six tetrahedra along its gray diagonal; sorting the color's fractions tells which.

    Args:
        colors: (P, 3) red, green and blue in [0, 1]; others count as the nearest.
        size: Nodes of an axis.

    Returns:
        Nodes (P, 4), indices into the flattened table, and weights (P, 4) that sum to 1.
    """
    places = colors.clamp(0, 1) * (size - 1)
    cells = places.floor().clamp(max=size - 2)
    fractions, order = (places - cells).sort(dim=1, descending=True)
    strides = torch.tensor([1, size, size * size], device=colors.device, dtype=torch.int64)
    base = (cells.long() * strides).sum(1, keepdim=True)
    nodes = torch.cat([base, base + strides[order].cumsum(1)], 1)
    weights = torch.cat([1 - fractions[:, :1], fractions[:, :-1] - fractions[:, 1:], fractions[:, 2:]], 1)
    return nodes, weights


def write_cube(lut: LUT, path: PathLike, *, overwrite: bool = False) -> None:
    """Write a `.cube` file.

    Raises:
        OutputError: SP601 to SP604 or SP608, the file exists or cannot be written.
    """
    check_target(path, TABLE, overwrite=overwrite)
    title = "".join(c if c.isprintable() and c != '"' else "'" for c in lut.title)
    head = [
        f'TITLE "{title}"',
        f"# Color space: {_COLOR_SPACE}",
        f"LUT_3D_SIZE {lut.size}",
        "DOMAIN_MIN " + " ".join(f"{value:.6f}" for value in lut.low),
        "DOMAIN_MAX " + " ".join(f"{value:.6f}" for value in lut.high),
    ]
    rows = (f"{r:.6f} {g:.6f} {b:.6f}" for r, g, b in lut.table.reshape(-1, 3).tolist())
    with atomic_write(path) as file:
        file.write("\n".join([*head, *rows, ""]).encode())


def read_cube(path: PathLike) -> LUT:
    """Read a `.cube` file with a 3D table.

    Raises:
        InputImageError: SP201, there is no such file; SP240, it is not a whole `.cube` file, with the line.
    """
    file = check_regular_file(path)
    if file.stat().st_size > _MAX_BYTES:
        raise _bad(file, f"it is larger than {_MAX_BYTES >> 20} MB")
    size, title, rows = 0, "", []
    corners = {"DOMAIN_MIN": (0.0, 0.0, 0.0), "DOMAIN_MAX": (1.0, 1.0, 1.0)}
    for number, line in enumerate(file.read_text("utf-8", errors="replace").splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        key = words[0].upper()
        if key == "TITLE":
            title = line.strip()[5:].strip().strip('"')
        elif key == "LUT_3D_SIZE":
            size = _size(words, file, number)
        elif key in corners:
            corners[key] = _numbers(words[1:], file, number)
        elif key.startswith("LUT_1D"):
            raise _bad(file, "it is a 1D table; a 3D table is needed")
        elif key[0].isalpha():
            continue
        elif len(rows) == MAX_SIZE**3:
            raise _bad(file, f"it has more than {MAX_SIZE**3} colors, and no size needs more")
        else:
            rows.append(_numbers(words, file, number))
    low, high = corners["DOMAIN_MIN"], corners["DOMAIN_MAX"]
    if not size or len(rows) != size**3:
        raise _bad(file, f"it has {len(rows)} colors, and its size {size} needs {size**3}")
    if any(b - a < _NARROWEST * max(1, abs(a), abs(b)) for a, b in zip(low, high, strict=True)):
        raise _bad(file, f"its domain goes from {low} to {high}")
    return LUT(torch.tensor(rows, dtype=torch.float32, device="cpu").reshape(size, size, size, 3), title, low, high)


def write_hald(lut: LUT, path: PathLike, *, overwrite: bool = False) -> None:
    """Write a HALD picture, 16-bit PNG: the table applied to a picture of all colors.

    A HALD of level L has L^2 nodes per axis; the level is the first with at least as many as the table.

    Raises:
        OutputError: SP601 to SP605 or SP608, the file exists or cannot be written.
    """
    level = max(2, math.ceil(math.sqrt(lut.size)))
    colors = lut.apply(_hald_identity(level)).clamp(0, 1)
    write_image(from_channels(colors, bits=16), path, overwrite=overwrite)


def read_hald(path: PathLike) -> LUT:
    """Read a HALD picture of 8 or 16 bits.

    Raises:
        InputImageError: SP2xx, the picture cannot be read; SP240, it is not a HALD picture.
    """
    picture = read_image(path)
    level = round(picture.width ** (1 / 3))
    if picture.size != (level**3, level**3) or not 2 <= level <= 11:
        raise _bad(
            Path(path), f"it is {picture.width} x {picture.height}; a HALD picture has the sides L^3 for L 2 to 11"
        )
    size = level * level
    return LUT(picture.rgb[0].permute(1, 2, 0).reshape(size, size, size, 3), Path(path).stem)


def read_lut(path: PathLike) -> LUT:
    """Read a `.cube` file, or a HALD picture of any other extension."""
    return read_cube(path) if Path(path).suffix.lower() == ".cube" else read_hald(path)


def _hald_identity(level: int) -> Tensor:
    side = level**3
    return LUT.identity(level * level).table.reshape(side, side, 3).permute(2, 0, 1)[None]


def _size(words: list[str], file: Path, line: int) -> int:
    # Not `isdigit`, which is true of a superscript; and `int` refuses thousands of digits with an error of its own.
    size = int(words[1]) if len(words) == 2 and re.fullmatch("[0-9]{1,4}", words[1]) else 0
    if not 2 <= size <= MAX_SIZE:
        raise _bad(file, f"line {line} is {' '.join(words)[:60]!r}; a size from 2 to {MAX_SIZE} is needed")
    return size


def _numbers(words: list[str], file: Path, line: int) -> tuple[float, float, float]:
    try:
        red, green, blue = map(float, words)
    except ValueError:
        raise _bad(file, f"line {line} is {' '.join(words)[:60]!r}; three numbers are needed") from None
    if not all(map(math.isfinite, (red, green, blue))):
        raise _bad(file, f"line {line} holds a value that is not finite")
    if max(map(abs, (red, green, blue))) > _LARGEST:
        raise _bad(file, f"line {line} holds a value beyond {_LARGEST:g}")
    return red, green, blue


def _bad(file: Path, what: str) -> InputImageError:
    return InputImageError(
        "SP240", f"{file.name} is not a usable look: {what}.", "Export the look again, as a 3D .cube."
    )


def check_size(size: int) -> None:
    """Raise UsageError SP115 for a size that no table can have."""
    if not 2 <= size <= MAX_SIZE:
        raise UsageError("SP115", f"`size` was {size}; it must be from 2 to {MAX_SIZE}.", "Usual are 17, 33 and 65.")
