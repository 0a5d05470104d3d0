import pytest
import torch

from styleplugin.models.layers import Conv3x3
from styleplugin.models.padding import pad_in_channels_last


@pytest.mark.parametrize("size", [(2, 2), (2, 5), (7, 4), (8, 8)])
def test_padding_in_channels_last_changes_neither_results_nor_gradients(size: tuple[int, int]):
    conv = Conv3x3(3, 4).double()
    x = torch.randn(2, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = x.to(memory_format=torch.channels_last).requires_grad_()
    results = []
    for _ in range(2):
        output = conv(x)
        results.append([output, *torch.autograd.grad(output.square().sum(), [x, *conv.parameters()])])
        pad_in_channels_last(conv)
    torch.testing.assert_close(results[0], results[1])
    assert isinstance(conv, Conv3x3)
