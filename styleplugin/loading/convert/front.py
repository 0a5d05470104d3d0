"""Other preprocessing than ours, absorbed exactly into the first convolution."""

from __future__ import annotations

import torch
from torch import Tensor

from styleplugin.errors import WeightsError
from styleplugin.networks.vgg import Preprocess


def absorb_front(conv: tuple[Tensor, Tensor], front: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Rewrite a first convolution so that it can follow our fixed `Preprocess` instead of its own front.

    With front(x) = A x + a and Preprocess(x) = P x + p per pixel, front = M Preprocess + v where M = A P^-1 and
    v = a - M p. The convolution of M z + v is the convolution of z with filters W M and bias b + sum W v. This is
    exact, because reflection padding commutes with a per-pixel map; computed in float64.

    Args:
        conv: Weight (K, 3, 3, 3) and bias (K,) of the first convolution.
        front: Weight (3, 3, 1, 1) and bias (3,) of the 1x1 convolution that maps RGB in [0, 1] to its input.

    Returns:
        Weight and bias of the same shapes, float32.

    Raises:
        WeightsError: SP310, a tensor has another shape.
    """
    shapes = [tuple(part.shape) for part in (*conv, *front)]
    width = conv[0].shape[:1]
    if shapes != [(*width, 3, 3, 3), (*width,), (3, 3, 1, 1), (3,)]:
        raise WeightsError("SP310", f"The preprocessing and first convolution have the shapes {shapes}, not VGG's.")
    weight, bias = (part.double() for part in conv)
    front_weight, front_bias = front[0][:, :, 0, 0].double(), front[1].double()
    ours = Preprocess()
    mix = front_weight @ torch.linalg.inv(ours.weight[:, :, 0, 0].double())
    shift = front_bias - mix @ ours.bias.double()
    return (
        torch.einsum("ojhw,ji->oihw", weight, mix).float(),
        (bias + torch.einsum("ojhw,j->o", weight, shift)).float(),
    )
