"""3x3 convolutions with a quarter of the multiplications, on the CPU.

Winograd's minimal filtering F(4x4, 3x3): 4x4 outputs of a channel take 36 multiplications instead of 144, because both
the 6x6 inputs and the 3x3 weights are transformed to a basis in which a convolution is a product of each pair of values
("Fast Algorithms for Convolutional Neural Networks", Lavin and Gray, CVPR 2016, section 4.3).

The 6x6 windows lie on a fixed grid of the picture, wherever the region that is computed begins, so that a tile's values
round as the whole picture's do.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from styleplugin import kernels

if TYPE_CHECKING:
    from styleplugin.kernels.code import Code, Number, Vector

STEP = 4
"""Side of the blocks of output cells that are computed together."""
_WINDOW = 6

T = TypeVar("T", Tensor, "Vector")


def transform_input(d: Sequence[T]) -> list[T]:
    """Transform six inputs of an axis (the paper's B^T)."""
    even, odd = d[4] - 4 * d[2], d[3] - 4 * d[1]
    near, far = d[4] - d[2], 2 * (d[3] - d[1])
    return [4 * d[0] - 5 * d[2] + d[4], even + odd, even - odd, near + far, near - far, 4 * d[1] - 5 * d[3] + d[5]]


def transform_weight(g: Sequence[Tensor]) -> list[Tensor]:
    """Transform three weights of an axis (the paper's G)."""
    sides, ends = g[0] + g[2], g[0] + 4 * g[2]
    return [g[0] / 4, -(sides + g[1]) / 6, (g[1] - sides) / 6, (ends + 2 * g[1]) / 24, (ends - 2 * g[1]) / 24, g[2]]


def transform_output(m: Sequence[T]) -> list[T]:
    """Transform six products of an axis to four outputs (the paper's A^T)."""
    sum1, difference1, sum2, difference2 = m[1] + m[2], m[1] - m[2], m[3] + m[4], m[3] - m[4]
    return [m[0] + sum1 + sum2, difference1 + 2 * difference2, sum1 + 4 * sum2, difference1 + 8 * difference2 + m[5]]


class WinogradKernel:
    """A 3x3 convolution without padding, with bias and optional ReLU, of float32 maps on the CPU.

    With `doubled` it convolves what nearest upsampling by 2 makes of its input. Every other input of a window then
    repeats the one before, which makes one transformed value in six of each axis zero: 25 products instead of 36.
    """

    def __init__(self, weight: Tensor, bias: Tensor, *, relu: bool, doubled: bool = False) -> None:
        """Transform the weights, (O, I, 3, 3), with at least `fits` channels."""
        cpu = kernels.known_target()
        self._relu, self._doubled, self._side = relu, doubled, STEP
        self.out_channels, self._inputs = weight.shape[:2]
        rows = torch.stack(transform_weight(weight.double().unbind(2)))
        products = torch.stack(transform_weight(rows.unbind(3)), 1)[_used(doubled)][:, _used(doubled)]
        # In the order in which they are read: by product, by vector of outputs, by input.
        starts = range(0, self.out_channels, cpu.lanes)
        columns = torch.tensor(
            [[min(s, self.out_channels - cpu.lanes) + i for i in range(cpu.lanes)] for s in starts],
            dtype=torch.int64,
            device="cpu",
        )
        self._weight = products.flatten(0, 1)[:, columns].permute(0, 1, 3, 2).float().contiguous()
        self._bias = bias.float().contiguous()
        self._scratch = len(_used(doubled)) ** 2 * cpu.rows * (self._inputs + self.out_channels)

    @staticmethod
    def fits(weight: Tensor, like: Tensor) -> bool:
        """Whether there is a compiler for this device, and a vector of channels on both sides."""
        return kernels.fits(like, min(weight.shape[:2]))

    def pooled(self) -> WinogradKernel:
        """Return this convolution with 2x2 max-pooling behind it."""
        kernel = copy.copy(self)
        kernel._side = STEP // 2
        return kernel

    @property
    def macs(self) -> float:
        """Multiply-adds per output cell."""
        return len(_used(self._doubled)) ** 2 / self._side**2 * self._inputs * self.out_channels

    def __call__(self, x: Tensor) -> Tensor:
        """Convolve (N, I, H, W) with sides of 4n + 2, or 2n + 2 if doubled, to sides of 4n, or 2n if pooled."""
        rows, cols = ((side - 2) * (1 + self._doubled) // STEP for side in x.shape[2:])
        shape = (x.shape[0], self.out_channels, rows * self._side, cols * self._side)
        y = torch.empty(shape, memory_format=torch.channels_last, dtype=torch.float32, device="cpu")
        if x.stride(1) != 1:
            x = x.contiguous(memory_format=torch.channels_last)
        threads = torch.get_num_threads()
        scratch = kernels.scratch(threads * self._scratch)
        run = _kernel(self._doubled, self._relu, self._side)
        for picture, result in zip(x, y, strict=True):
            run(
                threads,
                *(tensor.data_ptr() for tensor in (picture, self._weight, self._bias, result, scratch)),
                *(self._inputs, self.out_channels, rows, cols, x.stride(2), x.stride(3)),
            )
        return y


def _used(doubled: bool) -> list[int]:
    """Return which transformed values of an axis are not always zero."""
    return [0, 1, 3, 4, 5] if doubled else [0, 1, 2, 3, 4, 5]


@cache
def _kernel(doubled: bool, relu: bool, side: int) -> Callable[..., None]:
    """Compile the convolution for any number of channels and cells."""
    return _Writer(kernels.new_code(kernels.known_target()), doubled, relu, side).write()


class _Writer:
    """Writes the code of a convolution: window by window in, product by product, block by block out."""

    def __init__(self, code: Code, doubled: bool, relu: bool, side: int) -> None:
        self._code, self._doubled, self._relu, self._side = code, doubled, relu, side
        self._used, self._group = _used(doubled), code.cpu.rows
        self._products = len(self._used) ** 2
        self._x, self._weight, self._bias, self._y, scratch = (code.pointer() for _ in range(5))
        self._inputs, self._outputs, self._rows, self._cols, self._row_stride, self._col_stride = (
            code.number() for _ in range(6)
        )
        # What a thread keeps, by product, by block, by channel.
        values = self._products * self._group
        self._transformed = scratch + code.thread() * (self._inputs + self._outputs) * values
        self._summed = self._transformed + self._inputs * values

    def write(self) -> Callable[..., None]:
        """Write and compile it."""
        code, group, blocks = self._code, self._group, self._rows * self._cols
        with code.parallel_range((blocks + (group - 1)) // group) as index:
            # The last group repeats the last block until it is full.
            with code.loop(0, group) as place:
                self._read_window(place, (index * group + place).minimum(blocks - 1))
            with code.loop(0, self._products) as product:
                self._multiply(product)
            with code.loop(0, group) as place:
                self._write_block(place, (index * group + place).minimum(blocks - 1))
        return code.compile()

    def _read_window(self, place: Number, block: Number) -> None:
        """Transform the window of a block."""
        row = block // self._cols
        step = STEP // 2 if self._doubled else STEP
        corner = self._x + (row * self._row_stride + (block - row * self._cols) * self._col_stride) * step
        cells = [(i + 1) // 2 if self._doubled else i for i in range(_WINDOW)]
        with self._code.vectors(self._inputs) as channel:
            read = {
                (i, j): (corner + (self._row_stride * i + self._col_stride * j + channel)).load()
                for i in sorted(set(cells))
                for j in sorted(set(cells))
            }
            rows = [transform_input([read[i, j] for j in cells]) for i in cells]
            cols = [transform_input([row[j] for row in rows]) for j in self._used]
            for product, value in enumerate(col[i] for i in self._used for col in cols):
                at = (product * self._group + place) * self._inputs + channel
                (self._transformed + at).store(value)

    def _multiply(self, product: Number) -> None:
        """Sum one product over the input channels, for the blocks of a group and all output channels."""
        lanes, inputs, outputs = self._code.cpu.lanes, self._inputs, self._outputs
        vectors = (outputs + (lanes - 1)) // lanes
        paired = vectors // 2 * 2
        transformed = self._transformed + product * self._group * inputs
        summed = self._summed + product * self._group * outputs

        def multiply(vector: Number, count: int) -> None:
            weights = self._weight + (product * vectors + vector) * inputs * lanes
            rows = [transformed + inputs * block for block in range(self._group)]
            columns = [weights + inputs * lanes * i for i in range(count)]
            sums = [[self._code.variable(self._code.constant(0)) for _ in columns] for _ in rows]
            self._code.multiply(sums, inputs, rows, 1, columns, lanes)
            for block, totals in enumerate(sums):
                for i, total in enumerate(totals):
                    (summed + outputs * block + ((vector + i) * lanes).minimum(outputs - lanes)).store(total.get())

        with self._code.loop(0, paired, 2) as vector:
            multiply(vector, 2)
        with self._code.loop(paired, vectors) as vector:
            multiply(vector, 1)

    def _write_block(self, place: Number, block: Number) -> None:
        """Transform the sums of a block to cells, 4x4 or pooled to 2x2."""
        row, width = block // self._cols, self._cols * self._side
        corner = self._y + (row * width + (block - row * self._cols)) * self._outputs * self._side
        zero = self._code.constant(0)
        with self._code.vectors(self._outputs) as channel:
            values = [[zero] * _WINDOW for _ in range(_WINDOW)]
            for product, (i, j) in enumerate((i, j) for i in self._used for j in self._used):
                at = (product * self._group + place) * self._outputs + channel
                values[i][j] = (self._summed + at).load()
            rows = [transform_output(line) for line in values]
            columns = [transform_output([row[j] for row in rows]) for j in range(STEP)]
            if self._side < STEP:
                columns = _pool(columns)
            bias = (self._bias + channel).load()
            for j, column in enumerate(columns):
                for i, value in enumerate(column):
                    result = value + bias
                    cell = corner + ((width * i + j) * self._outputs + channel)
                    cell.store(result.at_least(0) if self._relu else result)


def _pool(columns: list[list[Vector]]) -> list[list[Vector]]:
    """Return the largest values of 2x2 cells."""
    wide = [
        [a.at_least(b) for a, b in zip(*pair, strict=True)] for pair in zip(columns[::2], columns[1::2], strict=True)
    ]
    return [[a.at_least(b) for a, b in zip(column[::2], column[1::2], strict=True)] for column in wide]
