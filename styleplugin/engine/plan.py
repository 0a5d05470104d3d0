"""The memory plan of a run, made before the first allocation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from styleplugin.engine.device import TILES
from styleplugin.engine.memory import free_memory
from styleplugin.errors import ResourceError
from styleplugin.options import EngineOptions, halved_tile

WHOLE = 0
"""Tile side that means: the whole picture in one tile."""

TILE_CHANNELS = 16
"""A tile of side T holds T x T cells of this many channels; wider maps get smaller tiles of the same size in memory."""

_KEPT_FLOATS, _FEW_FLOATS = 12.0, 4.0
_KEPT_BYTES = 512 << 20
"""Feature maps that are kept take at most so much memory together; computing them twice costs less than swapping."""
# Pictures in memory at once: each frame's content and how far it has come, and the output that is being written.
_PICTURES_OF_A_FRAME, _OTHER_PICTURES = 2, 1
# Live buffers of one tile, measured in full tiles of `TILE_CHANNELS`: input, padded input, output, oneDNN's scratch.
_TILE_BUFFERS = 6


@dataclass(frozen=True)
class Plan:
    """How a run is cut up."""

    device: torch.device
    tile: int
    """Side of a tile in pixels of a 16-channel map; 0 for the whole picture."""
    keep_floats: float
    """Feature maps of at most this many values per picture pixel are kept between passes; larger are made twice."""
    bytes: int = 0
    """What the run will need at most, beside the program, the model and the pictures handed in."""

    def side(self, peak_values: float) -> float:
        """Return the side of a tile, in output cells, for operations that hold `peak_values` values per output cell."""
        if self.tile == WHOLE:
            return math.inf
        return max(8, 2 * round(self.tile * math.sqrt(TILE_CHANNELS / peak_values) / 2))

    def halved(self) -> Plan | None:
        """Return the plan to try after an allocation failed, or None below the smallest tile."""
        tile = halved_tile(self.tile or 2 * TILES[self.device.type])
        # Nothing is kept in the end: what is computed twice takes time, but no memory.
        keep = _FEW_FLOATS if self.keep_floats > _FEW_FLOATS else 0.0
        return None if tile is None else replace(self, tile=tile, keep_floats=keep)


def budget_of(device: torch.device, options: EngineOptions) -> int:
    """Return the bytes to plan for: the options' limit, or half of what is free now."""
    limit = options.memory_limit_mb
    return free_memory(device) // 2 if limit is None else limit << 20


def first_tile(device: torch.device, options: EngineOptions, fastest: Mapping[str, int]) -> int:
    """Return the side of the tiles that the options ask for: with auto the fastest of the device's type."""
    if options.tile == "auto":
        return fastest[device.type]
    return WHOLE if options.tile == "whole" else int(options.tile)


def make_plan(
    size: tuple[int, int],
    device: torch.device,
    options: EngineOptions,
    *,
    frames: int = 1,
    bytes_per_value: int = 4,
    budget: int | None = None,
) -> Plan:
    """Plan a run.

    Args:
        size: (height, width) of a picture.
        device: Where it runs.
        options: Tiles and the limit of memory.
        frames: Pictures of this size that run together.
        bytes_per_value: 4 for float32.
        budget: Bytes to plan for; by default the options' limit, or half of what is free now.

    Raises:
        ResourceError: SP501, even the smallest tile needs more memory than there is.
    """
    if budget is None:
        budget = budget_of(device, options)
    pixels = size[0] * size[1]
    tile = first_tile(device, options, TILES)
    keep = math.inf if tile == WHOLE else min(_KEPT_FLOATS, _KEPT_BYTES / (frames * pixels * bytes_per_value))
    while True:
        cells = tile * tile if tile else pixels
        pictures = pixels * (3 * (frames * _PICTURES_OF_A_FRAME + _OTHER_PICTURES) + frames * min(keep, _KEPT_FLOATS))
        needed = bytes_per_value * int(pictures + min(cells, pixels) * TILE_CHANNELS * _TILE_BUFFERS)
        if needed <= budget:
            return Plan(device, tile, keep, needed)
        if keep > _FEW_FLOATS:
            keep = _FEW_FLOATS
        elif options.tile == "auto" and (smaller := halved_tile(tile)):
            tile = smaller
        else:
            raise ResourceError(
                "SP501",
                f"{'A picture' if frames == 1 else f'{frames} frames'} of {size[1]} x {size[0]} "
                f"{'needs' if frames == 1 else 'need'} about {needed >> 20} MB, "
                f"but {budget >> 20} MB are planned for.",
                "Free memory, raise `memory_limit_mb`, use `tile=auto`, or take a smaller picture.",
                {"needed_mb": needed >> 20, "budget_mb": budget >> 20},
            )
