import torch

from styleplugin.train.loop.muon import Muon, orthogonalize


def test_an_orthogonalized_matrix_has_singular_values_near_1():
    generator = torch.Generator().manual_seed(0)
    for shape in ((6, 20), (20, 6)):
        matrix = torch.randn(shape, generator=generator) @ torch.diag(torch.logspace(0, -1.5, shape[1]))
        values = torch.linalg.svdvals(orthogonalize(matrix))
        assert values.min() > 0.3
        assert values.max() < 1.3


def test_a_step_has_the_length_of_the_rate_relative_to_the_weights_at_any_scale():
    for scale in (1e-3, 1.0, 100.0):
        weight = torch.nn.Parameter(scale * torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(1)))
        before = weight.detach().clone()
        weight.square().sum().backward()
        Muon([weight], lr=0.02).step(torch.tensor(False))
        assert torch.isclose((weight - before).norm() / before.norm(), torch.tensor(0.02), rtol=1e-4)
        assert weight.norm() < before.norm()


def test_a_badly_conditioned_convolution_is_learned_where_a_gradient_step_of_adam_is_slow():
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(4, 6, 8, 8, generator=generator) * torch.logspace(0, -3, 6)[:, None, None]
    target = torch.randn(5, 6, 3, 3, generator=generator)
    wanted = torch.conv2d(x, target)

    def train(make) -> float:
        weight = torch.nn.Parameter(torch.randn(5, 6, 3, 3, generator=torch.Generator().manual_seed(3)))
        step = make(weight)
        for _ in range(60):
            loss = (torch.conv2d(x, weight) - wanted).square().mean()
            weight.grad = None
            loss.backward()
            step()
        return (weight - target)[:, 3:].norm().item()

    def adam(weight):
        return torch.optim.Adam([weight], lr=0.01).step

    def muon(weight):
        optimizer = Muon([weight], lr=0.03)
        return lambda: optimizer.step(torch.tensor(False))

    assert train(muon) < train(adam)


def test_R06_a_skipped_step_changes_nothing():
    weight, bias = torch.nn.Parameter(torch.ones(2, 2, 3, 3)), torch.nn.Parameter(torch.ones(2))
    optimizer = Muon([weight, bias], lr=0.1)
    weight.grad, bias.grad = torch.full_like(weight, float("nan")), torch.full_like(bias, float("nan"))
    optimizer.step(torch.tensor(True))
    assert torch.equal(weight, torch.ones_like(weight))
    assert torch.equal(bias, torch.ones_like(bias))
    assert all(torch.isfinite(value).all() for state in optimizer.state.values() for value in state.values())
