"""The grain of WCT in whole runs: who gets it, and what it does to a sky."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import styleplugin
from benchmarks.evaluation.weave import weave
from styleplugin import kernels
from styleplugin.images.grain import with_grain
from styleplugin.images.picture import Picture
from styleplugin.loading import index
from styleplugin.loading.build import describe
from styleplugin.methods.wct import method as wct
from styleplugin.networks.model import StyleModel
from styleplugin.networks.pairs import PairModel
from styleplugin.options import EngineOptions
from styleplugin.stylizer import Stylizer

LEVELS = {"levels": (3, 2, 1)}
STYLE = torch.rand(1, 3, 40, 48, generator=torch.Generator().manual_seed(9))
SWIRLS = Path(styleplugin.__file__).parent / "samples" / "swirls.jpg"
needs_weights = pytest.mark.skipif(not index.list_models(), reason="needs the embedded weights")


@pytest.fixture(scope="module")
def stylizer(make_pair) -> Stylizer:
    return stylizer_of(PairModel("wct", [make_pair(level, seed=level) for level in (1, 2, 3)]))


def stylizer_of(model: StyleModel) -> Stylizer:
    return Stylizer(model, describe(model, name="tiny", license="MIT", sha256=""), EngineOptions(device="cpu"))


def sky(height: int, width: int) -> torch.Tensor:
    """A clear sky over a dark ridge, as a camera leaves it: in 8 bits, through JPEG."""
    rows, columns = np.mgrid[:height, :width]
    light = np.stack([90 + 60 * rows / height, 140 + 50 * rows / height, 220 + 10 * rows / height], -1)
    light[rows > height * (0.8 - 0.1 * np.sin(columns / 40))] = (40, 50, 30)
    file = io.BytesIO()
    Image.fromarray(light.astype(np.uint8)).save(file, "jpeg", quality=85)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)[None] / 255


def test_a_run_sees_the_content_with_its_grain(stylizer):
    content = sky(40, 56)
    for strength, grain, amount in ((1.0, 1.0, 1.0), (0.5, 0.8, 0.8 * (0.35 * 0.5 + 0.65 * 0.5**3))):
        # The grain may leave [0, 1], so a picture of 32 bits, which may do so too, stands for what the stages see.
        given = Picture(with_grain(content, amount), bits=32)
        expected = stylizer(given, STYLE, grain=0, strength=strength, **LEVELS).tensor
        found = stylizer(Picture(content, bits=32), STYLE, grain=grain, strength=strength, **LEVELS).tensor
        share = 1 - (1 - strength) ** 4
        torch.testing.assert_close(found - (1 - share) * content, expected - (1 - share) * given.rgb, rtol=0, atol=1e-5)
    plain, default = (stylizer(content, STYLE, **LEVELS, **given).tensor for given in ({"grain": 0}, {}))
    assert not torch.equal(plain, default)


def test_without_grain_the_stages_see_the_content_itself(stylizer, monkeypatch):
    monkeypatch.setattr(wct, "with_grain", lambda *_: pytest.fail("there is no grain to add"))
    stylizer(sky(40, 56), STYLE, grain=0, **LEVELS)


def test_other_methods_have_none(make_pair, kb_model, make_photo_model):
    for model in (PairModel("adain", [make_pair(4, final_relu=False)]), kb_model, make_photo_model("vgg")):
        other = stylizer_of(model)
        content = sky(40, 56)
        assert torch.equal(other(content, STYLE, grain=2).tensor, other(content, STYLE, grain=0).tensor)


def test_strength_0_and_what_a_mask_hides_stay_the_contents_bytes(stylizer):
    content = sky(40, 56)
    mask = torch.zeros(40, 56)
    mask[:, 28:] = 1
    assert torch.equal(stylizer(content, STYLE, grain=2, strength=0, **LEVELS).tensor, content)
    masked = stylizer(content, STYLE, grain=2, mask=mask, **LEVELS).tensor
    assert torch.equal(masked[..., :28], content[..., :28])
    assert not torch.equal(masked[..., 28:], content[..., 28:])


def test_frames_that_share_their_statistics_have_none_unless_it_is_asked_for(stylizer):
    frames = [sky(40, 56), sky(40, 56).flip(3)]
    for statistics, default in (("per frame", 1), ("whole batch", 0), ("one frame", 0)):

        def run(statistics=statistics, **options):
            return list(stylizer.frames(frames, STYLE, statistics=statistics, **LEVELS, **options))

        found = run()
        assert found[0].report.settings["grain"] == default
        for grain in (0, 1):
            alike = [torch.equal(a.tensor, b.tensor) for a, b in zip(found, run(grain=grain), strict=True)]
            assert alike == [grain == default] * 2


@needs_weights
@pytest.mark.weights
def test_tiles_and_torch_give_the_picture_of_the_whole(monkeypatch):
    content = sky(230, 330)
    whole, tiled = (styleplugin.load("cd-wct.x16", device="cpu", tile=tile) for tile in ("whole", 64))
    expected = whole(content, SWIRLS).tensor
    assert kernels.target() is None or torch.equal(tiled(content, SWIRLS).tensor, expected)
    monkeypatch.setattr(kernels, "target", lambda: None)
    by_torch = styleplugin.load("cd-wct.x16", device="cpu")(content, SWIRLS).tensor
    torch.testing.assert_close(by_torch, expected, rtol=0, atol=5e-3)


@needs_weights
@pytest.mark.weights
def test_a_sky_is_painted_and_not_woven():
    stylizer = styleplugin.load("cd-wct.x16", device="cpu")
    content = sky(320, 448)
    style = stylizer.prepare(SWIRLS)
    woven, painted = (weave(content, stylizer(content, style, grain=grain).tensor) for grain in (0, 1))
    assert painted.weave < 0.8 * woven.weave
    # Cloth gives way to paint, and not to a smooth wall.
    assert painted.flat_deviation > woven.flat_deviation / 2


@needs_weights
@pytest.mark.weights
def test_textured_contents_hardly_change():
    stylizer = styleplugin.load("cd-wct.x16", device="cpu")
    content = torch.rand(1, 3, 128, 160, generator=torch.Generator().manual_seed(1))
    plain, grained = (stylizer(content, SWIRLS, grain=grain).tensor for grain in (0, 1))
    assert torch.equal(plain, grained)
