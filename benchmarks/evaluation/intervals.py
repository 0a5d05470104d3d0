"""Means over pairs with 95% bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 10_000


@dataclass(frozen=True)
class Interval:
    """A mean over pairs, and what holds 95% of its bootstrap draws."""

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2


def interval(values: Sequence[float]) -> Interval:
    """Bootstrap a mean over pairs, the same draws every time; values that are nan do not count.

    Args:
        values: One for each pair; differences of two systems are taken pair by pair before.
    """
    known = np.asarray([value for value in values if not np.isnan(value)])
    if not len(known):
        return Interval(np.nan, np.nan, np.nan)
    drawn = np.random.default_rng(0).integers(len(known), size=(DRAWS, len(known)))
    low, high = np.percentile(known[drawn].mean(1), (2.5, 97.5))
    return Interval(float(known.mean()), float(low), float(high))
