"""The operations that layers of a network become: they compute boxes.

An operation says which box of its input a box of its output needs, and computes that box; those that work in
blocks of cells compute the blocks it lies in. At the edges of the picture the input is padded as the layer pads it; at
the edges of a tile there is real context instead. So a tile costs little more than its own cells, and equals the whole
picture's run.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from styleplugin.images.box import Box, Span
from styleplugin.kernels.last_layer import LastLayerKernel
from styleplugin.kernels.winograd import STEP, WinogradKernel
from styleplugin.transforms.affine import AffineMap


class Operation:
    """One step of a network on (N, C, H, W) tensors in channels-last memory."""

    padding: Literal["reflect", "replicate"] = "reflect"
    """How the input goes on beyond the picture."""
    finer, coarser = 1, 1
    """How many cells of the output stand for one of the input along a side, and the other way round."""
    halo = 0
    """Cells of the input that are needed beyond those that a box of the output stands on."""
    out_channels: int
    macs: float
    """Multiply-adds per cell of the output."""

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return (height, width) of the output for an input of (height, width)."""
        return size[0] * self.finer // self.coarser, size[1] * self.finer // self.coarser

    def input_span(self, span: Span) -> Span:
        """Return the input rows (or columns) needed for these output rows (or columns); may reach over the edge."""
        return Span(span.start * self.coarser - self.halo, span.stop * self.coarser + self.halo)

    def run(self, x: Tensor, box: Box) -> Tensor:
        """Compute an output box from exactly the input it needs."""
        raise NotImplementedError


