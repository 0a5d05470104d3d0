from dataclasses import replace

import pytest
import torch

from styleplugin.errors import UsageError
from styleplugin.train.data.augment import change_colors, random_crops
from styleplugin.train.data.pictures import Pictures
from styleplugin.train.recipe.options import DataOptions

OPTIONS = DataOptions(crop=32)


@pytest.fixture
def pictures() -> Pictures:
    """Two pictures of vertical stripes, 2 px wide each."""
    stripes = (torch.arange(64, dtype=torch.int64, device="cpu") // 2 % 2 * 255).to(torch.uint8)
    pixels = stripes[None, :, None].expand(64, 64, 3).reshape(-1, 3)
    places = torch.tensor([[0, 64, 64], [64 * 64, 64, 64]], dtype=torch.int64, device="cpu")
    return Pictures(pixels=torch.cat([pixels, pixels]), places=places, fingerprint="x")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_without_options_crops_are_those_of_the_pictures(pictures: Pictures):
    crops = random_crops(pictures, 4, OPTIONS, generator())
    assert torch.equal(crops, pictures.random_crops(4, 32, generator()))


def test_larger_squares_are_shrunk_to_the_crop(pictures: Pictures):
    """A square twice as large has stripes half as wide, which an area average turns gray."""
    crops = [random_crops(pictures, 2, replace(OPTIONS, largest=64), generator(seed)) for seed in range(20)]
    assert all(crop.shape == (2, 3, 32, 32) for crop in crops)
    contrast = [float(crop.std()) for crop in crops]
    assert min(contrast) < 0.3 < 0.4 < max(contrast)


def test_colors_change_within_limits_and_gray_stays_gray():
    gray = torch.full((8, 3, 4, 4), 0.4, dtype=torch.float32, device="cpu")
    changed = change_colors(gray, 1.0, generator())
    torch.testing.assert_close(changed[:, :1].expand(-1, 3, -1, -1), changed)
    factor = changed[:, 0, 0, 0] / 0.4
    assert (factor >= 2**-0.5 - 1e-4).all() and (factor <= 2**0.5 + 1e-4).all() and factor.std() > 0.05
    color = torch.rand(4, 3, 8, 8, generator=generator(), dtype=torch.float32, device="cpu") * 0.5 + 0.2
    assert not torch.allclose(change_colors(color, 1.0, generator()), color, atol=0.01)
    torch.testing.assert_close(change_colors(color, 0.0, generator()), color)


@pytest.mark.parametrize("wrong", [{"vary": 1.5}, {"vary": -0.1}, {"largest": 16}])
def test_impossible_options_are_refused(wrong: dict):
    with pytest.raises(UsageError) as caught:
        replace(OPTIONS, **wrong)
    assert caught.value.code == "SP123"
