"""Small faults of training that a long run would hide."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from styleplugin.engine.stream import Measure
from styleplugin.methods.kbstyle.train import KBRecipe
from styleplugin.train.data.pictures import Pictures, step_generator
from styleplugin.train.evaluation.gate import verdict
from styleplugin.train.loop.muon import ADAM_SHARE, MOMENTUM, Muon, orthogonalize
from styleplugin.train.networks.autoencoders import WEIGHTS
from styleplugin.train.pairs.tasks import StylizationTask
from styleplugin.train.recipe.options import GateOptions, PhaseOptions
from styleplugin.transforms.adain import adain

NOTHING = dict.fromkeys(WEIGHTS, 0.0)


class Looks(torch.nn.Module):
    """A judge whose features are the picture itself."""

    def features(self, image: Tensor) -> list[Tensor]:
        return [image]


class Paints(torch.nn.Module):
    """Encodes a picture as itself and paints what it is told."""

    decodes_judged = False

    def __init__(self, output: Tensor) -> None:
        super().__init__()
        self.output = output

    def encode(self, image: Tensor, judged: list[Tensor]) -> tuple[Tensor, None]:
        return image, None

    def decode(self, features: Tensor) -> Tensor:
        return self.output


def image(seed: int, scale: float) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.rand(2, 3, 16, 16, generator=generator, dtype=torch.float32, device="cpu")


def test_adain_learns_the_features_that_have_the_statistics_of_the_style():
    content, style = image(0, 0.3), image(1, 1.0)
    losses = {}
    for name, output in (("transformed", adain(content, style)), ("own", content)):
        task = StylizationTask(Looks(), Paints(output), NOTHING | {"content": 1.0})  # type: ignore[arg-type]
        losses[name] = float(task(content, style)["content"])
    assert losses["transformed"] < 1e-10 < 0.01 < losses["own"]


@pytest.mark.parametrize(
    ("figure", "good", "bad"), [("ssim", 0.5, 0.3), ("psnr", 20.0, 10.0), ("style", 0.1, 0.2), ("dead", 0.0, 0.5)]
)
def test_the_gate_knows_which_way_each_figure_is_better(figure: str, good: float, bad: float):
    phase = PhaseOptions(steps=1)
    limits = {"ssim": 0.4, "psnr": 15.0, "style": 0.15, "dead": 0.1}
    recipe = KBRecipe(name="x", student_network=phase, gate=GateOptions(**limits))
    for value, passed in ((good, True), (bad, False)):
        found = verdict(recipe, {figure: value})
        assert found["passed"] is (passed or figure not in recipe.limits())


def test_about_half_of_the_crops_are_mirrored():
    ramp = torch.arange(40, dtype=torch.uint8, device="cpu")[None, :, None].expand(40, 40, 3).reshape(-1, 3)
    places = torch.tensor([[0, 40, 40]], dtype=torch.int64, device="cpu")
    crops = Pictures(pixels=ramp, places=places, fingerprint="x").random_crops(400, 32, step_generator(0, "x", 0))
    rising = int((crops[:, 0, 0, -1] > crops[:, 0, 0, 0]).sum())
    assert 150 < rising < 250


def test_a_cell_counts_as_much_as_the_mean_of_its_pixels():
    weights = torch.zeros(1, 1, 8, 8, dtype=torch.float32, device="cpu")
    weights[..., 0, 0], weights[..., 4:, 4:] = 1, 0.5
    cells = Measure(weights=weights).at((2, 2))
    assert cells is not None and cells.tolist() == [[[[1 / 16, 0.0], [0.0, 0.5]]]]


def test_muon_looks_ahead_along_the_newest_gradient():
    gradients = [torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    weight = torch.nn.Parameter(torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(2)))
    optimizer, no = Muon([weight], lr=0.1), torch.tensor(False)
    momentum = torch.zeros_like(weight)
    for gradient in gradients:
        before, weight.grad = weight.detach().clone(), gradient.clone()
        optimizer.step(no)
        momentum = MOMENTUM * momentum + (1 - MOMENTUM) * gradient
        ahead = orthogonalize(((1 - MOMENTUM) * gradient + MOMENTUM * momentum).flatten(1)).view_as(weight)
        expected = before - 0.1 * before.norm() / ahead.norm() * ahead
        torch.testing.assert_close(weight.detach(), expected, rtol=1e-5, atol=1e-6)
    behind = orthogonalize(momentum.flatten(1)).view_as(weight)
    assert not torch.allclose(ahead, behind, atol=0.01)


def test_biases_move_by_adam_at_a_share_of_the_rate():
    bias = torch.nn.Parameter(torch.zeros(3, dtype=torch.float32, device="cpu"))
    bias.grad = torch.tensor([2.0, -0.5, 0.0], dtype=torch.float32, device="cpu")
    Muon([bias], lr=0.1).step(torch.tensor(False))
    torch.testing.assert_close(bias.detach(), torch.tensor([-1.0, 1.0, 0.0]) * 0.1 * ADAM_SHARE, rtol=1e-4, atol=1e-9)
