"""A run computes the formulas of the docs: here in float64 with the networks' modules, without the engine."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from styleplugin.errors import StylePluginWarning
from styleplugin.finish import blend, steady
from styleplugin.images.picture import Picture, to_pil
from styleplugin.loading.build import describe
from styleplugin.methods.kbstyle.model import KBModel
from styleplugin.methods.photorealistic.model import PhotoModel
from styleplugin.networks.pairs import PairModel
from styleplugin.options import EngineOptions, StylizeOptions
from styleplugin.stylizer import Stylizer
from styleplugin.transforms.adain import adain_map
from styleplugin.transforms.metrics import flicker_of
from styleplugin.transforms.moments import Moments
from styleplugin.transforms.statistics import EPSILON
from styleplugin.transforms.wct import wct_map, zca_map

# Of the random photorealistic students some see no contrast in a style.
pytestmark = pytest.mark.filterwarnings(f"ignore::{StylePluginWarning.__module__}.StylePluginWarning")

Formula = Callable[[Any, Tensor, Tensor, float], Tensor]


def picture(height: int, width: int, seed: int) -> Tensor:
    """Return (1, 3, H, W) in [0, 1], smooth with some noise, as float32 has it."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 5, 6, generator=generator, dtype=torch.float32, device="cpu")
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    return 0.8 * smooth + 0.2 * torch.rand(1, 3, height, width, generator=generator, dtype=torch.float32, device="cpu")


def share(strength: float) -> float:
    """Return the share of the network's picture: 0 at 0, 1 at 1, nearly 1 soon after."""
    return 1 - (1 - strength) ** 4


def added(strength: float) -> float:
    """Return the share at each of several transform points that follow one another: each adds its own."""
    return 0.35 * strength + 0.65 * strength**3


def by_pairs(model: PairModel, content: Tensor, style: Tensor, strength: float) -> Tensor:
    """WCT and AdaIN: at every level features between their own and the transformed ones."""
    strength = added(strength) if model.method == "wct" else strength
    for pair in map(model.pair, model.levels):
        features, wanted = pair.encoder(content), Moments.of(pair.encoder(style), diagonal=model.method == "adain")
        if model.method == "adain":
            transformed = adain_map(Moments.of(features, diagonal=True), wanted).apply(features)
        else:
            transformed = wct_map(Moments.of(features), wanted).apply(features)
        content = pair.decoder((1 - strength) * features + strength * transformed)
    return content


def by_blocks(model: PhotoModel, content: Tensor, style: Tensor, strength: float) -> Tensor:
    """Photographs: the same before every block of the decoder."""
    strength = added(strength)
    skips, styles = [content, *model.encoder.features(content)], model.encoder.features(style)
    x = skips[-1]
    for block in (3, 2, 1, 0):
        transformed = zca_map(Moments.of(x), Moments.of(styles[block])).apply(x)
        x = model.decoder.blocks[block]((1 - strength) * x + strength * transformed, skips[block])
    return x


def by_modulators(model: KBModel, content: Tensor, style: Tensor, strength: float) -> Tensor:
    """KBStyle: modulators see means and deviations between those of the content, as a style, and the style's."""

    def statistics(image: Tensor, stage: int) -> tuple[Tensor, Tensor]:
        features = model.style_encoder.stages(image)[stage].flatten(2)
        return features.mean(2), features.std(2, correction=0)

    x = model.content_encoder.stages(content)[3]
    for point, (stage, layers) in enumerate(((3, model.decoder.deep), (1, model.decoder.shallow))):
        own, wanted = statistics(content, stage), statistics(style, stage)
        mean, deviation = ((1 - strength) * a + strength * b for a, b in zip(own, wanted, strict=True))
        mean, scale = model.modulators[point](mean, (deviation.square() + EPSILON).sqrt())
        flat = x.flatten(2)
        normalized = (flat - flat.mean(2, keepdim=True)) / (flat.var(2, correction=0, keepdim=True) + EPSILON).sqrt()
        x = layers((normalized * scale[..., None] + mean[..., None]).view_as(x))
    return x


@pytest.fixture
def models(make_pair, make_photo_model, kb_model) -> Iterator[dict[str, tuple[Any, Formula]]]:
    with torch.no_grad():
        yield {
            "wct": (PairModel("wct", [make_pair(level, seed=level) for level in (1, 2, 3)]), by_pairs),
            "adain": (PairModel("adain", [make_pair(3, final_relu=False)]), by_pairs),
            "vgg": (make_photo_model("vgg"), by_blocks),
            "mobilenet": (make_photo_model("mobilenet"), by_blocks),
            "kbstyle": (kb_model, by_modulators),
        }


def stylizer_of(model: Any, dtype: torch.dtype = torch.float64) -> Stylizer:
    info = describe(model, name="tiny", license="MIT", sha256="0" * 64)
    return Stylizer(copy.deepcopy(model), info, EngineOptions(device="cpu"), dtype=dtype)


