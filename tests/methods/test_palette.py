"""Palettes: what they compute, and that they go with tiles, strength, masks, mixes, style files, regions and clips."""

from __future__ import annotations

import copy
import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

import styleplugin
from styleplugin import kernels
from styleplugin.errors import UsageError, WeightsError
from styleplugin.images.picture import Picture
from styleplugin.loading import index
from styleplugin.loading.build import describe
from styleplugin.methods.palette import LEVELS
from styleplugin.networks.pairs import PairModel
from styleplugin.options import EngineOptions, StyleWeight, StylizeOptions, choices_of
from styleplugin.style import Style, mix_styles
from styleplugin.stylizer import Stylizer
from styleplugin.transforms.moments import Moments, mix_moments
from styleplugin.transforms.wct import FLOOR, wct_map

PALETTES = [palette for palette in choices_of(StylizeOptions, "palette") if palette not in ("auto", "off")]


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    """Return (1, 3, H, W) in [0, 1], smooth with some noise, whose channels vary alike."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 5, 6, generator=generator, dtype=torch.float32, device="cpu")
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    noise = torch.rand(1, 3, height, width, generator=generator, dtype=torch.float32, device="cpu")
    return 0.6 * smooth + 0.2 * smooth[:, [1, 2, 0]] + 0.2 * noise


CONTENT, STYLE, OTHER = picture(64, 96), picture(48, 64, 1), picture(48, 80, 2)


def stylizer_of(model: Any, *, dtype: torch.dtype = torch.float32, **options: Any) -> Stylizer:
    info = describe(model, name="tiny", license="MIT", sha256="0" * 64)
    return Stylizer(copy.deepcopy(model), info, EngineOptions(device="cpu", **options), dtype=dtype)


@pytest.fixture(scope="module")
def models(make_pair, kb_model) -> dict[str, Any]:
    return {"adain": PairModel("adain", [make_pair(3, final_relu=False)]), "kbstyle": kb_model}


@pytest.fixture(scope="module")
def adain(models) -> Stylizer:
    return stylizer_of(models["adain"])


@pytest.fixture(scope="module")
def shallow() -> PairModel:
    model, _ = index.load("cd-wct.x16")
    assert isinstance(model, PairModel)
    return copy.deepcopy(model).double()


def colors_of(image: Tensor) -> np.ndarray:
    return image[0].flatten(1).double().numpy()


def root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(values) @ vectors.T


def by_colors(painted: Tensor, style: Tensor) -> Tensor:
    """Map the colors as Pitie and Kokaram do, with the floor on both covariances."""
    content, wanted = colors_of(painted), colors_of(style)
    own, other = (np.cov(colors) + FLOOR * np.eye(3) for colors in (content, wanted))
    half = root(own)
    inverse = np.linalg.inv(half)
    matrix = inverse @ root(half @ other @ half) @ inverse
    mapped = matrix @ (content - content.mean(1, keepdims=True)) + wanted.mean(1, keepdims=True)
    return torch.from_numpy(mapped).view_as(painted)


@torch.no_grad()
def by_levels(model: PairModel, painted: Tensor, style: Tensor, levels: tuple[int, ...]) -> Tensor:
    """Whiten and color at each level, with the networks' modules on the whole picture."""
    for pair in map(model.pair, levels):
        features = pair.encoder(painted)
        painted = pair.decoder(wct_map(Moments.of(features), Moments.of(pair.encoder(style))).apply(features))
    return painted


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize("name", ["adain", "kbstyle"])
def test_a_palette_runs_its_formula_behind_the_method(models, shallow, name: str, palette: str):
    # A float picture keeps what lies beyond black and white, so that the method's own output can be seen.
    content = Picture(rgb=CONTENT, bits=32)
    stylizer = stylizer_of(models[name], dtype=torch.float64)
    painted = stylizer(content, STYLE, palette="off").tensor.double()
    found = stylizer(content, STYLE, palette=palette).tensor
    style = STYLE.double()
    expected = by_colors(painted, style) if palette == "map" else by_levels(shallow, painted, style, LEVELS[palette])
    assert_close(found.double(), expected, rtol=0, atol=1e-5)
    assert float((expected - painted).abs().mean()) > 0.01


def test_a_map_of_colors_gives_the_mean_and_covariance_of_the_style(adain):
    found = colors_of(adain(Picture(rgb=CONTENT, bits=32), STYLE, palette="map").tensor)
    np.testing.assert_allclose(found.mean(1), colors_of(STYLE).mean(1), atol=1e-5)
    np.testing.assert_allclose(np.cov(found), np.cov(colors_of(STYLE)), atol=1e-4)


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize("name", ["adain", "kbstyle"])
def test_tiles_give_the_whole_picture(models, name: str, palette: str):
    content = picture(203, 331)
    whole = stylizer_of(models[name], tile="whole")(content, STYLE, palette=palette).tensor
    for tile in (64, 128):
        tiled = stylizer_of(models[name], tile=tile)(content, STYLE, palette=palette).tensor
        assert torch.equal(tiled, whole) if kernels.target() else bool((tiled - whole).abs().max() < 2e-3)


