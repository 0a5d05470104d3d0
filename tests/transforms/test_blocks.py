"""Blocks of maps that come in tiles."""

import random

import pytest
import torch

from styleplugin import kernels
from styleplugin.images.box import tiles
from styleplugin.transforms.blocks import BLOCK, Blocks

SIZE = (7 * BLOCK + 5, 9 * BLOCK + 3)


def features(channels: int, dtype: torch.dtype) -> torch.Tensor:
    x = torch.randn(2, channels, *SIZE, generator=torch.Generator().manual_seed(channels), dtype=torch.float64)
    # Sums of values of all sizes are those that rounding changes most.
    x = (x * torch.logspace(-3, 3, channels)[:, None, None]).relu()
    return x.to(dtype).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(("weighted", "diagonal"), [(False, False), (True, False), (False, True), (True, True)])
def test_M01_tiles_of_any_size_in_any_order_have_the_bits_of_the_whole(
    dtype, compiled, weighted, diagonal, monkeypatch
):
    if not compiled:
        monkeypatch.setattr(kernels, "target", lambda: None)
    x = features(24, dtype)
    weights = torch.rand(1, 1, *SIZE, generator=torch.Generator().manual_seed(1)) if weighted else None

    def merged(side: int) -> tuple[float, torch.Tensor, torch.Tensor]:
        blocks = Blocks(x, x.shape[1], SIZE, diagonal=diagonal)
        boxes = list(tiles(SIZE, side, multiple=BLOCK))
        for box in random.Random(side).sample(boxes, len(boxes)):
            weight = None if weights is None else box.of(weights)
            blocks.add(box.of(x), weight, corner=(box.rows.start, box.cols.start))
        return blocks.merged()

    count, mean, scatter = merged(max(SIZE))
    for side in (BLOCK, 2 * BLOCK, 4 * BLOCK):
        own_count, own_mean, own_scatter = merged(side)
        assert own_count == count
        assert torch.equal(own_mean, mean)
        assert torch.equal(own_scatter, scatter)


def test_means_and_scatters_are_those_of_all_positions():
    x = features(20, torch.float64)
    blocks = Blocks(x, 20, SIZE)
    for box in tiles(SIZE, 3 * BLOCK, multiple=BLOCK):
        blocks.add(box.of(x), corner=(box.rows.start, box.cols.start))
    count, mean, scatter = blocks.merged()
    flat = x.movedim(1, 0).flatten(1)
    assert count == flat.shape[1]
    torch.testing.assert_close(mean, flat.mean(1))
    torch.testing.assert_close(scatter, torch.cov(flat) * (count - 1))
