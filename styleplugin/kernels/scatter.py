"""Means and scatters of square blocks of a feature map, on the CPU in one pass through memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from styleplugin import kernels
from styleplugin.kernels.double_double import DoubleDouble

if TYPE_CHECKING:
    from styleplugin.kernels import Target
    from styleplugin.kernels.code import Code, Number


def fits(x: Tensor) -> bool:
    """Whether there is a compiler for the device of (N, C, H, W), and a vector of channels, be it a narrow one."""
    return x.stride(1) == 1 and kernels.fits(x, 2 * x.shape[1])


def block_scatter(x: Tensor, block: tuple[int, int]) -> tuple[Tensor, DoubleDouble]:
    """Return the means of blocks and the sum of their scatters about their own means.

    Args:
        x: (C, H, W) float32, channels next to each other in memory, for which `fits` holds.
        block: Height and width of a block; they divide H and W.

    Returns:
        Means (rows of blocks, columns, C), float32, and scatter (C, C), summed in float32 within a block.
    """
    cpu = kernels.known_target()
    if x.shape[0] < cpu.lanes:
        cpu = cpu.narrow()
    channels, rows, cols = x.shape[0], x.shape[1] // block[0], x.shape[2] // block[1]
    threads = min(torch.get_num_threads(), rows * cols)
    values = -(-channels * channels // cpu.lanes) * cpu.lanes
    means = torch.empty(rows, cols, channels, dtype=torch.float32, device="cpu")
    sums = torch.zeros(threads, 2, values, dtype=torch.float64, device="cpu")
    scratch = kernels.scratch(threads * (channels * block[0] * block[1] + values))
    _kernel(cpu)(
        threads,
        *(tensor.data_ptr() for tensor in (x, means, scratch, sums)),
        *(channels, values, rows * cols, cols, *block, x.stride(1), x.stride(2)),
    )
    # What lies below the diagonal is not complete.
    upper = sums[..., : channels * channels].unflatten(-1, (channels, channels)).triu()
    high, low = (upper + upper.triu(1).mT).unbind(1)
    total = DoubleDouble.total(high)
    return means, DoubleDouble(total.high, total.low + low.sum(0))


@cache
def _kernel(cpu: Target) -> Callable[..., None]:
    """Compile the sums for any number of channels, a vector at least, and any cells."""
    return _Writer(kernels.new_code(cpu)).write()


class _Writer:
    """Writes the code: a block's mean, the block about it, and products of channels."""

    def __init__(self, code: Code) -> None:
        self._code = code
        self._x, self._means, scratch = (code.pointer() for _ in range(3))
        sums = code.sums()
        self._channels, self._values, self._blocks, self._cols, self._height, self._width = (
            code.number() for _ in range(6)
        )
        self._row_stride, self._col_stride = code.number(), code.number()
        self._cells = self._height * self._width
        # What a thread keeps: a block about its mean, its scatter, and the sum of the scatters.
        self._centered = scratch + code.thread() * (self._channels * self._cells + self._values)
        self._scatter = self._centered + self._channels * self._cells
        self._sums = sums + code.thread() * 2 * self._values

    def write(self) -> Callable[..., None]:
        """Write and compile it."""
        with self._code.parallel_range(self._blocks) as block:
            self._center(block)
            with self._code.loop(0, self._channels, self._code.cpu.rows) as first:
                self._multiply(first.minimum(self._channels - self._code.cpu.rows))
            with self._code.loop(0, self._values, self._code.cpu.lanes) as place:
                total = self._sums + place
                total.add((self._scatter + place).load(), lost=total + self._values)
        return self._code.compile()

    def _center(self, block: Number) -> None:
        """Find the mean of a block and take it off."""
        code, row = self._code, block // self._cols
        corner = row * self._height * self._row_stride + (block - row * self._cols) * self._width * self._col_stride
        with code.vectors(self._channels) as channel:
            source, total = self._x + corner + channel, code.variable(code.constant(0))
            with code.loop(0, self._height) as i, code.loop(0, self._width) as j:
                total.set(total.get() + (source + i * self._row_stride + j * self._col_stride).load())
            mean = total.get() / code.broadcast(self._cells)
            (self._means + block * self._channels + channel).store(mean)
            with code.loop(0, self._height) as i, code.loop(0, self._width) as j:
                centered = (source + i * self._row_stride + j * self._col_stride).load() - mean
                (self._centered + (i * self._width + j) * self._channels + channel).store(centered)

    def _multiply(self, first: Number) -> None:
        """Multiply some channels with themselves and those that come later."""
        code, channels, lanes = self._code, self._channels, self._code.cpu.lanes
        rows = [self._centered + first + i for i in range(code.cpu.rows)]
        with code.loop(first // lanes * lanes, channels, 2 * lanes) as column:
            starts = [(column + i * lanes).minimum(channels - lanes) for i in range(2)]
            columns = [self._centered + start for start in starts]
            sums = [[code.variable(code.constant(0)) for _ in columns] for _ in rows]
            code.multiply(sums, self._cells, rows, channels, columns, channels)
            for i, totals in enumerate(sums):
                for start, total in zip(starts, totals, strict=True):
                    (self._scatter + (first + i) * channels + start).store(total.get())
