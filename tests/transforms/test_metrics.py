import math

import pytest
import torch

from styleplugin.transforms import metrics


def noise(height: int = 40, width: int = 48, seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def test_psnr_is_20_db_for_an_error_of_a_tenth():
    flat = torch.full((1, 3, 8, 8), 0.5)
    assert metrics.psnr(flat, flat + 0.1) == pytest.approx(20, abs=1e-4)
    assert metrics.psnr(flat, flat) == math.inf


def test_ssim_is_1_for_equal_pictures_and_falls_with_noise():
    a = noise()
    assert metrics.ssim(a, a) == pytest.approx(1)
    slight, strong = (metrics.ssim(a, (a + s * (noise(seed=1) - 0.5)).clamp(0, 1)) for s in (0.1, 1))
    assert 1 > slight > strong > -1
    assert metrics.ssim(a, noise(seed=1)) < 0.2


def test_ssim_of_flat_pictures_is_the_luminance_term():
    a, b, c1 = 0.25, 0.75, 1e-4
    flat = torch.ones(1, 3, 16, 16)
    assert metrics.ssim(a * flat, b * flat) == pytest.approx((2 * a * b + c1) / (a * a + b * b + c1), abs=1e-6)


@pytest.mark.parametrize("dim", [2, 3])
def test_a_seam_shows_wherever_it_is_and_whatever_the_picture(dim):
    whole = noise()
    assert metrics.seam(whole, whole) == 0
    tiled = whole.clone()
    tiled.narrow(dim, 17, 9).add_(2 / 255)
    assert metrics.seam(tiled, whole) == pytest.approx(2, abs=1e-4)


def test_a_smooth_difference_is_no_seam():
    whole = noise(64, 64)
    assert metrics.seam(whole + torch.linspace(0, 0.1, 64), whole) < 0.5


def test_checkerboard_sees_the_grids_of_upsampling_and_nothing_else():
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(1, 3, 130, 200, generator=generator)
    smooth = torch.nn.functional.interpolate(noise[..., :20, :30], size=(130, 200), mode="bicubic")
    assert metrics.checkerboard(noise) < 1.6
    assert metrics.checkerboard(smooth + 0.02 * noise) < 1.6
    for period in (2, 4, 8):
        grid = torch.arange(200) % period < period // 2
        assert metrics.checkerboard(smooth + 0.02 * noise + 0.02 * grid) > 3
        both = (torch.arange(130)[:, None] + torch.arange(200)) % period < period // 2
        assert metrics.checkerboard(smooth + 0.02 * noise + 0.02 * both) > 3


def test_edge_ssim_sees_outlines_and_not_brightness():
    picture = torch.zeros(1, 3, 48, 48)
    picture[..., 24:] = 0.5
    assert metrics.edge_ssim(picture, picture + 0.3) == pytest.approx(1)
    assert metrics.edge_ssim(picture, picture.transpose(2, 3)) < metrics.edge_ssim(picture, picture * 0.5) < 1


def test_color_distance_is_the_shift_of_the_colors_whatever_the_size():
    a = noise()
    assert metrics.color_distance(a, a.flip(3)) == pytest.approx(0, abs=1e-9)
    assert metrics.color_distance(a, torch.cat([a, a], 2)) == pytest.approx(0, abs=0.5)
    # One channel moves by 0.1, 25.5 levels; the squares of a direction's three components are 1/3 each on average.
    low = a * 0.5
    moved = low + torch.tensor([0.1, 0, 0])[:, None, None]
    assert metrics.color_distance(moved, low) == pytest.approx(25.5 / 3**0.5, rel=0.15)


def test_patch_distance_sees_texture_and_not_color():
    stripes = torch.zeros(1, 3, 48, 48)
    stripes[..., ::2] = 0.4
    assert metrics.patch_distance(stripes + 0.3, stripes) == pytest.approx(0, abs=1e-4)
    assert metrics.patch_distance(stripes, stripes.transpose(2, 3)) > 10
    assert metrics.patch_distance(stripes, torch.zeros_like(stripes)) > 10


def test_cells_are_seen_whatever_their_sign():
    squares = noise(32, 64).repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert metrics.cells(noise(64, 128)) < 1
    assert metrics.cells(squares) > 50
    assert metrics.checkerboard(squares) < 3
