"""The pairs of the validation pictures: by formula, so that nobody chooses."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from torch import Tensor

from styleplugin.images.read import read_image

VALIDATION = Path(__file__).parents[3] / "shared" / "data" / "validation"
COUNT = 60
Use = Literal["selection", "reporting"]
"""Selection pairs (even numbers): what training may look at. Reporting pairs (odd): read for a published table only."""


class Pair(NamedTuple):
    """Two picture files."""

    index: int
    content: Path
    style: Path


def pairs(use: Use, folder: Path = VALIDATION) -> list[Pair]:
    """Return the 30 pairs of a use: photograph i with painting (7 i + 3) mod 60."""
    return [_pair(folder, i, "paintings", (7 * i + 3) % COUNT) for i in _indices(use)]


def photo_pairs(use: Use, folder: Path = VALIDATION) -> list[Pair]:
    """Return the 30 pairs for photorealistic models: photograph i with photograph (7 i + 4) mod 60."""
    return [_pair(folder, i, "photos", (7 * i + 4) % COUNT) for i in _indices(use)]


def read(path: Path) -> Tensor:
    """Read a picture at its own size: (1, 3, H, W) in [0, 1]."""
    return read_image(path).rgb


def _indices(use: Use) -> range:
    if use not in ("selection", "reporting"):
        raise ValueError(f"pairs are for selection or for reporting, not {use!r}.")
    return range(0 if use == "selection" else 1, COUNT, 2)


def _pair(folder: Path, i: int, styles: str, j: int) -> Pair:
    return Pair(i, folder / "photos" / f"{i:02}.jpg", folder / styles / f"{j:02}.jpg")
