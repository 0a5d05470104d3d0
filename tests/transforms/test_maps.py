import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from styleplugin.errors import NumericalError, StylePluginWarning
from styleplugin.report import Report, noted_by
from styleplugin.transforms.adain import adain, adain_map
from styleplugin.transforms.affine import AffineMap
from styleplugin.transforms.colors import color_map
from styleplugin.transforms.eigen import eigh, square_root
from styleplugin.transforms.moments import Moments
from styleplugin.transforms.wct import wct, wct_map


def features(channels: int, *, seed: int = 0, height: int = 16, width: int = 20) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(channels, channels, generator=generator, dtype=torch.float64)
    noise = torch.randn(1, channels, height, width, generator=generator, dtype=torch.float64)
    return torch.einsum("kc,nchw->nkhw", mixing, noise) + 2


def random_map(channels: int, seed: int = 0, *, diagonal: bool = False) -> AffineMap:
    generator = torch.Generator().manual_seed(seed)
    shape = (channels,) if diagonal else (channels, channels)
    return AffineMap(
        torch.randn(shape, generator=generator, dtype=torch.float64),
        torch.randn(channels, generator=generator, dtype=torch.float64),
    )


@pytest.mark.parametrize("diagonal", [False, True])
def test_a_map_folded_into_a_convolution_equals_map_then_convolution(diagonal):
    x, affine = features(4), random_map(4, diagonal=diagonal)
    weight, bias = torch.randn(5, 4, 3, 3, dtype=torch.float64), torch.randn(5, dtype=torch.float64)

    def convolve(x, weight, bias):
        return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), weight, bias)

    assert_close(convolve(x, *affine.fold_into(weight, bias)), convolve(affine.apply(x), weight, bias))


@pytest.mark.parametrize("first_diagonal", [False, True])
@pytest.mark.parametrize("second_diagonal", [False, True])
def test_composition_is_one_map_after_the_other(first_diagonal, second_diagonal):
    x = features(4)
    first, second = random_map(4, 1, diagonal=first_diagonal), random_map(4, 2, diagonal=second_diagonal)
    assert_close(second.after(first).apply(x), second.apply(first.apply(x)))


def test_blend_goes_from_identity_to_the_full_map():
    x, affine = features(4), random_map(4)
    assert_close(affine.blend(0).apply(x), x)
    assert_close(affine.blend(1).apply(x), affine.apply(x))
    assert_close(affine.blend(0.3).apply(x), 0.3 * affine.apply(x) + 0.7 * x)
    assert_close(AffineMap.identity(4).apply(x), x)


def test_root_squares_to_the_matrix_and_a_broken_matrix_is_refused():
    covariance = Moments.of(features(6)).covariance()
    root = square_root(covariance)
    assert_close(root @ root, covariance)
    assert_close(root, root.T)
    with pytest.raises(NumericalError, match="no finite eigendecomposition"):
        eigh(torch.full((3, 3), float("nan"), dtype=torch.float64))


@pytest.mark.parametrize("regularization", ["soft", "official"])
def test_whitening_and_coloring_gives_the_moments_of_the_style(regularization):
    content, style = Moments.of(features(6)), Moments.of(features(6, seed=1))
    affine = wct_map(content, style, regularization=regularization)
    result = Moments.of(affine.apply(features(6)))
    assert_close(result.mean, style.mean)
    assert_close(result.covariance(), style.covariance(), rtol=1e-3, atol=1e-3)


def test_the_map_of_colors_gives_the_moments_of_the_style_and_moves_them_least():
    x = features(3)
    content, style = Moments.of(x), Moments.of(features(3, seed=1))
    affine = color_map(content, style)
    result = Moments.of(affine.apply(x))
    assert_close(result.mean, style.mean)
    assert_close(result.covariance(), style.covariance(), rtol=1e-3, atol=1e-3)
    assert_close(affine.matrix, affine.matrix.T)
    moved, turned = ((m.apply(x) - x).square().mean() for m in (affine, wct_map(content, style)))
    assert moved < 0.99 * turned


def test_the_map_of_colors_of_a_flat_style_or_a_single_pixel_only_moves_the_mean():
    varied, flat, pixel = (
        features(3),
        torch.full((1, 3, 8, 8), 0.5, dtype=torch.float64),
        features(3, height=1, width=1),
    )
    for content, style in ((varied, flat), (pixel, varied)):
        affine = color_map(Moments.of(content), Moments.of(style))
        assert torch.equal(affine.matrix, torch.ones(3, dtype=torch.float64))
        assert_close(Moments.of(affine.apply(content)).mean, Moments.of(style).mean)


