"""Padded 3x3 convolutions for training: one step of the graph each, in channels-last and the precision of autocast.

PyTorch's own reflection padding leaves the channels-last layout on CUDA and is slow on the CPU; a ReLU of its own and
a gradient in another layout cost as much as the convolutions themselves where these are quick (bfloat16).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styleplugin.networks.layers import Conv3x3

Rim = tuple[int, int, int, int]
"""Padded columns left and right, rows above and below; 0 or 1 each."""
WHOLE: Rim = (1, 1, 1, 1)


def reflect_pad(x: Tensor, rim: Rim = WHOLE) -> Tensor:
    """Pad (N, C, H, W) by reflection; the result is channels-last."""
    left, right, above, below = rim
    n, c, h, w = x.shape
    padded = x.new_empty((n, above + h + below, left + w + right, c)).permute(0, 3, 1, 2)
    inner = padded[:, :, above : above + h]
    inner[..., left : left + w] = x
    if left:
        inner[..., 0] = x[..., 1]
    if right:
        inner[..., -1] = x[..., -2]
    if above:
        padded[:, :, 0] = padded[:, :, 2]
    if below:
        padded[:, :, -1] = padded[:, :, -3]
    return padded


def fold_border(outer: Tensor, rim: Rim = WHOLE) -> Tensor:
    """Return the gradient before `reflect_pad`: that of the border is added to the cells it was copied from.

    Args:
        outer: The gradient behind it; written to.
        rim: As in `reflect_pad`.
    """
    left, right, above, below = rim
    rows = outer[:, :, above : outer.shape[2] - below]
    if above:
        rows[:, :, 1] += outer[:, :, 0]
    if below:
        rows[:, :, -2] += outer[:, :, -1]
    inner = rows[..., left : rows.shape[3] - right]
    if left:
        inner[..., 1] += rows[..., 0]
    if right:
        inner[..., -2] += rows[..., -1]
    return inner


def conv_relu(
    padded: Tensor, weight: Tensor, bias: Tensor, stride: tuple[int, ...] = (1, 1), groups: int = 1
) -> Tensor:
    """Convolve and apply the ReLU: oneDNN does both at once."""
    if padded.device.type == "cpu" and padded.dtype in (torch.float32, torch.bfloat16) and _HAS_ONEDNN:
        return torch.ops.mkldnn._convolution_pointwise(
            padded, weight, bias, [0, 0], list(stride), [1, 1], groups, "relu", [], ""
        )
    return F.conv2d(padded, weight, bias, stride, groups=groups).relu_()


_HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")


class _PaddedConv(torch.autograd.Function):
    """Padding, convolution and ReLU."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, rim: Rim, stride: tuple[int, int], groups: int, relu: bool
    ) -> Tensor:
        padded = reflect_pad(x, rim)
        if relu:
            output = conv_relu(padded, weight, bias, stride, groups)
        else:
            output = F.conv2d(padded, weight, bias, stride, groups=groups)
        learns = ctx.needs_input_grad[1]
        ctx.save_for_backward(padded if learns else None, weight, output if relu else None)
        ctx.shape, ctx.rim, ctx.stride, ctx.groups = padded.shape, rim, stride, groups
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        padded, weight, output = ctx.saved_tensors
        (outer,) = gradients
        if output is not None:
            outer = torch.ops.aten.threshold_backward(outer, output, 0)
        if padded is None:
            # Only its form counts.
            n, c, h, w = ctx.shape
            padded = outer.new_empty((n, h, w, c)).permute(0, 3, 1, 2)
        wanted = list(ctx.needs_input_grad[:3])
        inner, of_weight, of_bias = torch.ops.aten.convolution_backward(
            outer, padded, weight, [len(weight)], ctx.stride, [0, 0], [1, 1], False, [0, 0], ctx.groups, wanted
        )
        inner = fold_border(inner, ctx.rim) if wanted[0] else None
        return inner, of_weight, of_bias, None, None, None, None


class _PaddedConv3x3(Conv3x3):
    _frozen: tuple[object, tuple[Tensor, Tensor]] | None = None
    """What frozen weights were cast from, and the cast, which would take as long as a layer."""

    def forward(self, input: Tensor) -> Tensor:
        kind = input.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else self.weight.dtype
        x = input.to(dtype, memory_format=torch.channels_last)
        return _PaddedConv.apply(x, *self._cast(dtype), self.rim, self.stride, self.groups, self.relu)  # type: ignore[return-value]

    def _cast(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        assert self.bias is not None
        origin = (dtype, self.weight.data_ptr(), self.weight._version)
        if self._frozen is not None and self._frozen[0] == origin and not self.weight.requires_grad:
            return self._frozen[1]
        cast = self.weight.to(dtype, memory_format=torch.channels_last), self.bias.to(dtype)
        self._frozen = None if self.weight.requires_grad else (origin, cast)
        return cast


def pad_in_channels_last(module: nn.Module) -> None:
    """Make the `Conv3x3` of a module pad, convolve and cut off below zero in one step; results stay the same."""
    for conv in module.modules():
        if type(conv) is Conv3x3:
            conv.__class__ = _PaddedConv3x3
