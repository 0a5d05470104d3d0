"""3x3 convolutions from features to the three channels of a picture, on the CPU.

Three outputs leave most of a vector register empty. But three cells of a row lie next to each other in memory with all
their channels, so each row of a 3x3 window is one run of values: it is multiplied vector by vector with the weights of
one output, and the lanes are summed up once at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from styleplugin import kernels

_COLORS = 3
_CELLS = 8
"""Cells that are computed together: with three outputs each, their sums fill the registers."""


class LastLayerKernel:
    """A 3x3 convolution without padding to three channels, with bias and optional ReLU, of float32 maps."""

    def __init__(self, weight: Tensor, bias: Tensor, *, relu: bool) -> None:
        """Put the weights, (3, I, 3, 3), in order; `fits` holds for them."""
        cpu = kernels.known_target()
        self._inputs, self._relu = weight.shape[1], relu
        # By row of the window, as the values of its cells lie in memory.
        rows = weight.permute(2, 0, 3, 1).flatten(2).float()
        # The last vector of a row begins earlier, to end with it; what an earlier one holds already counts once.
        first = torch.arange(0, rows.shape[2], cpu.lanes, dtype=torch.int64, device="cpu")[:, None]
        places = first.clamp(max=rows.shape[2] - cpu.lanes) + torch.arange(cpu.lanes, dtype=torch.int64, device="cpu")
        self._weight = rows[..., places].masked_fill(places < first, 0).transpose(1, 2).contiguous()
        self._bias = bias.float().contiguous()

    @staticmethod
    def fits(weight: Tensor, like: Tensor) -> bool:
        """Whether there is a compiler for this device, three outputs, and a vector of inputs in a row of the window."""
        return weight.shape[0] == _COLORS and kernels.fits(like, weight.shape[1] * 3)

    def __call__(self, x: Tensor) -> Tensor:
        """Convolve (N, I, H, W); the result is channels-last and contiguous."""
        if x.stride(1) != 1 or x.stride(3) != self._inputs:
            x = x.contiguous(memory_format=torch.channels_last)
        height, width = x.shape[2] - 2, x.shape[3] - 2
        y = torch.empty(
            (x.shape[0], _COLORS, height, width), memory_format=torch.channels_last, dtype=torch.float32, device="cpu"
        )
        run = _kernel(self._relu)
        for picture, result in zip(x, y, strict=True):
            run(
                torch.get_num_threads(),
                *(tensor.data_ptr() for tensor in (picture, self._weight, self._bias, result)),
                *(self._inputs, height, width, x.stride(2)),
            )
        return y


@cache
def _kernel(relu: bool) -> Callable[..., None]:
    """Compile the convolution for any number of input channels and cells."""
    code = kernels.new_code(kernels.known_target())
    lanes = code.cpu.lanes
    x, weight, bias, y = (code.pointer() for _ in range(4))
    inputs, height, width, row_stride = (code.number() for _ in range(4))
    length = inputs * 3
    vectors = (length + (lanes - 1)) // lanes
    with code.parallel_range(height) as row, code.loop(0, width, _CELLS) as first:
        # The last cell of a row repeats until they are complete.
        cells = [(first + i).minimum(width - 1) for i in range(_CELLS)]
        sums = [[code.variable(code.constant(0)) for _ in range(_COLORS)] for _ in cells]
        with code.loop(0, 3) as i, code.loop(0, vectors) as vector:
            weights = weight + (vectors * i + vector) * (_COLORS * lanes)
            factors = [(weights + lanes * color).load() for color in range(_COLORS)]
            run = x + (row + i) * row_stride + (vector * lanes).minimum(length - lanes)
            for cell, totals in zip(cells, sums, strict=True):
                values = (run + cell * inputs).load()
                for total, factor in zip(totals, factors, strict=True):
                    total.set(total.get() + values * factor)
        for cell, totals in zip(cells, sums, strict=True):
            for color, total in enumerate(totals):
                target = y + (row * width + cell) * _COLORS + color
                target.store_sum(total.get(), bias + color, at_least_zero=relu)
    return code.compile()
