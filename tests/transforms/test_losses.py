import math

import pytest
import torch

from styleplugin.transforms.losses import (
    content_error,
    feature_distance,
    grid_error,
    mse,
    psnr,
    statistics_error,
    statistics_of,
    style_distance,
)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_mse_is_the_mean_over_all_elements():
    a, b = random(2, 3, 4, 5), random(2, 3, 4, 5, seed=1)
    torch.testing.assert_close(mse(a, b), (a - b).square().mean())


def test_mse_of_half_precision_is_summed_in_float32():
    a, b = random(2, 8, 32, 32).bfloat16(), random(2, 8, 32, 32, seed=1).bfloat16()
    result = mse(a, b)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, (a.float() - b.float()).square().mean(), rtol=1e-2, atol=0)


def test_mse_has_the_gradients_of_the_formula():
    a, b = (random(2, 3, 4, 5, seed=seed).double().requires_grad_() for seed in (0, 1))
    ours = torch.autograd.grad(mse(a, b), (a, b))
    exact = torch.autograd.grad((a - b).square().mean(), (a, b))
    torch.testing.assert_close(ours, exact, rtol=1e-5, atol=1e-8)


def test_feature_distance_adds_levels():
    a, b = [random(1, 2, 4, 4), random(1, 3, 2, 2)], [random(1, 2, 4, 4, seed=1), random(1, 3, 2, 2, seed=2)]
    torch.testing.assert_close(feature_distance(a, b), mse(a[0], b[0]) + mse(a[1], b[1]))


def test_levels_must_match():
    with pytest.raises(ValueError):
        feature_distance([random(1, 2, 4, 4)], [])


def test_style_distance_ignores_where_things_are_and_sizes():
    def distance(seen: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return style_distance(statistics_of([seen]), statistics_of([wanted]))

    features = random(1, 4, 6, 6)
    assert distance(features, features.flip(3)).item() < 1e-10
    assert distance(features, features.repeat(1, 1, 200, 1)).item() < 1e-3
    assert distance(features, features + 1).item() == pytest.approx(1, abs=1e-4)


def test_psnr_of_a_hundredth_is_20_db():
    torch.testing.assert_close(psnr(torch.tensor([0.01, 1.0])), torch.tensor([20.0, 0.0]))
    assert math.isfinite(psnr(torch.tensor(0.0)))


def test_the_style_error_is_relative_and_zero_for_the_style_itself():
    style, other = torch.rand(2, 5, 16, 16), torch.rand(2, 5, 8, 8) ** 2

    def error(seen: torch.Tensor, wanted: torch.Tensor, weight: float = 1.0) -> float:
        return float(statistics_error(statistics_of([seen]), statistics_of([wanted]), [weight]))

    assert error(style, style) == 0
    assert error(other, style) > 0
    assert error(10 * other, 10 * style, 3.0) == pytest.approx(error(other, style), rel=1e-3)


def test_the_grid_error_sees_what_repeats_with_the_period():
    noise = torch.rand(2, 3, 64, 128, generator=torch.Generator().manual_seed(0))
    plain = grid_error(noise)
    assert 0 < plain < 0.2
    for period in (2, 4):
        lines = (torch.arange(128) % period == 0).float()
        assert grid_error(noise + 0.5 * lines) > 3 * plain
        assert grid_error((noise + 0.5 * lines).transpose(2, 3)) > 3 * plain


def test_the_grid_error_sees_cells_of_any_sign():
    generator = torch.Generator().manual_seed(0)
    cells = torch.rand(2, 3, 16, 32, generator=generator).repeat_interleave(4, 2).repeat_interleave(4, 3)
    plain = torch.rand(2, 3, 64, 128, generator=generator)
    assert grid_error(cells) > 10 * grid_error(plain)


def test_the_content_error_leaves_colors_free():
    shapes, other = torch.rand(2, 5, 16, 16), torch.rand(2, 5, 16, 16)
    assert float(content_error(3 * shapes + 1, shapes)) < 1e-6
    assert float(content_error(other, shapes)) > 1


@pytest.mark.parametrize("period", [4, 8])
def test_a_grid_is_an_error_at_its_period(period: int):
    noise = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    lines = torch.zeros(64)
    lines[::period] = 1
    assert grid_error(noise + lines, period) > 4 * grid_error(noise, period)
