"""The building blocks of all encoders and decoders.

They are ordinary modules for training; the engine recognizes them by type and runs them region by region. New ones are
zero, or drawn from a generator that is named (`drawn_from`): torch's own layers draw from the one that belongs to the
whole process.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_generator: ContextVar[torch.Generator | None] = ContextVar("generator", default=None)


@contextmanager
def drawn_from(generator: torch.Generator) -> Iterator[None]:
    """Draw the values of the layers that are made here, in this thread, as torch does by default (He et al. 2015)."""
    token = _generator.set(generator)
    try:
        yield
    finally:
        _generator.reset(token)


class _Layer(nn.Module):
    """A layer whose first values come from `drawn_from`, and are zero without it."""

    weight: Tensor
    bias: Tensor | None

    def reset_parameters(self) -> None:
        """Give the values; torch calls this while a layer is made."""
        generator = _generator.get()
        if generator is None:
            for value in self.parameters():
                nn.init.zeros_(value)
            return
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5), generator=generator)
        if self.bias is not None:
            bound = 1 / math.sqrt(self.weight[0].numel())
            nn.init.uniform_(self.bias, -bound, bound, generator=generator)


class Conv3x3(_Layer, nn.Conv2d):
    """3x3 convolution with reflection padding and an optional ReLU: (N, C, H, W), sides >= 2.

    With stride 1 the size stays; with stride 2 it is halved, and only the last row and column are padded.
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, relu: bool = True, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(in_channels, out_channels, 3, stride, groups=groups, dtype=torch.float32, device="cpu")
        self.relu = relu
        self.rim = (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1)
        """Padded columns left and right, rows above and below."""

    def forward(self, input: Tensor) -> Tensor:
        """Convolve (N, C, H, W)."""
        output = super().forward(F.pad(input, self.rim, mode="reflect"))
        return output.relu() if self.relu else output


class Pointwise(_Layer, nn.Conv2d):
    """1x1 convolution without ReLU: (N, C, H, W) to (N, K, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 1, bias=bias, dtype=torch.float32, device="cpu")


class Linear(_Layer, nn.Linear):
    """Linear map of (..., C) to (..., K)."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, dtype=torch.float32, device="cpu")


class Conv1x1(_Layer, nn.Conv2d):
    """1x1 convolution with ReLU: (N, C, H, W) to (N, K, H, W)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 1, dtype=torch.float32, device="cpu")

    def forward(self, input: Tensor) -> Tensor:
        """Convolve (N, C, H, W)."""
        return super().forward(input).relu()


class ResidualBlock(nn.Module):
    """A depthwise 3x3 convolution with ReLU and a 1x1 convolution, added to their input: (N, C, H, W), sides >= 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = Conv3x3(channels, channels, groups=channels)
        self.pointwise = Pointwise(channels, channels)

    def forward(self, input: Tensor) -> Tensor:
        """Refine (N, C, H, W)."""
        return input + self.pointwise(self.depthwise(input))


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


class BilinearUpsample2x(nn.Module):
    """Bilinear upsampling by 2 with half-pixel centers."""

    def forward(self, input: Tensor) -> Tensor:
        """Upsample (N, C, H, W) to (N, C, 2H, 2W)."""
        return F.interpolate(input, scale_factor=2, mode="bilinear", align_corners=False)


class Join(nn.Module):
    """Where a decoder takes up what the encoder kept: added to its channels, or stacked behind them."""

    def __init__(self, kind: Literal["add", "stack"]) -> None:
        super().__init__()
        self.kind: Literal["add", "stack"] = kind

    def forward(self, input: Tensor, detail: Tensor) -> Tensor:
        """Join (N, C, H, W) and (N, C or D, H, W)."""
        return input + detail if self.kind == "add" else torch.cat([input, detail], 1)


class HighPass(nn.Module):
    """What is finer than a 3x3 mean: the detail that pooling loses. Edges are repeated outwards.

    Source: Chiu and Gurari 2022, high-frequency residual skip links.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Return (N, C, H, W) minus its local mean."""
        return input - F.avg_pool2d(F.pad(input, (1, 1, 1, 1), mode="replicate"), 3, 1)
