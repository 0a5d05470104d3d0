from __future__ import annotations

import torch
import torch.nn.functional as F

from styleplugin.loading.convert.front import absorb_front
from styleplugin.networks.vgg import Preprocess


def test_absorbing_a_front_changes_no_value_borders_included() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(1, 3, 9, 7, generator=generator)
    front = torch.randn(3, 3, 1, 1, generator=generator), torch.randn(3, generator=generator)
    conv = torch.randn(5, 3, 3, 3, generator=generator), torch.randn(5, generator=generator)

    def apply(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return F.conv2d(F.pad(x.double(), (1, 1, 1, 1), mode="reflect"), weight.double(), bias.double())

    expected = apply(F.conv2d(image, *front), *conv)
    torch.testing.assert_close(apply(Preprocess()(image), *absorb_front(conv, front)), expected, rtol=0, atol=1e-4)


def test_absorbing_our_own_preprocessing_changes_nothing() -> None:
    ours = Preprocess()
    conv = torch.randn(5, 3, 3, 3), torch.randn(5)
    torch.testing.assert_close(absorb_front(conv, (ours.weight, ours.bias)), conv)
