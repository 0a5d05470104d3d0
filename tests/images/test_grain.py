"""Grain: the same everywhere, without a direction, and only where texture is missing."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from styleplugin.images import grain as module
from styleplugin.images.grain import DEVIATION, grain, with_grain

WHOLE = DEVIATION * 3**0.5


def whole(height: int, width: int) -> torch.Tensor:
    return grain((height, width), slice(0, height), slice(0, width))


def flat(height: int, width: int, value: float = 0.5) -> torch.Tensor:
    return torch.full((1, 3, height, width), value)


def test_the_numbers_are_those_of_every_machine():
    expected = [[2.5019, -12.1105, -0.9933], [-0.3421, 5.1384, -0.8227], [-1.4516, 9.5649, -1.2353]]
    assert_close(255 * whole(6, 5)[0, 0, :3, :3], torch.tensor(expected), rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", [(90, 130), (700, 1100)])
def test_every_piece_has_the_values_of_the_whole(size):
    rows, columns = slice(17, 61), slice(40, 103)
    assert torch.equal(grain(size, rows, columns), whole(*size)[:, :, rows, columns])


@pytest.mark.parametrize("pixels", [1, 1000, 1 << 20])
def test_a_picture_is_the_same_however_many_rows_are_computed_at_once(monkeypatch, pixels):
    picture = torch.rand(1, 3, 41, 53, generator=torch.Generator().manual_seed(0)) * 0.04
    expected = with_grain(picture, 1.0)
    monkeypatch.setattr(module, "_PIXELS", pixels)
    assert torch.equal(with_grain(picture, 1.0), expected)


def test_all_scales_are_equally_strong_and_have_no_direction():
    noise = whole(512, 512)[0, 0]
    assert float(noise.mean()) == pytest.approx(0, abs=1 / 255)
    assert float(noise.std()) == pytest.approx(WHOLE, rel=0.05)
    # Neither along rows, nor along columns, nor its own mirror image.
    across, down = ((a * b).mean() / noise.var() for a, b in ((noise[:, 2:], noise[:, :-2]), (noise[2:], noise[:-2])))
    assert float(across) == pytest.approx(float(down), abs=0.03)
    assert float((noise * noise.T).mean() / noise.var()) == pytest.approx(0, abs=0.05)


def test_pictures_of_all_sizes_have_the_coarse_scale_in_common():
    small, large = (F.avg_pool2d(whole(48 * n, 60 * n), n) for n in (12, 24))
    # Of white noise in cells of 1 and 4 px little is left in the mean of a cell of the coarsest scale.
    assert torch.corrcoef(torch.stack([small.flatten(), large.flatten()]))[0, 1] > 0.8


def test_flat_parts_get_all_of_it_and_textured_ones_none():
    assert_close(with_grain(flat(40, 50), 0.5), 0.5 + 0.5 * whole(40, 50).expand(-1, 3, -1, -1))
    squares = (torch.arange(40)[:, None] + torch.arange(50)).remainder(2) * 0.1 + flat(40, 50)
    assert torch.equal(with_grain(squares, 1.0), squares)


def test_what_a_part_has_of_texture_it_gets_less_of_noise():
    """The variances of both together make up the noise's own."""
    squares = ((torch.arange(240)[:, None] + torch.arange(240)).remainder(2) - 0.5) * WHOLE + flat(240, 240)
    assert float(squares[0, 0].std()) == pytest.approx(WHOLE / 2, rel=0.01)
    added = (with_grain(squares, 1.0) - squares)[0]
    assert torch.equal(added[0], added[1]) and torch.equal(added[0], added[2])
    assert float(added[0].square().mean()) == pytest.approx(0.75 * WHOLE**2, rel=0.1)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 2), (700, 1)])
def test_the_smallest_pictures_have_grain(size):
    assert_close(with_grain(flat(*size), 1.0), 0.5 + whole(*size).expand(-1, 3, -1, -1))


def test_values_beyond_white_are_neither_cut_off_nor_refused():
    assert_close(with_grain(flat(8, 8, 3.0), 1.0), 3 + whole(8, 8).expand(-1, 3, -1, -1))
