"""Channel means and deviations of a batch, differentiable: what training and MicroAST's decoder need.

`Moments` are for pictures of any size, in float64; these are for crops, in the precision that the features have.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

EPSILON = 1e-5
"""Added to variances, in squared feature units."""
_ROW = 64
"""Positions that are added in half precision before float32 takes over; the sums within a row are float32 too."""


class _MeanAndVariance(torch.autograd.Function):
    """Means in float32 at least, and differences from them in the precision and layout of the features.

    `Tensor.var` of channels-last bfloat16 features, and its gradient in another layout, took more time than all
    convolutions of a training step.
    """

    @staticmethod
    def forward(ctx: Any, features: Tensor, correction: int) -> tuple[Tensor, Tensor]:
        count = features.shape[2] * features.shape[3]
        mean = _sum(features) / count
        centered = features - mean.to(features.dtype)[..., None, None]
        # The rounded mean is not quite the mean.
        rest = _sum(centered) / count
        degrees = count - correction
        ctx.save_for_backward(centered)
        ctx.count, ctx.degrees = count, degrees
        return mean, (_sum(centered.square()) - count * rest.square()).clamp_min(0) / degrees

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (centered,) = ctx.saved_tensors
        of_mean, of_variance = (
            (g / n)[..., None, None] for g, n in zip(gradients, (ctx.count, ctx.degrees / 2), strict=True)
        )
        return torch.addcmul(of_mean.to(centered.dtype), centered, of_variance.to(centered.dtype)), None


def mean_and_deviation(features: Tensor, *, correction: int = 1, epsilon: float = EPSILON) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation over positions of (N, C, H, W), each (N, C), float32 at least.

    Args:
        features: Of any floating dtype.
        correction: What is taken from the number of positions: 1 for the unbiased variance, 0 for the biased one.
        epsilon: Added to the variance.
    """
    mean, variance = _MeanAndVariance.apply(features, correction)  # type: ignore[misc]
    return mean, (variance + epsilon).sqrt()


def _sum(features: Tensor) -> Tensor:
    """Add over the positions of (N, C, H, W)."""
    flat = features.permute(0, 2, 3, 1).flatten(1, 2)
    if features.dtype in (torch.bfloat16, torch.float16):
        whole = flat.shape[1] // _ROW * _ROW
        rows = flat[:, :whole].unflatten(1, (-1, _ROW)).sum(2).float().sum(1)
        return rows + flat[:, whole:].float().sum(1)
    return flat.sum(1)