def test_N05_an_ill_conditioned_content_still_takes_the_style_on_directions_above_the_floor():
    scale = torch.logspace(-2, 4, 8, dtype=torch.float64)[:, None, None]
    content, style = features(8) * scale, Moments.of(features(8, seed=1))
    result = Moments.of(wct_map(Moments.of(content), style, floor=1e-9).apply(content))
    assert_close(result.covariance(), style.covariance(), rtol=1e-3, atol=1e-3 * float(style.covariance().max()))


def test_N08_a_style_equal_to_the_content_changes_nothing():
    x = features(6)
    for solve in (wct_map, adain_map):
        assert_close(solve(Moments.of(x), Moments.of(x)).apply(x), x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("regularization", ["soft", "official", "identity"])
def test_N04_dead_channels_give_a_finite_map(regularization):
    content, style = features(6), features(6, seed=1)
    content[:, 2], style[:, 4] = 0, 0
    affine = wct_map(Moments.of(content), Moments.of(style), regularization=regularization)
    assert torch.isfinite(affine.matrix).all()
    assert torch.isfinite(affine.bias).all()


@pytest.mark.parametrize("solve", [wct_map, adain_map])
def test_N01_a_constant_style_moves_the_mean_and_keeps_the_contrast(solve):
    x = features(6)
    style = Moments.of(torch.full((1, 6, 8, 8), 3.0, dtype=torch.float64))
    assert style.is_degenerate
    result = Moments.of(solve(Moments.of(x), style).apply(x))
    assert_close(result.mean, style.mean)
    assert_close(result.covariance(), Moments.of(x).covariance())


@pytest.mark.parametrize("solve", [wct_map, adain_map])
@pytest.mark.parametrize("positions", [(1, 1), (1, 3)])
def test_N02_fewer_positions_than_channels_give_a_finite_map(solve, positions):
    style = Moments.of(features(6, seed=1, height=positions[0], width=positions[1]))
    affine = solve(Moments.of(features(6)), style)
    assert torch.isfinite(affine.matrix).all()
    small_content = Moments.of(features(6, height=1, width=1))
    assert torch.isfinite(solve(small_content, Moments.of(features(6, seed=1))).bias).all()


def test_adain_map_equals_the_differentiable_adain():
    content, style = features(5), features(5, seed=1)
    affine = adain_map(Moments.of(content, diagonal=True), Moments.of(style, diagonal=True))
    assert_close(affine.apply(content), adain(content, style))
    assert_close(affine.apply(content), adain_map(Moments.of(content), Moments.of(style)).apply(content))
    content.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: adain(x, style[:, :2, :3, :3]), content[:, :2, :3, :4].detach().requires_grad_()
    )


def test_wct_gives_each_picture_the_mean_and_covariance_of_its_own_style():
    content, style = (torch.rand(2, 4, 16, 16, generator=torch.Generator().manual_seed(k)) for k in range(2))
    colored = wct(content, style)
    for a, b in zip(colored, style, strict=True):
        x, y = (Moments.of(features[None]) for features in (a, b))
        torch.testing.assert_close(x.mean, y.mean, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(x.covariance(), y.covariance(), atol=1e-3, rtol=1e-3)


class FailingSolver:
    """Stands in for torch's eigen solver, and fails the first times."""

    def __init__(self, failures: int, kind: str) -> None:
        self.failures, self.kind, self.solve = failures, kind, torch.linalg.eigh

    def __call__(self, matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.failures -= 1
        if self.failures >= 0 and self.kind == "raises":
            raise torch.linalg.LinAlgError("linalg.eigh: The algorithm failed to converge.")
        values, vectors = self.solve(matrix)
        return (values * torch.nan, vectors) if self.failures >= 0 else (values, vectors)


@pytest.mark.parametrize("kind", ["raises", "gives NaN"])
def test_N06_a_decomposition_that_fails_is_repeated_once_and_reported(monkeypatch, kind: str):
    content, style = (Moments.of(features(5, seed=seed)) for seed in (0, 1))
    expected = wct_map(content, style)
    report = Report()
    monkeypatch.setattr(torch.linalg, "eigh", FailingSolver(1, kind))
    with pytest.warns(StylePluginWarning, match="decomposition"), noted_by(report.warn):
        again = wct_map(content, style)
    assert len(report.warnings) == 1
    assert_close(again.matrix, expected.matrix, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", ["raises", "gives NaN"])
def test_N06_a_decomposition_that_fails_twice_is_our_error(monkeypatch, kind: str):
    monkeypatch.setattr(torch.linalg, "eigh", FailingSolver(2, kind))
    with pytest.warns(StylePluginWarning, match="decomposition"), pytest.raises(NumericalError) as caught:
        eigh(torch.eye(3, dtype=torch.float64))
    assert caught.value.code == "SP702"
