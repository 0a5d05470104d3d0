"""The memory plan of an optimization: tiles for the gradient, and how much the optimizer may remember."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from styleplugin.engine.device import TILES
from styleplugin.engine.plan import budget_of, first_tile
from styleplugin.errors import ResourceError
from styleplugin.options import EngineOptions, halved_tile

GRADIENT_TILES = TILES | {"cpu": 512}
"""Side of a tile without its halo; on a CPU larger than elsewhere, for the halo is that of a whole encoder at once."""
_PICTURES = 10
"""Pictures in memory at once beside what the optimizer remembers: content, current, best, gradients, and copies."""
_REMEMBERED_BYTES = 512 << 20
"""The optimizer remembers no more steps than fit, as long as two do."""


@dataclass(frozen=True)
class GradientPlan:
    """How the gradient of a picture is cut up."""

    device: torch.device
    tile: int
    """Side of a tile in pixels, without its halo; 0 for the whole picture."""
    history: int
    """Steps the optimizer remembers."""
    bytes: int
    """What the run will need at most, beside the program and the pictures handed in."""

    def halved(self) -> GradientPlan | None:
        """Return the plan to try after an allocation failed, or None below the smallest tile."""
        tile = halved_tile(self.tile or 2 * GRADIENT_TILES[self.device.type])
        return None if tile is None else replace(self, tile=tile)


def make_gradient_plan(
    size: tuple[int, int],
    device: torch.device,
    options: EngineOptions,
    *,
    halo: int,
    bytes_per_pixel: float,
    history: tuple[int, int],
) -> GradientPlan:
    """Plan an optimization.

    Args:
        size: (height, width) of the picture.
        device: Where it runs.
        options: Tiles and the limit of memory.
        halo: Pixels around a tile that its gradient depends on.
        bytes_per_pixel: What the gradient of a tile needs, halo included.
        history: Steps the optimizer must remember at least, and at most; each takes as much as a picture.

    Raises:
        ResourceError: SP503, the picture and the optimizer's memory alone need more than there is.
    """
    budget = budget_of(device, options)
    tile = first_tile(device, options, GRADIENT_TILES)
    tile_bytes = int(bytes_per_pixel * _pixels(size, tile, halo))
    while options.tile == "auto" and tile_bytes > budget // 2 and (smaller := halved_tile(tile)):
        tile = smaller
        tile_bytes = int(bytes_per_pixel * _pixels(size, tile, halo))
    picture = 12 * size[0] * size[1]
    least, most = history
    # No more than its share, and than there is room for.
    remembered = min(most, max(least, _REMEMBERED_BYTES // picture))
    remembered = min(remembered, (budget - tile_bytes) // picture - _PICTURES)
    needed = tile_bytes + (_PICTURES + max(least, remembered)) * picture
    if remembered < least:
        raise ResourceError(
            "SP503",
            f"The optimization of a picture of {size[1]} x {size[0]} needs about {needed >> 20} MB, "
            f"but {budget >> 20} MB are planned for.",
            "Use `optimizer=adam`, raise `memory_limit_mb`, or take a smaller picture.",
            {"needed_mb": needed >> 20, "budget_mb": budget >> 20},
        )
    return GradientPlan(device, tile, remembered, needed)


def _pixels(size: tuple[int, int], tile: int, halo: int) -> int:
    """Return the pixels of the largest tile with its halo."""
    height, width = (min(side, tile + 2 * halo) if tile else side for side in size)
    return height * width
