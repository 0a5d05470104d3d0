"""Losses of training and optimization: pure functions of images and features, always summed in float32.

Source: Wang et al. 2020 (Collaborative Distillation), Huang and Belongie 2017 (AdaIN); weights and details in
their official code. All are means over elements, so that their weights do not depend on sizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, l1_loss

from styleplugin.transforms.adain import affine
from styleplugin.transforms.statistics import mean_and_deviation

PERIOD = 4
"""In pixels: what two upsamplings can repeat."""


class _MeanSquare(torch.autograd.Function):
    """Mean of squared differences: differences in the precision of the features, sums over rows in float32.

    `mse_loss` on float32 copies of bfloat16 features took more time than all convolutions of a training step.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        difference = a - b
        ctx.save_for_backward(difference)
        rows = difference.movedim(1, -1).flatten(-2) if difference.dim() > 2 else difference
        return torch.linalg.vector_norm(rows, dim=-1).float().square().sum() / difference.numel()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None]:
        (difference,) = ctx.saved_tensors
        gradient = difference * (gradients[0] * (2 / difference.numel())).to(difference.dtype)
        return gradient, -gradient if ctx.needs_input_grad[1] else None


def mse(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean squared difference of two tensors of one shape, (N, C, ...), as float32."""
    result = _MeanSquare.apply(a, b)
    assert isinstance(result, Tensor)
    return result


def feature_distance(features: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Sum `mse` over levels: perceptual and embedding loss.

    Args:
        features: One (N, C, H, W) per level.
        targets: Of the same shapes.
    """
    return sum_of(mse(a, b) for a, b in zip(features, targets, strict=True))


Statistics = Sequence[tuple[Tensor, Tensor]]
"""Channel means and deviations for each level, (N, C) each."""


def style_distance(seen: Statistics, wanted: Statistics) -> Tensor:
    """Compare channel means and deviations level by level.

    Source: AdaIN, style loss; mean-reduced, to be weighted by 10 (the Lua original sums and weights by 0.01).
    """
    levels = zip(seen, wanted, strict=True)
    return sum_of(mse(a, b) for level in levels for a, b in zip(*level, strict=True))


def statistics_of(features: Sequence[Tensor]) -> Statistics:
    """Return the statistics of one (N, C, H, W) per level."""
    return [mean_and_deviation(level) for level in features]


def joined(statistics: Statistics) -> Tensor:
    """Return statistics in one row for each picture, (N, 2 * channels of all levels), to be kept."""
    return torch.cat([value for level in statistics for value in level], 1)


def parted(rows: Tensor, features: Sequence[Tensor]) -> Statistics:
    """Undo `joined` for statistics of the same levels as the given features."""
    parts = rows.split([level.shape[1] for level in features for _ in range(2)], 1)
    return list(zip(parts[::2], parts[1::2], strict=True))


def statistics_error(seen: Statistics, wanted: Statistics, weights: Sequence[float] | None = None) -> Tensor:
    """Compare channel means and deviations, relative to the style's own; the weighted mean over levels.

    Args:
        seen: Of the output.
        wanted: Of the style.
        weights: Of the levels; by default all count the same.
    """
    weights = weights or [1.0] * len(seen)
    terms = []
    for weight, (mean, deviation), (wanted_mean, wanted_deviation) in zip(weights, seen, wanted, strict=True):
        scale = (wanted_mean.square() + wanted_deviation.square()).mean()
        terms.append(weight * (mse(mean, wanted_mean) + mse(deviation, wanted_deviation)) / scale)
    return torch.stack(terms).sum() / sum(weights)


def relative_error(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean squared difference of a to b, relative to the mean square of b."""
    return mse(a, b) / mse(b, torch.zeros_like(b)).clamp_min(1e-6)


def picture_errors(
    output: Tensor, seen: Sequence[Tensor], picture: Tensor, wanted: Sequence[Tensor]
) -> dict[str, Tensor]:
    """Compare an output with the picture that is to be learned, by what it shows and not by its fine texture.

    Args:
        output: (N, 3, H, W).
        seen: Features of the output, level 1 first; the two deepest are compared.
        picture: (N, 3, H, W).
        wanted: Features of the picture.

    Returns:
        "taught", the relative distance in these features, and "picture", the mean difference at a quarter of the size.
    """
    pairs = zip(seen[-2:], wanted[-2:], strict=True)
    small, wanted_small = (avg_pool2d(image.float(), 4) for image in (output, picture))
    return {"taught": sum_of(relative_error(a, b) for a, b in pairs) / 2, "picture": l1_loss(small, wanted_small)}


def content_error(seen: Tensor, wanted: Tensor) -> Tensor:
    """Compare the shapes in features, each channel normalized to mean 0 and deviation 1, so that colors are free.

    Args:
        seen: Features of the output, (N, C, H, W).
        wanted: Of the content.
    """
    return mse(_normalized(seen), _normalized(wanted))


def _normalized(features: Tensor) -> Tensor:
    mean, deviation = mean_and_deviation(features)
    return affine(features, 1 / deviation, -mean / deviation)


def grid_error(image: Tensor, period: int = PERIOD) -> Tensor:
    """Return how much the differences of neighbors depend on their place in the period, in pixels, of (N, 3, H, W).

    Two parts. The share that repeats: for each row and column the differences are averaged by their place; the mean of
    these squares is the power of the spectrum at the period and its overtones, and noise gives about period / side.
    And how unevenly the power is spread over the places, whatever the signs: the cells that an upsampling leaves.
    """
    image = image.float()
    errors = []
    for lines in (image, image.transpose(2, 3)):
        steps = lines.diff(dim=3)
        whole = steps.shape[3] // period * period
        steps = steps[..., :whole].unflatten(3, (-1, period))
        means = steps.mean(3)
        means = means - means.mean(3, keepdim=True)
        errors.append(means.square().mean() / steps.square().mean().detach().clamp_min(1e-8))
        power = steps.square().mean((1, 2, 3))
        errors.append((power / power.mean(1, keepdim=True).clamp_min(1e-8) - 1).square().mean())
    return torch.stack(errors).sum()


def weigh(parts: Mapping[str, Tensor], weights: Mapping[str, float]) -> dict[str, Tensor]:
    """Return the parts of a loss with their weighted sum as "loss"."""
    return {"loss": torch.stack([weights[name] * value for name, value in parts.items()]).sum(), **parts}


def psnr(error: Tensor) -> Tensor:
    """Turn mean squared errors of images in [0, 1] into decibels, elementwise."""
    return -10 * error.clamp_min(1e-12).log10()


def sum_of(terms) -> Tensor:
    """Add tensors."""
    first, *rest = terms
    for term in rest:
        first = first + term
    return first
