"""From the layers of a network to operations on boxes: what merges with what, and which operation a layer becomes.

A method brings layers of its own by `compile_layer.register(LayerType)`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import singledispatch

import torch
from torch import Tensor, nn

from styleplugin.engine.operations import (
    BilinearUpsampling,
    Convolution,
    Kernel,
    LastConvolution,
    Mapped,
    Operation,
    PictureConvolution,
    PointwiseConvolution,
    PooledWinogradConvolution,
    Pooling,
    Residual,
    StridedConvolution,
    UpsampledConvolution,
    UpsampledWinogradConvolution,
    WinogradConvolution,
)
from styleplugin.kernels.last_layer import LastLayerKernel
from styleplugin.kernels.winograd import WinogradKernel
from styleplugin.networks.layers import BilinearUpsample2x, Conv1x1, Conv3x3, MaxPool2x2, ResidualBlock, Upsample2x
from styleplugin.networks.vgg import Preprocess
from styleplugin.transforms.affine import AffineMap


@dataclass
class Compilation:
    """The operations so far, and what waits for the next layer."""

    like: Tensor
    """Gives device and dtype."""
    before: AffineMap | None
    """A map of the channels that the next convolution takes up."""
    channels: int
    """Of what the next layer gets."""
    upsample: bool = False
    """Whether a nearest upsampling waits for the convolution behind it."""
    operations: list[Operation] = field(default_factory=list)

    def add(self, operation: Operation) -> None:
        """Append an operation."""
        self.operations.append(operation)
        self.channels = operation.out_channels


def compile_layers(
    layers: Iterable[nn.Module], like: Tensor, before: AffineMap | None = None, channels: int = 0
) -> list[Operation]:
    """Turn the layers of a model into operations for `like`'s device and dtype.

    A per-position map in front of the first convolution (preprocessing, or `before`) is folded into it, also through a
    bilinear upsampling, which commutes with it; nearest upsampling merges with the convolution behind it, max-pooling
    with a compiled one in front of it.

    Args:
        layers: In order.
        like: Gives device and dtype.
        before: A map in front of the first convolution.
        channels: Of the input, where no convolution comes first.

    Raises:
        TypeError: No operation is registered for the type of a layer.
    """
    network = Compilation(like, before, channels)
    for layer in layers:
        compile_layer(layer, network)
    return network.operations


@singledispatch
def compile_layer(layer: nn.Module, network: Compilation) -> None:
    """Add a layer to a compilation."""
    raise TypeError(f"no operation for a {type(layer).__name__}; register one with compile_layer.register")


@compile_layer.register
def _(layer: Preprocess, network: Compilation) -> None:
    weight, bias = (value.to("cpu", torch.float64) for value in (layer.weight[:, :, 0, 0], layer.bias))
    network.before = AffineMap(weight, bias)


@compile_layer.register
def _(layer: MaxPool2x2, network: Compilation) -> None:
    last = network.operations[-1] if network.operations else None
    if type(last) is WinogradConvolution:
        network.operations[-1] = PooledWinogradConvolution(last.kernel.pooled())
    else:
        network.add(Pooling(network.channels))


@compile_layer.register
def _(layer: BilinearUpsample2x, network: Compilation) -> None:
    network.add(BilinearUpsampling(network.channels))


@compile_layer.register
def _(layer: Upsample2x, network: Compilation) -> None:
    network.upsample = True


@compile_layer.register
def _(layer: ResidualBlock, network: Compilation) -> None:
    if network.before is not None:
        network.add(Mapped(network.before))
        network.before = None
    depthwise, pointwise = (_parameters(conv, None) for conv in (layer.depthwise, layer.pointwise))
    channels, like = layer.pointwise.out_channels, network.like
    first = Kernel(*depthwise, relu=True, groups=channels, like=like)
    network.add(Residual(first, Kernel(*pointwise, relu=False, like=like), channels))


@compile_layer.register
def _(layer: Conv1x1, network: Compilation) -> None:
    weight, bias = _parameters(layer, network.before)
    network.add(PointwiseConvolution(weight, bias, relu=True, like=network.like))
    network.before = None


@compile_layer.register
def _(layer: Conv3x3, network: Compilation) -> None:
    weight, bias = _parameters(layer, network.before)
    network.add(_convolution(layer, weight, bias, upsample=network.upsample, like=network.like))
    network.before, network.upsample = None, False


def _parameters(layer: nn.Conv2d, before: AffineMap | None) -> tuple[Tensor, Tensor]:
    assert layer.bias is not None
    weight, bias = layer.weight.detach().double().cpu(), layer.bias.detach().double().cpu()
    return (weight, bias) if before is None else before.fold_into(weight, bias)


def _convolution(layer: Conv3x3, weight: Tensor, bias: Tensor, *, upsample: bool, like: Tensor) -> Operation:
    if layer.stride == (2, 2):
        return StridedConvolution(weight, bias, relu=layer.relu, groups=layer.groups, like=like)
    if layer.groups > 1:
        return Convolution(weight, bias, relu=layer.relu, groups=layer.groups, like=like)
    if WinogradKernel.fits(weight, like):
        kernel = WinogradKernel(weight, bias, relu=layer.relu, doubled=upsample)
        return UpsampledWinogradConvolution(kernel) if upsample else WinogradConvolution(kernel)
    if upsample:
        return UpsampledConvolution(weight, bias, relu=layer.relu, like=like)
    if LastLayerKernel.fits(weight, like):
        return LastConvolution(weight, bias, relu=layer.relu, like=like)
    if weight.shape[0] == 3:
        return PictureConvolution(weight, bias, relu=layer.relu, like=like)
    return Convolution(weight, bias, relu=layer.relu, like=like)


def segments(operations: Sequence[Operation]) -> list[list[Operation]]:
    """Split operations where the grid gets coarser or finer: after each pooling, before each upsampling.

    Between two segments the map is small enough to be kept whole, so that halos do not grow through the network.
    """
    parts: list[list[Operation]] = [[]]
    for operation in operations:
        if operation.finer > 1 and parts[-1]:
            parts.append([])
        parts[-1].append(operation)
        if operation.coarser > 1:
            parts.append([])
    return [part for part in parts if part]
