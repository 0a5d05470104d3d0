"""Square blocks of a feature map, each measured about its own mean, and merged in float64.

Whitening divides by small eigenvalues. So float32 sums do not do over many positions or far from zero; and of float64
sums not even the last bit may depend on how a map is cut into tiles.

Source: Chan, Golub, LeVeque 1983 for the merging of means and scatters.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor

from styleplugin.kernels import scatter
from styleplugin.kernels.double_double import DoubleDouble
from styleplugin.kernels.mkl import one_thread

BLOCK = 16
"""Side of a block in cells."""
_BAND = 1 << 15
"""Positions that are measured together: few enough that what is made of them stays small."""
_SUMMED = 1 << 18
"""Values that are added up together, for the same reason."""
_MERGED = 1 << 12
"""Blocks that are merged together, for the same reason."""
_TINY = torch.finfo(torch.float64).tiny


class Blocks:
    """What is known of the blocks of a map that comes in tiles.

    Tiles begin at multiples of `BLOCK`, and end at one or with the map. Then neither their sizes nor their order change
    what the blocks are merged to: their means are merged in the order of the map, the sum of their scatters is taken
    with twice the digits that are kept of it.
    """

    def __init__(self, like: Tensor, channels: int, size: tuple[int, int], *, diagonal: bool = False) -> None:
        """Begin with no tiles.

        Args:
            like: Of as many pictures and of the same dtype as the map.
            channels: Of the map.
            size: Height and width of the map.
            diagonal: Keep squares only.
        """
        grid = (like.shape[0], -(-size[0] // BLOCK), -(-size[1] // BLOCK))
        self._diagonal = diagonal
        self._counts = torch.zeros(*grid, 1, dtype=torch.float64, device="cpu")
        self._means = torch.zeros(*grid, channels, dtype=_precision(like), device="cpu")
        self._scatter = DoubleDouble.zeros(*(channels,) * (1 if diagonal else 2))

    def add(self, x: Tensor, weights: Tensor | None = None, *, corner: tuple[int, int] = (0, 0)) -> None:
        """Measure a tile.

        Args:
            x: (N, C, H, W), floating point.
            weights: (N or 1, 1, H, W), not negative; how much each position counts.
            corner: Where the tile begins in the map: row and column.
        """
        x = x.to(_precision(x))
        n, _, height, width = x.shape
        if weights is not None:
            weights = weights.to(x).expand(n, 1, height, width)
        at_once = weights is None and not self._diagonal and scatter.fits(x)
        for rows, block_height in _parts(height, height if at_once else _BAND // max(1, width)):
            for cols, block_width in _parts(width, width):
                part, block = x[:, :, rows, cols], (block_height, block_width)
                w = None if weights is None else weights[:, :, rows, cols]
                counts, means = self._add_at_once(part, block) if at_once else self._add_by_torch(part, w, block)
                row, col = (corner[0] + rows.start) // BLOCK, (corner[1] + cols.start) // BLOCK
                place = (slice(None), slice(row, row + means.shape[1]), slice(col, col + means.shape[2]))
                self._counts[place], self._means[place] = counts, means

    def merged(self) -> tuple[float, Tensor, Tensor]:
        """Return the sum of the weights, the mean (C,), and the scatter about it, (C, C) or its diagonal (C,)."""
        counts, means = (values.flatten(0, 2).split(_MERGED) for values in (self._counts, self._means))
        count = float(torch.stack([n.sum() for n in counts]).sum())
        mean = torch.stack([(n * own).sum(0) for n, own in zip(counts, means, strict=True)]).sum(0) / max(count, _TINY)
        total = self._scatter.rounded()
        for n, own in zip(counts, means, strict=True):
            steps = own - mean
            total += (n * steps * steps).sum(0) if self._diagonal else (n * steps).T @ steps
        return count, mean, total

    def _add_by_torch(self, x: Tensor, w: Tensor | None, block: tuple[int, int]) -> tuple[float | Tensor, Tensor]:
        """Add the scatters of blocks, whose sides divide those of x; return their weights and means."""
        channels, cells = x.shape[1], block[0] * block[1]
        if w is None:
            weights, means = None, F.avg_pool2d(x, block)
        else:
            weights = _grid(w, block).reshape(-1, cells, 1)
            means = F.avg_pool2d(x * w, block) / F.avg_pool2d(w, block).clamp(min=torch.finfo(w.dtype).tiny)
        means = means.movedim(1, -1)
        # How a matrix product rounds depends on where it lies in memory. With a multiple of 4 channels all lie alike.
        lanes = channels if self._diagonal else -(-channels // 4) * 4
        centered = x.new_empty(means[..., 0].numel(), cells, lanes)
        centered[..., channels:] = 0
        grid = _grid(x, block)
        torch.sub(grid, means[:, :, :, None, None], out=centered[..., :channels].view(grid.shape))
        weighted = centered if weights is None else centered * weights
        if self._diagonal:
            products = (weighted * centered).sum(1)
        else:
            # One block alone would be shared out to threads, which round differently.
            with one_thread() if len(centered) == 1 else nullcontext():
                products = (weighted.transpose(1, 2) @ centered)[:, :channels, :channels]
        for part in products.split(max(1, _SUMMED // products[0].numel())):
            self._scatter = self._scatter + DoubleDouble.total(_wide(part))
        counts = cells if weights is None else _wide(weights.sum(1)).cpu().view(*means.shape[:3], 1)
        return counts, means.cpu()

    def _add_at_once(self, x: Tensor, block: tuple[int, int]) -> tuple[float, Tensor]:
        """Do the same without weights, with compiled code."""
        means, scatters = zip(*(scatter.block_scatter(picture, block) for picture in x), strict=True)
        for own in scatters:
            self._scatter = self._scatter + own
        return block[0] * block[1], torch.stack(means)


def _precision(x: Tensor) -> torch.dtype:
    """Return the precision in which features are measured."""
    return x.dtype if x.dtype == torch.float64 else torch.float32


def _parts(length: int, longest: int) -> Iterator[tuple[slice, int]]:
    """Cut a side into parts of whole blocks, of `longest` cells at most where that is a block, and a rest.

    Yields each part with the side of its blocks.
    """
    whole, step = length // BLOCK * BLOCK, max(1, longest // BLOCK) * BLOCK
    for start in range(0, whole, step):
        yield slice(start, min(start + step, whole)), BLOCK
    if whole < length:
        yield slice(whole, length), length - whole


def _grid(x: Tensor, block: tuple[int, int]) -> Tensor:
    """View (N, C, H, W) as (N, rows of blocks, columns of blocks, height and width of a block, C)."""
    rows, cols = x.shape[2] // block[0], x.shape[3] // block[1]
    return x.movedim(1, -1).unflatten(2, (cols, block[1])).unflatten(1, (rows, block[0])).transpose(2, 3)


def _wide(x: Tensor) -> Tensor:
    """Return x in float64; on the CPU if its device has none."""
    return (x.cpu() if x.device.type == "mps" else x).double()
