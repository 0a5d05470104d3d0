import pytest
import torch
from fakes.networks import drawn

from styleplugin.networks.layers import Conv3x3
from styleplugin.networks.padding import pad_in_channels_last


def picture(*size: int) -> torch.Tensor:
    x = torch.randn(2, 4, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return x.to(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", [(2, 2), (2, 6), (7, 4), (8, 8)])
@pytest.mark.parametrize("options", [{}, {"relu": False}, {"stride": 2}, {"groups": 4}])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_layers_in_one_step_change_neither_results_nor_gradients(
    size: tuple[int, int], options: dict, dtype: torch.dtype
):
    if "stride" in options:
        size = (2 * size[0], 2 * size[1])
    conv = drawn(lambda: Conv3x3(4, 8, **options)).to(dtype)
    x = picture(*size).to(dtype).requires_grad_()
    results = []
    for _ in range(2):
        output = conv(x)
        results.append([output, *torch.autograd.grad(output.square().sum(), [x, *conv.parameters()])])
        pad_in_channels_last(conv)
    torch.testing.assert_close(results[0], results[1])
    assert isinstance(conv, Conv3x3)


def test_frozen_layers_follow_their_weights():
    conv = drawn(lambda: Conv3x3(4, 8)).double().requires_grad_(False)
    pad_in_channels_last(conv)
    x = picture(6, 6).requires_grad_()
    first = conv(x)
    (gradient,) = torch.autograd.grad(first.sum(), x)
    assert gradient.abs().max() > 0
    with torch.no_grad():
        assert torch.equal(conv(x), first)
        conv.weight.mul_(2)
        conv.bias.mul_(2)  # type: ignore[union-attr]
        torch.testing.assert_close(conv(x), 2 * first)
