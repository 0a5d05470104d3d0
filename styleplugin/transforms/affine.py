"""AffineMap: x -> A x + b on the channels of features; every transform of this package ends as one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class AffineMap:
    """An affine map of the channels; float64 on the CPU until it is applied."""

    matrix: Tensor
    """(C, C), or (C,) for a diagonal."""
    bias: Tensor
    """(C,)."""

    @classmethod
    def identity(cls, channels: int) -> AffineMap:
        """Return the map that changes nothing."""
        return cls(
            torch.ones(channels, dtype=torch.float64, device="cpu"),
            torch.zeros(channels, dtype=torch.float64, device="cpu"),
        )

    @property
    def dense(self) -> Tensor:
        """The matrix as (C, C)."""
        return torch.diag(self.matrix) if self.matrix.dim() == 1 else self.matrix

    def apply(self, features: Tensor) -> Tensor:
        """Map (N, C, H, W) features, in their own dtype and on their own device."""
        bias = self.bias.to(features)[:, None, None]
        if self.matrix.dim() == 1:
            return features * self.matrix.to(features)[:, None, None] + bias
        return torch.einsum("kc,nchw->nkhw", self.matrix.to(features), features) + bias

    def blend(self, strength: float) -> AffineMap:
        """Return strength * self + (1 - strength) * identity."""
        identity = (
            1.0 if self.matrix.dim() == 1 else torch.eye(self.bias.numel(), dtype=self.matrix.dtype, device="cpu")
        )
        return AffineMap(strength * self.matrix + (1 - strength) * identity, strength * self.bias)

    def after(self, first: AffineMap) -> AffineMap:
        """Return the composition: `first`, then this map."""
        dense = self.dense
        matrix = self.matrix * first.matrix if self.matrix.dim() == first.matrix.dim() == 1 else dense @ first.dense
        return AffineMap(matrix, dense @ first.bias + self.bias)

    def fold_into(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """Return weight and bias of one convolution that equals this map followed by the given convolution.

        Exact with reflection padding, which commutes with a map of single positions.

        Args:
            weight: (K, C, kh, kw).
            bias: (K,).

        Returns:
            Weight and bias of the same shapes, float64.
        """
        weight = weight.to("cpu", torch.float64)
        folded = torch.einsum("kcij,cd->kdij", weight, self.dense)
        return folded, bias.to("cpu", torch.float64) + weight.sum((2, 3)) @ self.bias
