"""The objective of the optimization: its gradient, and that tiles change nothing."""

import pytest
import torch
from fakes.networks import drawn
from torch import Tensor

from styleplugin.methods.optimization.objective import (
    Objective,
    ObjectiveWeights,
    OptimizationEncoder,
    StyleTarget,
    measure,
)
from styleplugin.networks.vgg import Encoder, VGGSpec
from styleplugin.transforms.eigen import square_root

WIDTHS = (4, 4, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7, 8)
WEIGHTS = ObjectiveWeights(content=0.7, style=1.3, smoothness=0.4)


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, height // 8, width // 8, dtype=torch.float64, generator=generator)
    fine = torch.rand(1, 3, height, width, dtype=torch.float64, generator=generator)
    return (torch.nn.functional.interpolate(coarse, size=(height, width)) + 0.2 * fine).clamp(0, 1)


@pytest.fixture(scope="module", params=["channels", "metric"])
def encoder(request) -> OptimizationEncoder:
    torch.manual_seed(0)
    network = drawn(lambda: Encoder(VGGSpec(level=5, widths=WIDTHS)))
    like = torch.empty(0, dtype=torch.float64)
    result = OptimizationEncoder(network, like)
    result.normalize([moments.mean for moments in measure(result, picture(64, 64, seed=5))])
    if request.param == "metric":
        # Symmetric, with some of every channel in every other.
        scales = [root.sqrt() for root in result.roots]
        parts = [torch.randn(width, width, dtype=torch.float64) for width in (WIDTHS[k] for k in (0, 2, 4, 8, 12))]
        mixes = [0.1 * part @ part.T / len(part) + torch.eye(len(part), dtype=torch.float64) for part in parts]
        roots = [scale @ mix @ scale for scale, mix in zip(scales, mixes, strict=True)]
        return OptimizationEncoder(network, like, roots)
    return result


def seen(encoder: OptimizationEncoder, image: Tensor) -> list[Tensor]:
    """Features multiplied by the roots of the metrics."""
    pairs = zip(encoder.roots, encoder.features(image), strict=True)
    return [torch.einsum("kc,nchw->nkhw", root, feature) for root, feature in pairs]


def targets(encoder: OptimizationEncoder, seed: int) -> list[StyleTarget]:
    moments = measure(encoder, picture(64, 96, seed=seed))
    return [StyleTarget.of(level, root) for level, root in zip(moments, encoder.roots, strict=True)]


def plain_loss(encoder, x, content, styles, weights, style_loss, counted=None) -> Tensor:
    """The same loss in the plainest terms, for autograd."""
    features, shapes = seen(encoder, x), seen(encoder, content)[3]
    total = weights.content * (features[3] - shapes).square().sum() / shapes.square().sum()
    for k, feature in enumerate(features):
        rows = feature[0].flatten(1)
        w = torch.ones_like(rows[0])
        if counted is not None:
            w = (torch.nn.functional.avg_pool2d(counted, 2**k) if k else counted).flatten()
        mean, second = (rows * w).sum(1) / w.sum(), (rows * w) @ rows.T / w.sum()
        for share, goal in styles:
            target = goal[k]
            if style_loss == "gram":
                value = (second - target.second).square().sum() / target.second.square().sum()
            else:
                covariance = second - torch.outer(mean, mean)
                inner = torch.linalg.eigvalsh(target.root @ covariance @ target.root)
                value = (mean - target.mean).square().sum() + covariance.trace() + target.root.square().sum()
                value = (value - 2 * inner.clamp_min(1e-30).sqrt().sum()) / target.second.trace()
            total = total + weights.style * share * value / len(features)
    smooth = x.diff(dim=2).square().sum() + x.diff(dim=3).square().sum()
    return total + weights.smoothness * smooth / x.numel()


