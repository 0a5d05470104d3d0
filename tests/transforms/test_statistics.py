import pytest
import torch

from styleplugin.transforms.statistics import mean_and_deviation


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("correction", [0, 1])
def test_values_are_those_of_torch(correction):
    features = random(2, 3, 5, 7)
    mean, deviation = mean_and_deviation(features, correction=correction, epsilon=1e-3)
    torch.testing.assert_close(mean, features.mean((2, 3)))
    torch.testing.assert_close(deviation, (features.var((2, 3), correction=correction) + 1e-3).sqrt())


@pytest.mark.parametrize("correction", [0, 1])
def test_gradients(correction):
    features = random(2, 3, 4, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: mean_and_deviation(x, correction=correction), features)


@pytest.mark.parametrize("size", [(16, 16), (9, 23), (3, 5)])
def test_half_precision_keeps_small_deviations_beside_a_large_mean(size):
    features = (10 + 0.5 * random(2, 8, *size)).bfloat16().contiguous(memory_format=torch.channels_last)
    mean, deviation = mean_and_deviation(features)
    assert mean.dtype == deviation.dtype == torch.float32
    torch.testing.assert_close(mean, features.float().mean((2, 3)), rtol=3e-3, atol=0)
    torch.testing.assert_close(deviation, features.float().std((2, 3)), rtol=2e-2, atol=0)


def test_the_gradient_has_the_layout_of_the_features():
    features = random(2, 8, 6, 6).contiguous(memory_format=torch.channels_last).requires_grad_()
    torch.stack(mean_and_deviation(features)).sum().backward()
    assert features.grad is not None and features.grad.is_contiguous(memory_format=torch.channels_last)
