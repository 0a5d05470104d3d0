"""Looks as tables: 3D color tables (LUTs), with curves before them where a file has some, and applying them.

A table maps colors alone, so that other programs can give the same look to a film. Colors are sRGB as in the picture
file, gamma-encoded, full range.

Source: tetrahedral interpolation after Kasson et al. 1995. Differs: colors beyond the table keep what they are beyond
it, so that a table that changes nothing does so for the colors of wide gamuts and of float pictures as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styleplugin import values
from styleplugin.errors import InputImageError, NumericalError, UsageError
from styleplugin.guard import guarded
from styleplugin.images.box import bands
from styleplugin.images.picture import check_finite

Triple = tuple[float, float, float]

MAX_SIZE = 129
"""Most nodes of an axis that a table may have."""


@dataclass(frozen=True, eq=False)
class Curves:
    """A one-dimensional table for each of red, green and blue, interpolated linearly.

    Raises:
        NumericalError: SP704, a value is not finite.
    """

    values: Tensor
    """(N, 3) float32: the outputs at N places that are evenly spread from `low` to `high`."""
    low: Triple = (0.0, 0.0, 0.0)
    """Red, green and blue of the first place."""
    high: Triple = (1.0, 1.0, 1.0)
    """Of the last place."""

    def __post_init__(self) -> None:
        _check_finite_table(self.values)

    def apply(self, colors: Tensor) -> Tensor:
        """Map (P, 3) red, green and blue."""
        share, beyond = _place(colors, self.low, self.high)
        places = share * (len(self.values) - 1)
        before = places.floor().clamp(max=len(self.values) - 2)
        values = self.values.to(colors)
        left, right = (values.gather(0, before.long() + step) for step in (0, 1))
        return torch.lerp(left, right, places - before) + beyond


@dataclass(frozen=True, eq=False)
class LUT:
    """A 3D color table.

    Raises:
        NumericalError: SP704, a value is not finite.

    Example:
        >>> import torch
        >>> colors = torch.tensor([0.2, 0.5, 0.9], dtype=torch.float32, device="cpu").view(1, 3, 1, 1)
        >>> torch.allclose(LUT.identity(17).apply(colors), colors)
        True
    """

    table: Tensor
    """(S, S, S, 3) float32: the output colors at [blue][green][red], red running fastest."""
    title: str = ""
    low: Triple = (0.0, 0.0, 0.0)
    """Red, green and blue of the first node."""
    high: Triple = (1.0, 1.0, 1.0)
    """Of the last node. Colors beyond are looked up at the edge, and what they are beyond it is added again."""
    curves: Curves | None = None
    """Applied before the table."""
    warnings: tuple[str, ...] = ()
    """What was noticed while reading."""

    def __post_init__(self) -> None:
        _check_finite_table(self.table)

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

    @guarded()
    def apply(self, rgb: Tensor) -> Tensor:
        """Look up colors by tetrahedral interpolation.

        Args:
            rgb: (N, 3, H, W), floating point; colors outside [0, 1] are allowed.

        Returns:
            The same shape and type.

        Raises:
            TensorInputError: SP213, NaN or Inf.
        """
        check_finite(rgb, "The picture")
        table = self.table.reshape(-1, 3).to(rgb)
        output = torch.empty_like(rgb, memory_format=torch.contiguous_format)
        for picture, target in zip(rgb.movedim(1, -1), output.movedim(1, -1), strict=True):
            for rows in bands(picture.shape[:2]):
                colors = picture[rows].reshape(-1, 3)
                if self.curves is not None:
                    colors = self.curves.apply(colors)
                share, beyond = _place(colors, self.low, self.high)
                nodes, weights = tetrahedra(share, self.size)
                target[rows] = (torch.einsum("pkc,pk->pc", table[nodes], weights) + beyond).reshape(target[rows].shape)
        return output


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


def check_size(size: Any) -> int:
    """Return the size of a table; raise UsageError SP115 if no table can have it."""
    try:
        return int(values.number("size", size, 2, MAX_SIZE, whole=True))
    except UsageError as error:
        raise UsageError("SP115", error.message, "Usual are 17, 33 and 65.") from error


def unusable(file: Path, what: str, hint: str = "Export the look again, as a 3D .cube.") -> InputImageError:
    """Return the error SP240 of a file that holds no look that can be used."""
    return InputImageError("SP240", f"{file.name} is not a usable look: {what}.", hint)


def _place(colors: Tensor, low: Triple, high: Triple) -> tuple[Tensor, Tensor]:
    """Return where (P, 3) colors stand between two corners, as shares in [0, 1], and what they are beyond these."""
    first, last = (torch.tensor(corner, dtype=torch.float32, device="cpu").to(colors) for corner in (low, high))
    inside = torch.minimum(torch.maximum(colors, first), last)
    return ((inside - first) / (last - first)).clamp(0, 1), colors - inside


def _check_finite_table(values: Tensor) -> None:
    if not bool(torch.isfinite(values).all()):
        raise NumericalError(
            "SP704", "The color table holds values that are not finite.", "Check the pictures it was made from."
        )
