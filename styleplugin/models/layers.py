"""The three building blocks of all encoders and decoders.

They are ordinary modules for training; the engine recognizes them by type and runs them region by region.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Conv3x3(nn.Conv2d):
    """3x3 convolution with reflection padding 1 and an optional ReLU: (N, C, H, W) to (N, K, H, W), sides >= 2."""

    def __init__(self, in_channels: int, out_channels: int, *, relu: bool = True) -> None:
        super().__init__(in_channels, out_channels, 3)
        self.relu = relu

    def forward(self, input: Tensor) -> Tensor:
        """Convolve (N, C, H, W) and keep the size."""
        output = super().forward(F.pad(input, (1, 1, 1, 1), mode="reflect"))
        return output.relu() if self.relu else output


class MaxPool2x2(nn.Module):
    """2x2 max-pooling with stride 2; an odd last row or column is dropped."""

    def forward(self, input: Tensor) -> Tensor:
        """Pool (N, C, H, W) to (N, C, H // 2, W // 2)."""
        return F.max_pool2d(input, 2)


class Upsample2x(nn.Module):
    """Nearest-neighbor upsampling by 2."""

    def forward(self, input: Tensor) -> Tensor:
        """Upsample (N, C, H, W) to (N, C, 2H, 2W)."""
        return F.interpolate(input, scale_factor=2, mode="nearest")
