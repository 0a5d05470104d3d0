"""The first values of layers."""

import pytest
import torch
from torch import nn

from styleplugin.methods.kbstyle.model import KBModel, KBSpec
from styleplugin.networks.layers import Conv1x1, Conv3x3, Linear, Pointwise, drawn_from

MAKERS = {
    "3x3": (lambda: Conv3x3(4, 6), lambda: nn.Conv2d(4, 6, 3)),
    "grouped": (lambda: Conv3x3(4, 4, groups=4), lambda: nn.Conv2d(4, 4, 3, groups=4)),
    "1x1": (lambda: Conv1x1(4, 6), lambda: nn.Conv2d(4, 6, 1)),
    "without bias": (lambda: Pointwise(4, 6, bias=False), lambda: nn.Conv2d(4, 6, 1, bias=False)),
    "linear": (lambda: Linear(4, 6), lambda: nn.Linear(4, 6)),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_drawn_layers_have_the_values_that_torch_gives_them(kind: str):
    ours, theirs = MAKERS[kind]
    with drawn_from(torch.Generator().manual_seed(3)):
        drawn = ours().state_dict()
    with torch.random.fork_rng():
        torch.manual_seed(3)
        expected = theirs().state_dict()
    assert drawn.keys() == expected.keys()
    assert all(torch.equal(drawn[name], expected[name]) for name in expected)


@pytest.mark.parametrize("kind", MAKERS)
def test_other_layers_are_zero(kind: str):
    assert not any(value.any() for value in MAKERS[kind][0]().state_dict().values())


def test_a_network_that_is_drawn_leaves_the_process_its_random_numbers():
    before = torch.get_rng_state()
    with drawn_from(torch.Generator().manual_seed(3)):
        model = KBModel(KBSpec(widths=(4, 5, 6), blocks=2))
    assert torch.equal(before, torch.get_rng_state())
    convolutions = [part for part in model.modules() if isinstance(part, nn.Conv2d)]
    assert convolutions and all(bool(part.weight.any()) for part in convolutions)