@pytest.mark.parametrize("style_loss", ["gram", "wasserstein"])
@pytest.mark.parametrize("masked", [False, True])
def test_loss_and_gradient_are_those_of_autograd(encoder, style_loss, masked):
    content, x = picture(64, 80, seed=1), picture(64, 80, seed=2)
    styles = [(0.25, targets(encoder, 3)), (0.75, targets(encoder, 4))]
    counted = picture(64, 80, seed=6)[:, :1] if masked else None
    objective = Objective(encoder, content, styles, WEIGHTS, style_loss=style_loss, counted=counted)
    losses, gradient = objective(x)
    x.requires_grad_()
    expected = plain_loss(encoder, x, content, styles, WEIGHTS, style_loss, counted)
    expected.backward()
    assert losses.total == pytest.approx(float(expected.detach()), rel=1e-9)
    torch.testing.assert_close(gradient, x.grad, rtol=1e-6, atol=1e-9 * float(x.grad.abs().max()))


@pytest.mark.parametrize("style_loss", ["gram", "wasserstein"])
@pytest.mark.parametrize("masked", [False, True])
def test_tiles_change_nothing(encoder, style_loss, masked):
    content, x = picture(240, 272, seed=1), picture(240, 272, seed=2)
    styles = [(1.0, targets(encoder, 3))]
    counted = picture(240, 272, seed=6)[:, :1] if masked else None

    def run(tile: int) -> tuple[float, Tensor]:
        objective = Objective(encoder, content, styles, WEIGHTS, style_loss=style_loss, counted=counted, tile_side=tile)
        losses, gradient = objective(x, tile)
        return losses.total, gradient

    loss, gradient = run(0)
    tiled_loss, tiled = run(112)
    assert tiled_loss == pytest.approx(loss, rel=1e-12)
    assert float((tiled - gradient).abs().max()) < 1e-9 * float(gradient.abs().max())


def test_measuring_in_tiles_changes_nothing(encoder):
    x = picture(240, 272)
    for a, b in zip(measure(encoder, x), measure(encoder, x, tile_side=96), strict=True):
        assert a.count == b.count
        torch.testing.assert_close(a.mean, b.mean, rtol=1e-12, atol=0)
        torch.testing.assert_close(a.scatter, b.scatter, rtol=1e-9, atol=1e-9)


def test_without_metrics_channels_count_by_their_mean():
    network = drawn(lambda: Encoder(VGGSpec(level=5, widths=WIDTHS)))
    encoder = OptimizationEncoder(network, torch.empty(0, dtype=torch.float64))
    moments = measure(encoder, picture(64, 64, seed=5))
    encoder.normalize([level.mean for level in moments])
    for level, root in zip(moments, encoder.roots, strict=True):
        mean = root @ level.mean
        used = mean > 0.99
        assert used.any()
        torch.testing.assert_close(mean[used], torch.ones_like(mean[used]), rtol=1e-9, atol=0)


def test_the_own_statistics_cost_nothing(encoder):
    x = picture(64, 96, seed=3)
    for loss in ("gram", "wasserstein"):
        losses, _ = Objective(encoder, x, [(1.0, targets(encoder, 3))], WEIGHTS, style_loss=loss)(x)
        assert losses.style < 1e-9 and losses.content < 1e-20


def test_wasserstein_of_commuting_gaussians():
    a, b = (torch.diag(torch.tensor(v, dtype=torch.float64)) for v in ([4.0, 9.0], [1.0, 25.0]))
    target = StyleTarget(torch.tensor([1.0, 2.0]).double(), b + 0, square_root(b))
    mean = torch.tensor([3.0, 2.0]).double()
    value, _, _ = target.wasserstein(mean, a + torch.outer(mean, mean))
    # |m|^2 = 4, (2 - 1)^2 + (3 - 5)^2 = 5, relative to the trace of what stands for the second moment: 26.
    assert float(value) == pytest.approx(9 / 26)


@pytest.mark.parametrize("style_loss", ["gram", "wasserstein"])
def test_a_style_without_contrast_gives_a_finite_gradient(encoder, style_loss):
    flat = torch.full((1, 3, 32, 32), 0.5, dtype=torch.float64)
    moments = zip(measure(encoder, flat), encoder.roots, strict=True)
    styles = [(1.0, [StyleTarget.of(level, root) for level, root in moments])]
    losses, gradient = Objective(encoder, picture(32, 32), styles, WEIGHTS, style_loss=style_loss)(picture(32, 32, 9))
    assert losses.style > 0 and gradient.isfinite().all()