@pytest.mark.parametrize("palette", PALETTES)
def test_strength_blends_the_map_and_then_the_pictures(adain, palette: str):
    assert torch.equal(adain(CONTENT, STYLE, palette=palette, strength=0).tensor, CONTENT)
    distances = [
        float((adain(CONTENT, STYLE, palette=palette, strength=strength).tensor - CONTENT).square().mean())
        for strength in (0.02, 0.1, 1)
    ]
    assert distances == sorted(distances)
    assert distances[0] < distances[2] / 20


def test_the_method_and_its_palette_share_the_strength(models):
    stylizer, content = stylizer_of(models["adain"], dtype=torch.float64), Picture(rgb=CONTENT, bits=32)

    def before_the_last_blend(palette: str, strength: float) -> Tensor:
        kept = (1 - strength) ** 4
        return (stylizer(content, STYLE, palette=palette, strength=strength).tensor - kept * CONTENT).double() / (
            1 - kept
        )

    share = 0.5 * (0.35 + 0.65 * 0.5**2)
    painted = before_the_last_blend("off", share)
    expected = torch.lerp(painted, by_colors(painted, STYLE), share)
    assert_close(before_the_last_blend("map", 0.5), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("palette", PALETTES)
def test_masks_and_alpha_decide_what_is_measured_and_what_stays(adain, palette: str):
    mask = torch.zeros(64, 96, dtype=torch.float32, device="cpu")
    mask[:, :40] = 1
    garish = CONTENT.clone()
    garish[..., 88:] = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float32, device="cpu")[:, None, None]
    found = adain(garish, STYLE, palette=palette, mask=mask).tensor
    assert torch.equal(found[..., 40:], garish[..., 40:])
    # The first columns are too far from the change for any network to see it, and it does not count.
    assert_close(found[..., :16], adain(CONTENT, STYLE, palette=palette, mask=mask).tensor[..., :16], rtol=0, atol=1e-5)
    seen = [adain(torch.cat([rgb, mask[None, None]], 1), STYLE, palette=palette).tensor for rgb in (garish, CONTENT)]
    assert torch.equal(seen[0][..., :40], seen[1][..., :40])


@pytest.mark.parametrize("palette", PALETTES)
def test_a_style_file_holds_what_every_palette_needs(adain, tmp_path, palette: str):
    path = tmp_path / "a.style.safetensors"
    adain.prepare(STYLE).save(path)
    assert_close(
        adain(CONTENT, path, palette=palette).tensor, adain(CONTENT, STYLE, palette=palette).tensor, rtol=0, atol=1e-6
    )


def test_a_style_without_statistics_for_a_palette_works_without_one(adain):
    bare = dataclasses.replace(adain.prepare(STYLE), palette={})
    assert torch.equal(adain(CONTENT, bare, palette="off").tensor, adain(CONTENT, STYLE, palette="off").tensor)
    for palette in PALETTES:
        with pytest.raises(UsageError, match=f"no statistics for `palette={palette}`") as caught:
            adain(CONTENT, bare, palette=palette)
        assert caught.value.code == "SP112"


def test_statistics_of_other_channels_are_refused(adain):
    prepared = adain.prepare(STYLE)
    narrow = Moments(9.0, torch.zeros(2).double(), torch.eye(2).double())
    for encoder, palette in zip(prepared.palette, ("map", "level2", "level2"), strict=True):
        damaged = dataclasses.replace(prepared, palette={**prepared.palette, encoder: narrow})
        with pytest.raises(WeightsError, match=f"the palette {palette} needs") as caught:
            adain(CONTENT, damaged, palette=palette)
        assert caught.value.code == "SP341"


def test_a_picture_is_measured_for_the_palette_of_the_run_alone(models, monkeypatch):
    monkeypatch.setattr(index, "load", lambda *_: pytest.fail("no model is needed"))
    monkeypatch.setattr("styleplugin.stylizer._palette_model", index.load)
    for name in models:
        for palette in ("off", "map"):
            assert stylizer_of(models[name])(CONTENT, STYLE, palette=palette).report.palette_sha256 == ""


