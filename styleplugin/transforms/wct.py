"""Whitening and coloring: the affine map that gives content features the mean and covariance of the style's.

Source: Li et al. 2017, "Universal Style Transfer via Feature Transforms". Differs: symmetric roots by `eigh` of the
C x C covariance in float64 in place of an SVD, and a choice of rules for small eigenvalues.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from styleplugin.transforms.affine import AffineMap
from styleplugin.transforms.eigen import spectral_function, square_root
from styleplugin.transforms.moments import Moments

FLOOR = 1e-5
"""In squared feature units: added to both covariances by the soft rule, the cut of the official one."""

Regularization = Literal["soft", "official", "identity"]


def shrink(moments: Moments) -> Tensor:
    """Return the covariance (C, C), drawn to the identity where positions are fewer than channels.

    With n < C positions the covariance has rank n - 1 at most; the share (C - n) / C of the mean variance goes to
    all directions, so that the coloring stays finite and smooth as n grows.
    """
    covariance = moments.covariance()
    share = max(0.0, 1 - moments.count / moments.channels)
    if not share:
        return covariance
    spread = torch.eye(moments.channels, dtype=covariance.dtype, device="cpu") * covariance.diagonal().mean()
    return (1 - share) * covariance + share * spread


def wct_map(
    content: Moments, style: Moments, *, regularization: Regularization = "soft", floor: float = FLOOR
) -> AffineMap:
    """Solve for T = S_s^(1/2) S_c^(-1/2), x -> T (x - mean_c) + mean_s.

    Args:
        content: Moments with a (C, C) scatter.
        style: Of the same encoder.
        regularization: "soft" adds `floor` to both covariances, continuous and so reproducible over tiles; "official"
            drops eigenvalues under `floor`; "identity" adds 1 to the content's eigenvalues as some ports do.
        floor: Squared feature units.

    Returns:
        The map; only a shift of the mean where the style is degenerate or the content has fewer than two positions.

    Raises:
        NumericalError: SP701 or SP702, moments that are not finite.
    """
    content.check_finite("content")
    style.check_finite("style")
    if content.count < 2 or style.is_degenerate:
        return AffineMap(torch.ones_like(style.mean), style.mean - content.mean)
    sigma_content, sigma_style = shrink(content), shrink(style)
    if regularization == "soft":
        whitening = spectral_function(sigma_content, lambda e: (e + floor).rsqrt())
        coloring = spectral_function(sigma_style, lambda e: (e + floor).sqrt())
    else:
        extra = 1.0 if regularization == "identity" else 0.0
        whitening = spectral_function(sigma_content, lambda e: _inverse_root(e + extra, floor))
        coloring = square_root(sigma_style)
    matrix = coloring @ whitening
    return AffineMap(matrix, style.mean - matrix @ content.mean)


@torch.no_grad()
def wct(content: Tensor, style: Tensor) -> Tensor:
    """Whiten and color each (N, C, H, W) content with its style, picture by picture; without gradients."""
    pairs = zip(content.split(1), style.split(1), strict=True)
    return torch.cat([wct_map(Moments.of(own), Moments.of(wanted)).apply(own) for own, wanted in pairs])


def _inverse_root(values: Tensor, floor: float) -> Tensor:
    return torch.where(values < floor, 0.0, values.clamp(min=floor).rsqrt())


def zca_map(content: Moments, style: Moments) -> AffineMap:
    """Solve for the photorealistic map T = (S_s + I)^(1/2) (S_c + I)^(-1/2), x -> T (x - mean_c) + mean_s.

    The identity is not small: most directions of the students' features have variances below 1, so that it keeps
    what varies little as it is.

    Args:
        content: Moments with a (C, C) scatter; covariances are divided by the number of positions.
        style: Of the same encoder.

    Raises:
        NumericalError: SP701 or SP702, moments that are not finite.

    Source: Chiu and Gurari 2022, official code.
    """
    content.check_finite("content")
    style.check_finite("style")
    whitening = spectral_function(content.covariance(unbiased=False), lambda e: (e + 1).rsqrt())
    coloring = spectral_function(style.covariance(unbiased=False), lambda e: (e + 1).sqrt())
    matrix = coloring @ whitening
    return AffineMap(matrix, style.mean - matrix @ content.mean)
