"""Moments: count, mean and scatter of features; they add up, and everything else is built on that.

Source: Chan, Golub, LeVeque 1983 for the merging of means and scatters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from styleplugin.errors import NumericalError, TensorInputError, UsageError
from styleplugin.transforms import scatter
from styleplugin.transforms.eigen import square_root

DEGENERATE_VARIANCE = 1e-5
"""Variance of a feature under which it counts as constant, in squared feature units."""
BLOCK = 16
"""Side in cells of the squares whose moments are taken in the features' precision; they are merged in float64. Tiles
that start at multiples of it cut the squares that the whole picture cuts, and get the same sums."""
_BAND = 1 << 15
"""Positions that are measured together: few enough that what is made of them stays small."""
_TINY = torch.finfo(torch.float64).tiny


@dataclass(frozen=True)
class Moments:
    """Weighted moments of features; float64 on the CPU. `a + b` are the moments of both sets of positions."""

    count: float
    """Sum of the weights; without weights the number of positions."""
    mean: Tensor
    """(C,)."""
    scatter: Tensor
    """Sum of centered outer products, (C, C); or of centered squares, (C,), where only variances are kept."""

    @classmethod
    @torch.no_grad()
    def of(cls, features: Tensor, weights: Tensor | None = None, *, diagonal: bool = False) -> Moments:
        """Measure features; without gradients.

        Each square is measured about its own mean: whitening divides by small eigenvalues, which float32 sums would
        blur over many positions or far from zero.

        Args:
            features: (N, C, H, W), floating point; all N pictures count as one set of positions.
            weights: (N or 1, 1, H, W), not negative; how much each position counts.
            diagonal: Keep variances only.

        Raises:
            TensorInputError: SP220, a shape that does not fit.
        """
        if features.dim() != 4:
            raise TensorInputError("SP220", f"Features must be (N, C, H, W), not {tuple(features.shape)}.")
        n, channels, height, width = features.shape
        if features.dtype not in (torch.float32, torch.float64):
            features = features.float()
        if weights is not None:
            if weights.dim() != 4 or weights.shape[1:] != (1, height, width):
                raise TensorInputError(
                    "SP220", f"Weights must be (N, 1, {height}, {width}) like the features, not {tuple(weights.shape)}."
                )
            weights = weights.to(features).expand(n, 1, height, width)
        at_once = weights is None and not diagonal and scatter.fits(features)
        total = cls.empty(channels, diagonal=diagonal)
        for rows, block_height in _parts(height, height if at_once else _BAND // max(1, width)):
            for cols, block_width in _parts(width, width):
                x, block = features[:, :, rows, cols], (block_height, block_width)
                w = None if weights is None else weights[:, :, rows, cols]
                total = total + (cls._at_once(x, block) if at_once else cls._of_blocks(x, w, block, diagonal=diagonal))
        return total

    @classmethod
    def _at_once(cls, x: Tensor, block: tuple[int, int]) -> Moments:
        """Measure (N, C, H, W) with compiled code; the sides of a block divide H and W."""
        means, scatters = zip(*(scatter.block_scatter(picture, block) for picture in x), strict=True)
        means = torch.cat(means).double()
        return cls._merged(means, means.new_full((len(means), 1), block[0] * block[1]), torch.stack(scatters).sum(0))

    @classmethod
    def _of_blocks(cls, x: Tensor, w: Tensor | None, block: tuple[int, int], *, diagonal: bool) -> Moments:
        """Measure (N, C, H, W) with weights (N, 1, H, W); the sides of a block divide H and W."""
        channels, cells = x.shape[1], block[0] * block[1]
        centers = F.avg_pool2d(x, block)
        # How a matrix product rounds depends on where it lies in memory. With a multiple of 4 channels all lie alike.
        lanes = channels if diagonal else -(-channels // 4) * 4
        centered = x.new_empty(len(x) * centers[0, 0].numel(), cells, lanes)
        centered[..., channels:] = 0
        grid = _grid(x, block)
        torch.sub(grid, _grid(centers, (1, 1)), out=centered[..., :channels].view(grid.shape))
        means = _wide(centers.movedim(1, -1).flatten(0, -2))
        if w is None:
            weighted, counts = centered, means.new_full((len(means), 1), cells)
        else:
            weights = _grid(w, block).reshape(-1, cells, 1)
            weighted, counts = centered * weights, _wide(weights.sum(1))
        products = (weighted * centered).sum(1) if diagonal else weighted.transpose(1, 2) @ centered
        within = _wide(products, total=True)[..., :channels][:channels]
        if w is not None:
            # Their weights draw the means of the blocks away from the centers.
            steps = _wide(weighted.sum(1)[:, :channels]) / counts.clamp(min=_TINY)
            means, within = means + steps, within - _spread(steps, counts, diagonal=diagonal)
        return cls._merged(means, counts, within, diagonal=diagonal)

    @classmethod
    def _merged(cls, means: Tensor, counts: Tensor, within: Tensor, *, diagonal: bool = False) -> Moments:
        """Merge blocks with means (blocks, C), weights (blocks, 1), and the sum of their scatters."""
        count = float(counts.sum())
        mean = (counts * means).sum(0) / max(count, _TINY)
        return cls(count, mean, within + _spread(means - mean, counts, diagonal=diagonal))

    @classmethod
    def empty(cls, channels: int, *, diagonal: bool = False) -> Moments:
        """Return the moments of no positions at all: the zero of the addition."""
        shape = (channels,) if diagonal else (channels, channels)
        return cls(0.0, torch.zeros(channels, dtype=torch.float64), torch.zeros(shape, dtype=torch.float64))

    @property
    def channels(self) -> int:
        """Number of feature channels."""
        return self.mean.numel()

    @property
    def is_diagonal(self) -> bool:
        """Whether only variances are kept."""
        return self.scatter.dim() == 1

    def __add__(self, other: Moments) -> Moments:
        """Merge two disjoint sets of positions; order and grouping do not matter beyond rounding."""
        if self.scatter.shape != other.scatter.shape:
            raise TensorInputError(
                "SP221", f"Moments of {self.channels} and {other.channels} channels or of different kinds do not add."
            )
        count = self.count + other.count
        if not self.count or not other.count:
            return self if self.count else other
        step = other.mean - self.mean
        between = step * step if self.is_diagonal else torch.outer(step, step)
        return Moments(
            count,
            self.mean + step * (other.count / count),
            self.scatter + other.scatter + between * (self.count * other.count / count),
        )

    def covariance(self, *, unbiased: bool = True) -> Tensor:
        """Return the covariance (C, C), or the variances (C,); zeros where fewer than two positions were seen."""
        divisor = self.count - 1 if unbiased else self.count
        return self.scatter / divisor if divisor > 0 else torch.zeros_like(self.scatter)

    @property
    def variances(self) -> Tensor:
        """Variances (C,)."""
        covariance = self.covariance()
        return covariance if self.is_diagonal else covariance.diagonal()

    @property
    def deviations(self) -> Tensor:
        """Standard deviations (C,) of the positions themselves, not of what they are a sample of."""
        covariance = self.covariance(unbiased=False)
        return (covariance if self.is_diagonal else covariance.diagonal()).sqrt()

    @property
    def is_degenerate(self) -> bool:
        """Whether there is no contrast to transfer: one flat color, or a single position."""
        return self.count < 2 or float(self.variances.max()) <= DEGENERATE_VARIANCE

    def check_finite(self, what: str) -> Moments:
        """Return self, or raise NumericalError SP701 if a value is not finite."""
        if not (torch.isfinite(self.mean).all() and torch.isfinite(self.scatter).all()):
            raise NumericalError(
                "SP701", f"The moments of the {what} are not finite.", "Check the weights and the input."
            )
        return self


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


def _wide(x: Tensor, *, total: bool = False) -> Tensor:
    """Return x, or its sum over the blocks, in float64 on the CPU."""
    if total and x.device.type != "mps":  # which has no float64
        return x.sum(0, dtype=torch.float64).cpu()
    x = x.cpu().double()
    return x.sum(0) if total else x


def _spread(steps: Tensor, counts: Tensor, *, diagonal: bool) -> Tensor:
    """Return the scatter of (blocks, C) steps that count (blocks, 1) times."""
    return (counts * steps * steps).sum(0) if diagonal else (counts * steps).T @ steps


def normalized_weights(weights: Sequence[float]) -> list[float]:
    """Scale weights to sum to 1.

    Raises:
        UsageError: SP105, none, negative, not finite, or all zero.
    """
    total = float(sum(weights))
    if not weights or not all(w >= 0 for w in weights) or not 0 < total < float("inf"):
        raise UsageError(
            "SP105",
            f"The style weights were {list(weights)}; they must be numbers of at least 0, not all 0.",
            "For example 0.7 and 0.3.",
        )
    return [w / total for w in weights]


def mix_moments(parts: Sequence[Moments], weights: Sequence[float]) -> Moments:
    """Mix styles: means by weight, covariances along their symmetric roots.

    The whitening-coloring transform to the mixed moments is the weighted sum of the transforms to each style, which is
    what blending colored features does (Li et al. 2017); for variances it blends standard deviations (Huang and
    Belongie 2017). A single part with all the weight is returned as it is.
    """
    used = [(part, w) for part, w in zip(parts, normalized_weights(weights), strict=True) if w > 0]
    if len(used) == 1:
        return used[0][0]
    if len({part.scatter.shape for part, _ in used}) > 1:
        raise TensorInputError("SP221", "Styles of different models do not mix.", "Prepare all of them with one model.")
    count = min(part.count for part, _ in used)
    mean = sum(w * part.mean for part, w in used)
    root = sum(w * square_root(part.covariance()) for part, w in used)
    assert isinstance(mean, Tensor) and isinstance(root, Tensor)
    covariance = root * root if root.dim() == 1 else root @ root
    return Moments(count, mean, covariance * max(count - 1, 0))