def test_mixes_and_shares_mix_the_palettes(adain):
    one, other = adain.prepare(STYLE), adain.prepare(OTHER)
    mixed = mix_styles([one, other], [0.3, 0.7])
    for encoder, moments in mixed.palette.items():
        expected = mix_moments([one.palette[encoder], other.palette[encoder]], [0.3, 0.7])
        assert torch.equal(moments.mean, expected.mean)
        assert torch.equal(moments.scatter, expected.scatter)
    for palette in PALETTES:
        given = adain(CONTENT, [(STYLE, 0.3), (OTHER, 0.7)], palette=palette).tensor
        assert torch.equal(given, adain(CONTENT, mixed, palette=palette).tensor)
        assert not torch.equal(given, adain(CONTENT, one, palette=palette).tensor)
    bare = dataclasses.replace(other, palette={})
    assert mix_styles([one, bare], [1, 1]).palette == {}
    assert mix_styles([one, bare], [1, 0]) is one


@pytest.mark.parametrize("palette", PALETTES)
def test_regions_have_palettes_of_their_own(adain, palette: str):
    left = torch.zeros(64, 96, dtype=torch.float32, device="cpu")
    left[:, :48] = 1
    parts = [StyleWeight(style=STYLE, region=left), StyleWeight(style=OTHER)]
    found = adain(CONTENT, parts, palette=palette).tensor
    one, other = (
        adain(CONTENT, style, mask=mask, palette=palette).tensor for style, mask in ((STYLE, left), (OTHER, 1 - left))
    )
    assert_close(found[..., :48], one[..., :48], rtol=0, atol=1e-6)
    assert_close(found[..., 48:], other[..., 48:], rtol=0, atol=1e-6)


@pytest.mark.parametrize("palette", PALETTES)
def test_the_frames_of_a_clip_share_the_maps_of_a_palette(adain, palette: str):
    frames = [(CONTENT * (0.8 + 0.05 * i)).clamp(0, 1) for i in range(3)]
    settings = {"palette": palette}
    alone = [adain(frame, STYLE, **settings).tensor for frame in frames]
    for i, result in enumerate(adain.frames(frames, STYLE, **settings)):
        assert torch.equal(result.tensor, alone[i])
    held = [result.tensor for result in adain.frames(frames, STYLE, statistics="one frame", frame=1, **settings)]
    assert torch.equal(held[1], alone[1])
    assert float(held[0].mean()) < float(held[1].mean()) < float(held[2].mean())
    batch = [r.tensor for r in adain.frames([frames[0]] * 2, STYLE, statistics="whole batch", **settings)]
    assert torch.equal(*batch)
    assert_close(batch[0], alone[0], rtol=0, atol=5e-3)


def test_methods_without_palettes_ignore_the_option(tiny_model, make_photo_model):
    for model, options in ((tiny_model, {"levels": (3, 2, 1)}), (make_photo_model("vgg"), {})):
        stylizer = stylizer_of(model)
        plain = stylizer(CONTENT, STYLE, **options)
        assert plain.report.settings["palette"] == "off"
        result = stylizer(CONTENT, STYLE, palette="level2", **options)
        assert torch.equal(result.tensor, plain.tensor)
        assert result.report.palette_sha256 == ""
        assert stylizer.prepare(STYLE).palette == {}


def test_every_method_has_a_palette_of_its_own(models):
    for name, palette in (("adain", "level2"), ("kbstyle", "level1")):
        stylizer = stylizer_of(models[name])
        result = stylizer(CONTENT, STYLE)
        assert result.report.settings["palette"] == palette
        assert torch.equal(result.tensor, stylizer(CONTENT, STYLE, palette=palette).tensor)


def test_the_report_names_the_palette_and_its_weights(adain):
    (sha256,) = (entry.sha256 for entry in index.list_models() if entry.name == "cd-wct.x16")
    account = json.loads(adain(CONTENT, STYLE, palette="level1").report.to_json())
    assert account["settings"]["palette"] == "level1"
    assert account["palette_sha256"] == sha256


def test_a_flat_style_moves_the_colors_only(adain):
    flat = torch.full((1, 3, 32, 32), 0.5, dtype=torch.float32, device="cpu")
    with pytest.warns(styleplugin.StylePluginWarning, match="degenerate_style"):
        found = adain(Picture(rgb=CONTENT, bits=32), flat, palette="map").tensor
    assert_close(found.mean((0, 2, 3)), torch.full((3,), 0.5), rtol=0, atol=1e-5)


@pytest.mark.parametrize("palette", ["on", "", None, 1, "level3", ["map"]])
def test_other_palettes_are_refused(adain, palette: Any):
    with pytest.raises(UsageError, match="`palette` was") as caught:
        adain(CONTENT, STYLE, palette=palette)
    assert caught.value.code == "SP102"


def test_styles_made_by_other_versions_are_read(adain, tmp_path):
    path = tmp_path / "a.safetensors"
    dataclasses.replace(adain.prepare(STYLE), palette={}).save(path)
    assert Style.load(path).palette == {}
