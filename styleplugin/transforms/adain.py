"""Adaptive instance normalization: the diagonal affine map that gives content channels the style's mean and deviation.

Source: Huang and Belongie 2017; eps and unbiased variances as in the common PyTorch port.
"""

from __future__ import annotations

import torch
from torch import Tensor

from styleplugin.transforms.affine import AffineMap
from styleplugin.transforms.moments import Moments
from styleplugin.transforms.statistics import EPSILON, mean_and_deviation


def adain_map(content: Moments, style: Moments, *, epsilon: float = EPSILON) -> AffineMap:
    """Solve for x -> sigma_s / sigma_c (x - mean_c) + mean_s per channel.

    Only a shift of the mean where the style is degenerate or the content has fewer than two positions.

    Raises:
        NumericalError: SP701, moments that are not finite.
    """
    content.check_finite("content")
    style.check_finite("style")
    if content.count < 2 or style.is_degenerate:
        return AffineMap(style.mean.new_ones(style.channels), style.mean - content.mean)
    scale = ((style.variances + epsilon) / (content.variances + epsilon)).sqrt()
    return AffineMap(scale, style.mean - scale * content.mean)


def adain(content: Tensor, style: Tensor, *, epsilon: float = EPSILON) -> Tensor:
    """Give each (N, C, H, W) content its style's channel means and deviations, picture by picture; differentiable."""
    (mean, deviation), (wanted_mean, wanted_deviation) = (
        mean_and_deviation(features, epsilon=epsilon) for features in (content, style)
    )
    scale = wanted_deviation / deviation
    return affine(content, scale, wanted_mean - scale * mean)


def affine(features: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Scale and shift the channels of (N, C, H, W) by (N, C), in the precision of the features; differentiable."""
    return torch.addcmul(shift.to(features.dtype)[..., None, None], features, scale.to(features.dtype)[..., None, None])