class Doubling(Operation):
    """An operation whose output has twice the side; each cell of it needs two of the input."""

    padding: Literal["reflect", "replicate"] = "replicate"
    finer = 2

    def input_span(self, span: Span) -> Span:
        return Span((span.start - 1) // 2, span.stop // 2 + 1)


# PyTorch's own inductor uses this packing; it is not public, so everything works without it as well.
_pack: Callable[..., Tensor] | None = getattr(getattr(torch._C, "_nn", None), "mkldnn_reorder_conv2d_weight", None)


class Kernel:
    """A convolution without padding, with bias and optional ReLU, prepared for the device that runs it.

    On the CPU in float32 the weights are packed once into oneDNN's own order and the ReLU is fused.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        *,
        relu: bool,
        stride: tuple[int, int] = (1, 1),
        groups: int = 1,
        like: Tensor,
    ) -> None:
        self._relu, self._stride, self._groups = relu, list(stride), groups
        self._bias = bias.to(like)
        self._weight = weight.to(like).contiguous(memory_format=torch.channels_last)
        self._packed = None
        if _pack and like.device.type == "cpu" and like.dtype == torch.float32 and torch.backends.mkldnn.is_available():
            self._packed = _pack(self._weight.to_mkldnn(), [0, 0], self._stride, [1, 1], groups, None)

    def __call__(self, x: Tensor) -> Tensor:
        """Convolve (N, I, H, W); the result is channels-last and contiguous."""
        if self._packed is not None:
            activation = "relu" if self._relu else "none"
            return torch.ops.mkldnn._convolution_pointwise(
                x, self._packed, self._bias, [0, 0], self._stride, [1, 1], self._groups, activation, [], ""
            )
        y = F.conv2d(x, self._weight, self._bias, self._stride, groups=self._groups)
        y = y.contiguous(memory_format=torch.channels_last)
        return y.relu_() if self._relu else y


class Convolution(Operation):
    """3x3 convolution with reflection padding."""

    halo = 1

    def __init__(
        self, weight: Tensor, bias: Tensor, *, relu: bool, groups: int = 1, stride: int = 1, like: Tensor
    ) -> None:
        self.out_channels = weight.shape[0]
        self.macs = float(weight.numel())
        self._kernel: Callable[[Tensor], Tensor] = Kernel(
            weight, bias, relu=relu, stride=(stride, stride), groups=groups, like=like
        )

    def run(self, x: Tensor, box: Box) -> Tensor:
        return self._kernel(x)


class WinogradConvolution(Operation):
    """3x3 convolution with reflection padding in blocks of 4x4 cells, which lie alike for every box."""

    def __init__(self, kernel: WinogradKernel) -> None:
        self.kernel, self.out_channels, self.macs = kernel, kernel.out_channels, kernel.macs

    def input_span(self, span: Span) -> Span:
        blocks = _in_blocks(span)
        return Span(blocks.start - 1, blocks.stop + 1)

    def run(self, x: Tensor, box: Box) -> Tensor:
        return box.relative_to(box.map(_in_blocks)).of(self.kernel(x))


class PooledWinogradConvolution(WinogradConvolution):
    """3x3 convolution with reflection padding and 2x2 max-pooling, in blocks of 2x2 cells of the result."""

    coarser = 2

    def input_span(self, span: Span) -> Span:
        blocks = _in_blocks(span, STEP // 2)
        return Span(2 * blocks.start - 1, 2 * blocks.stop + 1)

    def run(self, x: Tensor, box: Box) -> Tensor:
        return box.relative_to(box.map(partial(_in_blocks, side=STEP // 2))).of(self.kernel(x))


def _in_blocks(span: Span, side: int = STEP) -> Span:
    return Span(span.start // side * side, -(-span.stop // side) * side)


class StridedConvolution(Convolution):
    """3x3 convolution with stride 2; only the last row and column are padded."""

    coarser = 2

    def __init__(self, weight: Tensor, bias: Tensor, *, relu: bool, groups: int, like: Tensor) -> None:
        super().__init__(weight, bias, relu=relu, groups=groups, stride=2, like=like)

    def input_span(self, span: Span) -> Span:
        return Span(2 * span.start, 2 * span.stop + 1)


class PointwiseConvolution(Convolution):
    """1x1 convolution."""

    halo = 0


class HighFrequencies(Convolution):
    """What is finer than a 3x3 mean."""

    padding: Literal["reflect", "replicate"] = "replicate"

    def __init__(self, channels: int, like: Tensor) -> None:
        kernel = torch.full((channels, 1, 3, 3), -1 / 9, dtype=torch.float64, device="cpu")
        kernel[:, :, 1, 1] += 1
        super().__init__(kernel, kernel.new_zeros(channels), relu=False, groups=channels, like=like)


class LastConvolution(Convolution):
    """3x3 convolution to three channels, compiled."""

    def __init__(self, weight: Tensor, bias: Tensor, *, relu: bool, like: Tensor) -> None:
        super().__init__(weight, bias, relu=relu, like=like)
        self._kernel = LastLayerKernel(weight, bias, relu=relu)


class PictureConvolution(Convolution):
    """3x3 convolution to three channels, computed for four pixels of a row at once.

    Three output channels leave most of a vector register empty. One 3x6 convolution that moves by four columns and has
    twelve outputs does more multiply-adds but takes half the time, and its output lies in memory as the picture does.
    """

    _PIXELS = 4

    def __init__(self, weight: Tensor, bias: Tensor, *, relu: bool, like: Tensor) -> None:
        super().__init__(weight, bias, relu=relu, like=like)
        out, channels = weight.shape[:2]
        blocks = weight.new_zeros(self._PIXELS, out, channels, 3, 2 + self._PIXELS)
        for pixel in range(self._PIXELS):
            blocks[pixel, ..., pixel : pixel + 3] = weight
        self._blocks = Kernel(
            blocks.flatten(0, 1), bias.repeat(self._PIXELS), relu=relu, stride=(1, self._PIXELS), like=like
        )

    def run(self, x: Tensor, box: Box) -> Tensor:
        if box.size[1] % self._PIXELS:
            return super().run(x, box)
        return _unfold_row(self._blocks(x), self._PIXELS)


def _unfold_row(blocks: Tensor, pixels: int) -> Tensor:
    """Return the view (N, C, H, W * pixels) of channels-last (N, pixels * C, H, W), pixels of a block in one row."""
    n, channels, height, width = blocks.shape
    rows = blocks.permute(0, 2, 3, 1).reshape(n, height, width * pixels, channels // pixels)
    return rows.permute(0, 3, 1, 2)


class Residual(Operation):
    """A depthwise 3x3 convolution with ReLU and a 1x1 convolution, added to their input."""

    halo = 1

    def __init__(self, depthwise: Kernel, pointwise: Kernel, channels: int) -> None:
        self.out_channels = channels
        self.macs = float(channels * (9 + channels))
        self._depthwise, self._pointwise = depthwise, pointwise

    def run(self, x: Tensor, box: Box) -> Tensor:
        return self._pointwise(self._depthwise(x)).add_(x[:, :, 1:-1, 1:-1])


class Mapped(Operation):
    """An affine map of the channels, where no convolution is there to take it up."""

    def __init__(self, affine: AffineMap) -> None:
        self.out_channels = affine.bias.numel()
        self.macs = float(affine.matrix.numel())
        self._affine = affine

    def run(self, x: Tensor, box: Box) -> Tensor:
        return self._affine.apply(x)


class Pooling(Operation):
    """2x2 max-pooling."""

    padding: Literal["reflect", "replicate"] = "replicate"
    coarser = 2

    def __init__(self, channels: int) -> None:
        self.out_channels = channels
        self.macs = 4.0 * channels

    def run(self, x: Tensor, box: Box) -> Tensor:
        if x.device.type != "cpu":
            return F.max_pool2d(x, 2)
        # Twice as fast on the CPU as max_pool2d, which also finds indices.
        rows = torch.maximum(x[:, :, 0::2], x[:, :, 1::2])
        return torch.maximum(rows[:, :, :, 0::2], rows[:, :, :, 1::2])


class UpsampledConvolution(Doubling):
    """Nearest upsampling by 2 and a 3x3 convolution in one: 2x2 convolutions of the small grid.

    A 3x3 window over doubled cells sees each cell once or twice; adding the weights that meet the same cell leaves 2x2
    taps for each of the four positions inside a cell, 4/9 of the work. Reflection padding of the doubled grid repeats
    its first cell, so the small grid is padded by replication.

    The 2x2 window of the cells p - 1 and p makes the two rows (columns) around their border, 2p - 1 and 2p. Columns are
    made together, so that a window's outputs are neighbors in memory; rows by one kernel each.
    """

    def __init__(self, weight: Tensor, bias: Tensor, *, relu: bool, like: Tensor) -> None:
        self.out_channels, channels = weight.shape[:2]
        self.macs = 4.0 * self.out_channels * channels
        # taps[h][t]: which of the three weights of an axis meet cell t of the window, for its outputs 2p - 1 and 2p.
        taps = (((0, 1), (2,)), ((0,), (1, 2)))
        self._kernels = []
        for row in taps:
            pair = weight.new_zeros(2, self.out_channels, channels, 2, 2)
            for half, col in enumerate(taps):
                for i in range(2):
                    for j in range(2):
                        pair[half, :, :, i, j] = weight[:, :, list(row[i])][..., list(col[j])].sum((2, 3))
            self._kernels.append(Kernel(pair.flatten(0, 1), bias.repeat(2), relu=relu, like=like))

    def run(self, x: Tensor, box: Box) -> Tensor:
        height, width = box.size
        output = torch.empty(
            (x.shape[0], self.out_channels, height, width),
            dtype=x.dtype,
            device=x.device,
            memory_format=torch.channels_last,
        )
        # The first window's first output, 2p - 1, is the box's first where that is odd; else it is one before.
        top, left = (1 - span.start % 2 for span in box)
        for half, kernel in enumerate(self._kernels):
            rows = _unfold_row(kernel(x), 2)[..., left : left + width]
            first = (half - top) % 2
            target = output[:, :, first::2]
            window = (first + top) // 2
            target.copy_(rows[:, :, window : window + target.shape[2]])
        return output


class UpsampledWinogradConvolution(WinogradConvolution):
    """Nearest upsampling by 2 and a 3x3 convolution in one, in blocks of 4x4 cells of the result."""

    padding: Literal["reflect", "replicate"] = "replicate"
    finer = 2

    def input_span(self, span: Span) -> Span:
        blocks = _in_blocks(span)
        return Span(blocks.start // 2 - 1, blocks.stop // 2 + 1)


class BilinearUpsampling(Doubling):
    """Bilinear upsampling by 2 with half-pixel centers."""

    def __init__(self, channels: int) -> None:
        self.out_channels = channels
        self.macs = 4.0 * channels

    def run(self, x: Tensor, box: Box) -> Tensor:
        # A part of a larger map would be computed by other code, which rounds differently.
        x = x.contiguous(memory_format=torch.channels_last)
        doubled = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        given = box.map(lambda span: Span(2 * self.input_span(span).start, 2 * self.input_span(span).stop))
        return box.relative_to(given).of(doubled)
