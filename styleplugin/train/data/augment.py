"""Crops as they are trained on: cut at many scales, with changed exposure, contrast and hue."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from styleplugin.train.data.pictures import Pictures
from styleplugin.train.recipe.options import DataOptions

EXPOSURE = 0.5
"""Largest change in stops."""
CONTRAST = 0.35
"""Largest change of the logarithm."""
HUE = 0.5
"""Largest turn around the gray axis, in radians."""


def random_crops(pictures: Pictures, count: int, options: DataOptions, generator: torch.Generator) -> Tensor:
    """Cut random crops, shrink and change them as the options say.

    Args:
        pictures: To cut from.
        count: How many, N.
        options: Side of the crops, their largest scale and how much they vary.
        generator: On the CPU; all that is random follows from it.

    Returns:
        (N, 3, crop, crop) float32 in [0, 1], channels-last.
    """
    side = options.crop
    if options.largest > side:
        share = torch.rand((), generator=generator, dtype=torch.float32, device="cpu").item()
        side = round(side * (options.largest / side) ** share)
    crops = pictures.random_crops(count, side, generator)
    if side > options.crop:
        size = (options.crop, options.crop)
        crops = F.interpolate(crops, size, mode="bilinear", antialias=True).contiguous(
            memory_format=torch.channels_last
        )
    return change_colors(crops, options.vary, generator) if options.vary else crops


def change_colors(crops: Tensor, vary: float, generator: torch.Generator) -> Tensor:
    """Change exposure, contrast and hue of each of (N, 3, H, W) crops in [0, 1], by at most `vary` of the limits."""
    draws = torch.rand(3, len(crops), generator=generator, dtype=torch.float32, device="cpu").to(crops.device)
    exposure, contrast, hue = (2 * draws - 1) * vary * draws.new_tensor([EXPOSURE, CONTRAST, HUE])[:, None]
    turned = torch.einsum("nij,njhw->nihw", _turns(hue), crops)
    mean = turned.mean((1, 2, 3), keepdim=True)
    scaled = (turned - mean) * contrast.exp()[:, None, None, None] + mean
    return (scaled * (exposure * math.log(2)).exp()[:, None, None, None]).clamp(0, 1)


def _turns(angles: Tensor) -> Tensor:
    """Return the (N, 3, 3) rotations of RGB around the gray axis, by Rodrigues' formula."""
    axis = angles.new_full((3,), 3**-0.5)
    zero = torch.zeros_like(axis[0])
    cross = torch.stack([
        torch.stack([zero, -axis[2], axis[1]]),
        torch.stack([axis[2], zero, -axis[0]]),
        torch.stack([-axis[1], axis[0], zero]),
    ])  # fmt: skip
    cosine, sine = angles.cos()[:, None, None], angles.sin()[:, None, None]
    identity = torch.eye(3, dtype=angles.dtype, device=angles.device)
    return cosine * identity + sine * cross + (1 - cosine) * torch.outer(axis, axis)