@pytest.mark.parametrize("strength", [0.25, 0.5, 1.0])
@pytest.mark.parametrize("name", ["wct", "adain", "vgg", "mobilenet", "kbstyle"])
def test_strength_blends_at_every_transform_point_and_then_the_pictures(models, name: str, strength: float):
    model, formula = models[name]
    content, style = picture(64, 96, 0), picture(48, 64, 1)
    levels = {"levels": model.levels, "grain": 0} if name == "wct" else {}
    found = stylizer_of(model)(content, style, strength=strength, palette="off", **levels).tensor
    painted = formula(copy.deepcopy(model).double(), content.double(), style.double(), strength).clamp(0, 1)
    expected = torch.lerp(content.double(), painted, share(strength))
    assert float((expected - content).abs().mean()) > 0.02
    # Moments of different sizes are mixed as samples, which moves KBStyle's deviations by half a cell in their number.
    mixed = name == "kbstyle" and strength < 1
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=2e-3 if mixed else 2e-5)


def test_the_last_blend_is_by_its_share_and_the_mask():
    content = Picture(rgb=picture(8, 12, 0))
    output = picture(8, 12, 1)
    half = torch.linspace(0, 1, 12, dtype=torch.float32, device="cpu").expand(1, 1, 8, 12)
    for where in (None, half):
        found = blend(content, output.clone(), where, StylizeOptions(strength=0.5), None, lambda: None)
        weight = 0.9375 if where is None else 0.9375 * where
        torch.testing.assert_close(found, content.rgb + weight * (output - content.rgb), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["wct", "adain", "vgg", "kbstyle"])
def test_what_the_mask_hides_of_the_content_does_not_count(models, name: str):
    """Two contents that differ only deep in the hidden part, looked at where no network sees that far."""
    model, _ = models[name]
    stylizer = stylizer_of(model)
    style = stylizer.prepare(picture(48, 64, 1))
    plain = picture(64, 256, 0)
    garish = plain.clone()
    garish[..., 160:] = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float32, device="cpu")[:, None, None]
    mask = torch.zeros(64, 256, dtype=torch.float32, device="cpu")
    mask[:, :96] = 1
    levels = {"levels": model.levels, "grain": 0} if name == "wct" else {}
    one, other = (stylizer(content, style, mask=mask, **levels).tensor[..., :32] for content in (plain, garish))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
    free = stylizer(garish, style, **levels).tensor[..., :32]
    assert float((free - one).abs().mean()) > 0.002


def clip(swing: float, scene: Tensor) -> list[Tensor]:
    """Return frames whose brightness swings around the scene's, slowly up and down."""
    course = torch.sin(torch.arange(8, dtype=torch.float32, device="cpu") * 1.3)
    return [(scene + swing * float(step)).clamp(0, 1) for step in course]


def colors_of(frames: list[Tensor]) -> list[Moments]:
    return [Moments.of(frame, diagonal=True) for frame in frames]


def test_steadying_brings_outputs_down_to_the_flicker_of_the_clip_and_keeps_their_course():
    scene = 0.4 + 0.2 * picture(32, 48, 0)
    contents, outputs = clip(0.02, scene), clip(0.08, scene)
    before = torch.stack([moments.mean for moments in colors_of(outputs)])
    wanted = flicker_of(colors_of(contents))
    assert flicker_of(colors_of(outputs)) > 3 * wanted
    steady(contents, outputs, [None] * 8, lambda: None)
    assert flicker_of(colors_of(outputs)) == pytest.approx(wanted, rel=0.02)
    after = torch.stack([moments.mean for moments in colors_of(outputs)])
    torch.testing.assert_close(after.mean(0), before.mean(0), rtol=0, atol=1e-3)
    assert float(torch.corrcoef(torch.stack([before[:, 0], after[:, 0]]))[0, 1]) > 0.99


def test_outputs_that_are_steadier_than_the_clip_stay_as_they_are():
    scene = 0.4 + 0.2 * picture(32, 48, 0)
    contents, outputs = clip(0.08, scene), clip(0.02, scene)
    copies = [output.clone() for output in outputs]
    steady(contents, outputs, [None] * 8, lambda: None)
    assert all(torch.equal(a, b) for a, b in zip(outputs, copies, strict=True))


def test_eight_bits_are_rounded_to_the_nearest():
    levels = torch.tensor([0.0, 0.4, 0.6, 99.49, 99.51, 254.4, 254.6, 255.0], dtype=torch.float32, device="cpu") / 255
    rgb = levels.expand(1, 3, 1, 8)
    assert np.asarray(to_pil(Picture(rgb=rgb)))[0, :, 0].tolist() == [0, 0, 1, 99, 100, 254, 255, 255]
