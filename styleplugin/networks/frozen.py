"""Layers with frozen weights that remember for the backward pass where the gradient goes, one byte per value."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styleplugin.networks.layers import Conv3x3, MaxPool2x2
from styleplugin.networks.padding import conv_relu, fold_border, reflect_pad


class _ConvRelu(torch.autograd.Function):
    """Padding, 3x3 convolution and ReLU: the gradient of the input needs the weights and the sign of the output."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        output = conv_relu(reflect_pad(x), weight, bias)
        ctx.save_for_backward(weight, output > 0)
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        weight, positive = ctx.saved_tensors
        return fold_border(F.conv_transpose2d(gradients[0] * positive, weight)), None, None


class _MaxPool(torch.autograd.Function):
    """2x2 max-pooling that remembers which of the four cells was the largest."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        output, places = F.max_pool2d(x, 2, return_indices=True)
        width = x.shape[3]
        ctx.save_for_backward((places // width % 2 * 2 + places % width % 2).to(torch.uint8))
        ctx.size = x.shape[2:]
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (places,), (height, width) = ctx.saved_tensors, ctx.size
        (outer,) = gradients
        n, c, h, w = outer.shape
        inner = outer.new_zeros((n, height, width, c)).permute(0, 3, 1, 2)
        for place in range(4):
            inner[:, :, place // 2 : 2 * h : 2, place % 2 : 2 * w : 2] = outer * (places == place)
        return inner


class _FrozenConv3x3(Conv3x3):
    def forward(self, input: Tensor) -> Tensor:
        return _ConvRelu.apply(input, self.weight, self.bias)  # type: ignore[return-value]


class _FrozenMaxPool2x2(MaxPool2x2):
    def forward(self, input: Tensor) -> Tensor:
        return _MaxPool.apply(input)  # type: ignore[return-value]


def freeze(module: nn.Module) -> None:
    """Freeze an encoder's weights, and let its layers remember a byte per value instead of the values.

    Results and gradients stay the same.

    Args:
        module: Of `Conv3x3` with ReLU and stride 1, and `MaxPool2x2`.
    """
    module.requires_grad_(False)
    for layer in module.modules():
        if type(layer) is Conv3x3:
            assert layer.relu and layer.stride == (1, 1)
            layer.__class__ = _FrozenConv3x3
        elif type(layer) is MaxPool2x2:
            layer.__class__ = _FrozenMaxPool2x2
