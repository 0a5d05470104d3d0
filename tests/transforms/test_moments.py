from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from styleplugin.errors import NumericalError, TensorInputError, UsageError
from styleplugin.transforms.blocks import BLOCK
from styleplugin.transforms.eigen import square_root
from styleplugin.transforms.moments import Moments, mix_moments, normalized_weights


def features(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_moments_are_mean_and_covariance():
    x = features(2, 5, 6, 7)
    moments = Moments.of(x)
    flat = x.movedim(1, 0).flatten(1)
    assert moments.count == 84
    assert_close(moments.mean, flat.mean(1))
    assert_close(moments.covariance(), torch.cov(flat))
    assert_close(moments.covariance(unbiased=False), torch.cov(flat, correction=0))
    assert_close(Moments.of(x, diagonal=True).covariance(), flat.var(1))


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(1, 29), max_size=4), offset=st.floats(-1e3, 1e3), diagonal=st.booleans())
def test_N11_moments_of_parts_add_up_in_any_chunking(cuts, offset, diagonal):
    x = features(1, 3, 30, 4) + offset
    bounds = [0, *sorted(set(cuts)), 30]
    parts = [Moments.of(x[:, :, a:b], diagonal=diagonal) for a, b in pairwise(bounds)]
    for order in (parts, parts[::-1]):
        total = sum(order, Moments.empty(3, diagonal=diagonal))
        whole = Moments.of(x, diagonal=diagonal)
        assert_close(total.mean, whole.mean, rtol=1e-11, atol=1e-11)
        assert_close(total.scatter, whole.scatter, rtol=1e-11, atol=1e-9)


def test_weights_count_positions_by_their_share():
    x = features(1, 4, 3, 8)
    weights = torch.zeros(1, 1, 3, 8, dtype=torch.float64)
    weights[..., :5] = 1
    masked, cropped = Moments.of(x, weights), Moments.of(x[..., :5])
    assert masked.count == cropped.count == 15
    assert_close(masked.mean, cropped.mean)
    assert_close(masked.scatter, cropped.scatter)
    assert_close(Moments.of(x, weights * 0 + 1).scatter, Moments.of(x).scatter)
    assert Moments.of(x, weights * 0).count == 0


@pytest.mark.parametrize("weighted", [False, True])
def test_float32_sums_stay_exact_far_from_zero_and_over_many_blocks(weighted):
    x = features(1, 2, 40 * BLOCK, 40 * BLOCK) + 100
    weights = torch.linspace(0, 1, 40 * BLOCK).expand(1, 1, 40 * BLOCK, -1).double() if weighted else None
    assert_close(Moments.of(x.float(), weights).covariance(), Moments.of(x, weights).covariance(), rtol=1e-5, atol=1e-6)


def test_tiles_of_whole_blocks_have_the_sums_of_the_whole():
    x = features(1, 5, 3 * BLOCK + 5, 4 * BLOCK + 3).float()
    whole, total = Moments.of(x), Moments.empty(5)
    for rows in (slice(0, BLOCK), slice(BLOCK, None)):
        for cols in (slice(0, 2 * BLOCK), slice(2 * BLOCK, None)):
            total = total + Moments.of(x[:, :, rows, cols])
    assert total.count == whole.count
    assert_close(total.mean, whole.mean, rtol=1e-14, atol=1e-14)
    assert_close(total.scatter, whole.scatter, rtol=1e-12, atol=1e-10)


def test_T08_features_are_not_changed_and_any_layout_gives_the_same():
    x = features(1, 3, 8, 8)
    copy = x.clone()
    moments = Moments.of(x.contiguous(memory_format=torch.channels_last))
    assert_close(moments.scatter, Moments.of(x).scatter)
    assert torch.equal(x, copy)


@pytest.mark.parametrize("size", [(0, 4), (4, 0)])
def test_no_positions_at_all_are_the_zero_of_the_addition(size):
    some = Moments.of(features(1, 3, 5, 5))
    assert Moments.of(torch.zeros(1, 3, *size)).count == 0
    assert_close((Moments.of(torch.zeros(1, 3, *size).double()) + some).scatter, some.scatter)


def test_features_that_are_trained_are_measured_without_gradients():
    x = features(1, 3, 20, 20)
    moments = Moments.of(x.clone().requires_grad_())
    assert not moments.scatter.requires_grad
    assert_close(moments.scatter, Moments.of(x).scatter)


@pytest.mark.parametrize(("shape", "weights"), [((3, 4, 4), None), ((1, 3, 4, 4), (1, 1, 4, 5))])
def test_wrong_shapes_are_refused(shape, weights):
    with pytest.raises(TensorInputError, match="must be"):
        Moments.of(torch.zeros(shape), None if weights is None else torch.ones(weights))
    with pytest.raises(TensorInputError, match="do not add"):
        _ = Moments.empty(3) + Moments.empty(4)


def test_moments_that_are_not_finite_are_refused():
    with pytest.raises(NumericalError, match="of the content are not finite"):
        Moments.of(torch.full((1, 2, 3, 3), float("nan"))).check_finite("content")


def test_N10_a_style_with_all_the_weight_is_returned_as_it_is():
    a, b = Moments.of(features(1, 3, 9, 9)), Moments.of(features(1, 3, 9, 9, seed=1))
    assert mix_moments([a, b], [1, 0]) is a
    assert mix_moments([a, b], [0, 2]) is b


def test_N10_order_of_styles_does_not_matter_and_roots_are_mixed():
    a, b = Moments.of(features(1, 3, 9, 9)), Moments.of(features(1, 3, 9, 9, seed=1) * 3 + 1)
    mixed = mix_moments([a, b], [3, 1])
    assert_close(mixed.covariance(), mix_moments([b, a], [0.25, 0.75]).covariance())
    assert_close(mixed.mean, 0.75 * a.mean + 0.25 * b.mean)
    root = 0.75 * square_root(a.covariance()) + 0.25 * square_root(b.covariance())
    assert_close(square_root(mixed.covariance()), root)
    deviations = mix_moments(
        [Moments(81, m.mean, m.covariance().diagonal() * 80) for m in (a, b)], [1, 1]
    ).variances.sqrt()
    assert_close(deviations, (a.variances.sqrt() + b.variances.sqrt()) / 2)


@pytest.mark.parametrize("weights", [[], [0, 0], [-1, 2], [float("nan"), 1], [float("inf"), 1]])
def test_T17_impossible_weights_are_refused(weights):
    with pytest.raises(UsageError, match="numbers of at least 0"):
        normalized_weights(weights)
