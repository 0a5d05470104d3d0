"""An encoder that takes smaller tiles where memory ends, by numbers alone."""

import pytest
import torch
from fakes.networks import drawn
from torch import Tensor

from styleplugin.engine.gradient_plan import GradientPlan
from styleplugin.methods.optimization.objective import ObjectiveWeights, OptimizationEncoder
from styleplugin.methods.optimization.tiled import Sample, TiledEncoder
from styleplugin.networks.vgg import Encoder, VGGSpec

LIKE = torch.empty(0, dtype=torch.float64)
WEIGHTS = ObjectiveWeights(content=0.7, style=1.3, smoothness=0.4)
SIZE = (160, 200)


class Limited(OptimizationEncoder):
    """An encoder for crops of so many pixels; larger ones end in a failed allocation."""

    most = 1 << 30

    def features(self, image: Tensor) -> list[Tensor]:
        if image.shape[2] * image.shape[3] > self.most:
            raise MemoryError
        return super().features(image)


def picture(seed: int, channels: int = 3) -> Tensor:
    return torch.rand(1, channels, *SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def tiled(notes: list[str]) -> tuple[TiledEncoder, Limited]:
    torch.manual_seed(0)
    encoder = Limited(drawn(lambda: Encoder(VGGSpec(level=2, widths=(4, 4, 5)))), LIKE)
    plan = GradientPlan(torch.device("cpu"), tile=0, history=10, bytes=0)
    return TiledEncoder(encoder, plan, LIKE, size=SIZE, note=notes.append), encoder


@pytest.mark.parametrize("masked", [False, True])
def test_M02_after_a_failed_allocation_the_same_gradient_comes_from_tiles_that_stay_small(masked):
    notes: list[str] = []
    pictures, encoder = tiled(notes)
    content = Sample(picture(1), picture(2, 1).round() if masked else None)
    pictures.normalize([content])
    styles = [(1.0, pictures.targets(pictures.measure(Sample(picture(3), None))))]
    evaluate = pictures.objective(content, styles, WEIGHTS, "gram")
    canvas = pictures.canvas(picture(4))
    losses, gradient = evaluate(canvas)
    assert pictures.plan.tile == 0 and not notes

    encoder.most = 160 * 160
    in_tiles, tiled_gradient = evaluate(canvas)
    assert pictures.plan.tile == 128 and len(notes) == 3
    assert in_tiles.total == pytest.approx(losses.total, rel=1e-12)
    torch.testing.assert_close(tiled_gradient, gradient, rtol=1e-9, atol=1e-9 * float(gradient.abs().max()))
    evaluate(canvas)
    assert len(notes) == 3
    if masked:
        assert content.counted is not None
        hidden = (content.counted == 0).expand(-1, 3, -1, -1)
        own = gradient[:, :, : SIZE[0], : SIZE[1]]
        assert not own[hidden].any() and bool(own[~hidden].any())


def test_M02_measuring_goes_on_in_smaller_tiles_too():
    notes: list[str] = []
    pictures, encoder = tiled(notes)
    sample = Sample(picture(1), None)
    whole = pictures.measure(sample)
    encoder.most = 160 * 160
    for a, b in zip(whole, pictures.measure(sample), strict=True):
        torch.testing.assert_close(a.mean, b.mean, rtol=1e-12, atol=0)
    assert pictures.plan.tile == 128
    assert notes[-1] == "Out of memory with tiles of 256; went on with 128."
