"""The linear map between two sets of colors that moves them least."""

from __future__ import annotations

import torch

from styleplugin.transforms.affine import AffineMap
from styleplugin.transforms.eigen import spectral_function, square_root
from styleplugin.transforms.moments import Moments
from styleplugin.transforms.wct import FLOOR


def color_map(content: Moments, style: Moments, *, floor: float = FLOOR) -> AffineMap:
    """Solve for T = S_c^(-1/2) (S_c^(1/2) S_s S_c^(1/2))^(1/2) S_c^(-1/2), x -> T (x - mean_c) + mean_s.

    Of all linear maps to the style's mean and covariance it is the one that moves the positions least: it is symmetric,
    so that it stretches colors and turns none. Whitening and coloring, S_s^(1/2) S_c^(-1/2), is not.

    Args:
        content: Moments with a (C, C) scatter.
        style: The same.
        floor: Added to both covariances, in squared units; bounds how far noise in a direction without colors grows.

    Returns:
        The map; only a shift of the mean where the style is degenerate or the content has fewer than two positions.

    Raises:
        NumericalError: SP701 or SP702, moments that are not finite.

    Source: Pitie and Kokaram 2007, "The linear Monge-Kantorovitch linear colour mapping".
    """
    content.check_finite("content")
    style.check_finite("style")
    if content.count < 2 or style.is_degenerate:
        return AffineMap(torch.ones_like(style.mean), style.mean - content.mean)
    least = floor * torch.eye(style.channels, dtype=torch.float64, device="cpu")
    own, wanted = content.covariance() + least, style.covariance() + least
    root, inverse = square_root(own), spectral_function(own, torch.rsqrt)
    matrix = inverse @ square_root(root @ wanted @ root) @ inverse
    return AffineMap(matrix, style.mean - matrix @ content.mean)
