"""Moments: count, mean and scatter of features; they add up, and everything else is built on that.

Source: Chan, Golub, LeVeque 1983 for the merging of means and scatters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from styleplugin.errors import NumericalError, TensorInputError, UsageError
from styleplugin.transforms.blocks import Blocks
from styleplugin.transforms.eigen import square_root

DEGENERATE_VARIANCE = 1e-5
"""Variance of a feature under which it counts as constant, in squared feature units."""


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

        Args:
            features: (N, C, H, W), floating point; all N pictures count as one set of positions.
            weights: (N or 1, 1, H, W), not negative; how much each position counts.
            diagonal: Keep variances only.

        Raises:
            TensorInputError: SP220, a shape that does not fit.
        """
        if features.dim() != 4:
            raise TensorInputError("SP220", f"Features must be (N, C, H, W), not {tuple(features.shape)}.")
        height, width = features.shape[2:]
        if weights is not None and (weights.dim() != 4 or weights.shape[1:] != (1, height, width)):
            raise TensorInputError(
                "SP220", f"Weights must be (N, 1, {height}, {width}) like the features, not {tuple(weights.shape)}."
            )
        blocks = Blocks(features, features.shape[1], (height, width), diagonal=diagonal)
        blocks.add(features, weights)
        return cls(*blocks.merged())

    @classmethod
    def empty(cls, channels: int, *, diagonal: bool = False) -> Moments:
        """Return the moments of no positions at all: the zero of the addition."""
        shape = (channels,) if diagonal else (channels, channels)
        return cls(
            0.0,
            torch.zeros(channels, dtype=torch.float64, device="cpu"),
            torch.zeros(shape, dtype=torch.float64, device="cpu"),
        )

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


def normalized_weights(weights: Sequence[float]) -> list[float]:
    """Scale weights to sum to 1.

    Raises:
        UsageError: SP105, none, negative, not finite, or all zero.
    """
    try:
        numbers = [float(w) for w in weights]
    except (TypeError, ValueError):
        numbers = []
    total = sum(numbers)
    if not all(w >= 0 for w in numbers) or not 0 < total < float("inf"):
        raise UsageError(
            "SP105",
            f"The style weights were {numbers or weights}; they must be numbers of at least 0, not all 0.",
            "For example 0.7 and 0.3.",
        )
    return [w / total for w in numbers]


def mix_moments(parts: Sequence[Moments], weights: Sequence[float]) -> Moments:
    """Mix styles: means by weight, covariances along their symmetric roots.

    The whitening-coloring transform to the mixed moments is the weighted sum of the transforms to each style, which is
    what blending colored features does (Li et al. 2017), as long as nothing is added to the covariances (`soft` adds
    its floor to that of the mix); for variances it blends standard deviations (Huang and
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
