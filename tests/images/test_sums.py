import pytest
import torch

from styleplugin.images.sums import total


@pytest.mark.parametrize("count", [0, 1, (1 << 14) + 1, 100_003])
def test_the_total_is_the_sum(count: int):
    values = torch.rand(count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(total(values), values.sum(), rtol=1e-12, atol=0)
