"""Frozen layers give the results and gradients of ordinary ones, from a byte per value."""

from copy import deepcopy

import torch
from fakes.networks import drawn

from styleplugin.networks.frozen import freeze
from styleplugin.networks.vgg import Encoder, VGGSpec

SPEC = VGGSpec(level=3, widths=(4, 5, 6, 7, 8))


def test_freezing_changes_neither_features_nor_gradients():
    torch.manual_seed(0)
    plain = drawn(lambda: Encoder(SPEC)).double()
    frozen = deepcopy(plain)
    freeze(frozen)
    image = torch.rand(2, 3, 16, 24, dtype=torch.float64).to(memory_format=torch.channels_last)
    results = []
    for encoder in (plain, frozen):
        x = image.clone().requires_grad_()
        features = encoder.features(x)
        (gradient,) = torch.autograd.grad(sum(f.square().sum() for f in features), x)
        results.append([*features, gradient])
    torch.testing.assert_close(*results)
    assert not any(parameter.requires_grad for parameter in frozen.parameters())


def test_ties_of_the_pooling_send_the_gradient_to_one_cell():
    encoder = Encoder(VGGSpec(level=2, widths=(2, 2, 2)))
    freeze(encoder)
    x = torch.ones(1, 2, 4, 4, requires_grad=True)
    encoder.pool(x).sum().backward()
    assert x.grad is not None and float(x.grad.sum()) == 8 and int(x.grad.count_nonzero()) == 8


def test_the_backward_pass_remembers_one_byte_per_value():
    encoder = drawn(lambda: Encoder(SPEC))
    freeze(encoder)
    saved: list[torch.Tensor] = []

    def remember(tensor: torch.Tensor) -> torch.Tensor:
        saved.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
        encoder.features(torch.rand(1, 3, 32, 32, requires_grad=True))
    maps = [t for t in saved if t.dim() == 4 and t.shape[2] > 3]
    assert len(maps) == 8 and {t.element_size() for t in maps if t.shape[1] > 3} == {1}
