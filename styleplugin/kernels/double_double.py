"""Sums in twice the precision of float64: rounded at the end, they do not depend on the order of the terms."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class DoubleDouble:
    """A sum as two float64 tensors of one shape: `low` holds what rounding took from `high`.

    Source: Knuth's TwoSum (The Art of Computer Programming, volume 2, section 4.2.2).
    """

    high: Tensor
    low: Tensor

    @classmethod
    def zeros(cls, *shape: int) -> DoubleDouble:
        """Return zeros of a shape."""
        return cls(
            torch.zeros(shape, dtype=torch.float64, device="cpu"), torch.zeros(shape, dtype=torch.float64, device="cpu")
        )

    @classmethod
    def total(cls, terms: Tensor) -> DoubleDouble:
        """Add up float64 terms, at least one, over the first dimension; the sum is on the CPU."""
        low = torch.zeros_like(terms[0])
        while (count := len(terms)) > 1:
            pairs = count // 2
            sums, lost = _two_sum(terms[:pairs], terms[pairs : 2 * pairs])
            low += lost.sum(0)
            terms = torch.cat((sums, terms[-1:])) if count % 2 else sums
        return cls(terms[0].cpu(), low.cpu())

    def __add__(self, other: DoubleDouble) -> DoubleDouble:
        high, lost = _two_sum(self.high, other.high)
        return DoubleDouble(high, lost + (self.low + other.low))

    def rounded(self) -> Tensor:
        """Return the sum in float64."""
        return self.high + self.low


def _two_sum(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return a + b, and what rounding took from it."""
    total = a + b
    parallel_range = total - a
    lost = a - (total - parallel_range)
    return total, lost.add_(b - parallel_range)
