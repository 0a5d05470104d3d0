import math

import pytest
import torch

from styleplugin import metrics


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


def test_style_distance_is_0_for_the_style_itself_wherever_its_pixels_are():
    a = noise()
    identity = lambda picture: [picture, picture[:, :1] * 2]  # noqa: E731
    assert metrics.style_distances(identity, a.flip(3), a) == pytest.approx([0, 0], abs=1e-9)
    assert all(d > 0.01 for d in metrics.style_distances(identity, a * 0.5, a))


def test_a_seam_shows_and_a_smooth_picture_has_none():
    ramp = torch.linspace(0, 1, 64).expand(1, 3, 64, 64) + torch.linspace(0, 1, 64)[:, None]
    assert metrics.seam_ratio(ramp, 16) == pytest.approx(1, abs=1e-3)
    tiled = ramp.clone()
    tiled[..., 16:32] += 0.1
    assert metrics.seam_ratio(tiled, 16) > 1.5
