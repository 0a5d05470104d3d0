"""Reflection padding with gradients: PyTorch's own leaves the channels-last layout on CUDA and is slow on the CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from styleplugin.models.layers import Conv3x3


def reflect_pad(x: Tensor) -> Tensor:
    """Pad (N, C, H, W) by 1 on each side; the result is channels-last."""
    n, c, h, w = x.shape
    padded = x.new_empty((n, h + 2, w + 2, c)).permute(0, 3, 1, 2)
    inner = padded[:, :, 1:-1]
    inner[..., 1:-1] = x
    inner[..., 0], inner[..., -1] = x[..., 1], x[..., -2]
    padded[:, :, 0], padded[:, :, -1] = padded[:, :, 2], padded[:, :, -3]
    return padded


def fold_border(outer: Tensor) -> Tensor:
    """Return the gradient before `reflect_pad`: that of the border is added to the cells it was copied from.

    Args:
        outer: The gradient behind it; written to.
    """
    rows = outer[:, :, 1:-1]
    rows[:, :, 1] += outer[:, :, 0]
    rows[:, :, -2] += outer[:, :, -1]
    inner = rows[..., 1:-1]
    inner[..., 1] += rows[..., 0]
    inner[..., -2] += rows[..., -1]
    return inner


class _ReflectPad(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return reflect_pad(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return fold_border(gradients[0].clone())


class _PaddedConv3x3(Conv3x3):
    def forward(self, input: Tensor) -> Tensor:
        output = nn.Conv2d.forward(self, _ReflectPad.apply(input))  # type: ignore[arg-type]
        return output.relu() if self.relu else output


def pad_in_channels_last(module: nn.Module) -> None:
    """Make the `Conv3x3` of stride 1 of a module pad in the layout of their input; results stay the same."""
    for conv in module.modules():
        if type(conv) is Conv3x3 and conv.stride == (1, 1):
            conv.__class__ = _PaddedConv3x3
