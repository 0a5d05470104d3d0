from __future__ import annotations

import torch

from styleplugin.images.borders import Borders, uniform_borders


def scene(height: int = 40, width: int = 60) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


def test_borders_of_every_side_and_color_are_found():
    for color in (0.0, 1.0, 0.3):
        picture = torch.full((1, 3, 60, 90), color)
        picture[:, :, 7:47, 20:80] = scene()
        borders = uniform_borders(picture)
        assert borders == Borders(7, 13, 20, 10)
        assert borders.cut(picture).equal(scene())
        assert str(borders) == "top 7, bottom 13, left 20, right 10"


def test_bars_may_differ_and_have_the_noise_of_a_jpeg():
    picture = scene()
    picture[:, :, :5] = 0.02 * scene()[:, :, :5]
    picture[:, :, 30:] = 1
    assert uniform_borders(picture) == Borders(5, 10, 0, 0)


def test_pictures_without_borders_and_of_one_color_have_none():
    assert not uniform_borders(scene())
    assert not uniform_borders(torch.zeros(1, 3, 9, 9))
    assert not uniform_borders(torch.zeros(1, 3, 1, 1))
    thin = scene(400, 600)
    thin[:, :, :1] = 0
    assert not uniform_borders(thin), "a line is no border"


def test_a_sky_that_changes_slowly_is_no_border():
    rows = torch.linspace(0.3, 0.9, 256, dtype=torch.float32, device="cpu")[None, None, :, None]
    assert not uniform_borders(rows.expand(1, 3, 256, 96))
    assert not uniform_borders(rows.flip(2).expand(1, 3, 256, 96).transpose(2, 3))
