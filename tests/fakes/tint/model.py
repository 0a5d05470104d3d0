"""Networks: a layer of its own, and what a weights file holds."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from styleplugin.methods import StyleModel, build_single, pairing_id
from styleplugin.tensorfile import Weights


class Power(nn.Module):
    """Raise (N, C, H, W) to a power, negative values to 0."""

    def __init__(self, exponent: float) -> None:
        super().__init__()
        self.exponent = nn.Parameter(torch.tensor(exponent, dtype=torch.float32, device="cpu"))

    def forward(self, input: Tensor) -> Tensor:
        """Compute (N, C, H, W)."""
        return input.clamp_min(0) ** self.exponent


class TintModel(StyleModel):
    """To linear light, and back."""

    method = "tint"
    architecture = "tint"
    levels = (1,)
    min_side = 1
    points = ((3,),)

    def __init__(self, gamma: float) -> None:
        super().__init__()
        self.gamma = gamma
        self.encoder, self.decoder = Power(gamma), Power(1 / gamma)

    @property
    def encoder_ids(self) -> tuple[str, ...]:
        """What a style must have been made with."""
        return (pairing_id(self.encoder),)

    def describe(self) -> dict[str, Any]:
        """Return what a weights file says to rebuild the model."""
        return {"method": self.method, "spec": {"gamma": self.gamma}, "pairing": self.encoder_ids[0]}

    def forward(self, image: Tensor) -> Tensor:
        """Reconstruct (N, 3, H, W)."""
        return self.decoder(self.encoder(image))


def build(weights: Weights) -> TintModel:
    """Build the model of a file."""
    return build_single(weights, lambda spec: float(spec["gamma"]), TintModel)
