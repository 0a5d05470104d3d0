"""Batches stylized on bare torch: shapes, types, masks, statistics, Cancel."""

import pytest
import torch

import styleplugin
from comfy_nodes.logic.looks import apply_look
from comfy_nodes.logic.styles import encode
from comfy_nodes.logic.transfer import photo_transfer
from styleplugin.errors import MaskError, TensorInputError, UsageError

from .conftest import PLAIN, STYLE, alone, pictures, transfer

pytestmark = pytest.mark.filterwarnings("ignore::styleplugin.StylePluginWarning")


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("size", [(40, 52), (33, 47), (1, 1)])
def test_a_batch_comes_back_in_its_size_each_picture_stylized_by_itself(host, model, count, size):
    content = pictures(count, *size)
    before = content.clone()
    output = transfer(host, content, STYLE, model)
    assert output.shape == content.shape
    assert output.dtype == torch.float32
    assert torch.equal(content, before)
    for picture, result in zip(content, output, strict=True):
        assert torch.equal(result, alone(model, picture))


def test_T12_alpha_comes_back_untouched(host, model):
    content = pictures(2, channels=4)
    content[0, :10, :, 3] = 0
    output = transfer(host, content, STYLE, model)
    assert output.shape == content.shape
    assert torch.equal(output[..., 3], content[..., 3])
    assert torch.equal(output[1], torch.cat([alone(model, content[1]), content[1, :, :, 3:]], 2))


def test_gray_becomes_color_and_halves_become_floats_or_what_the_host_says(host, model):
    gray = pictures(channels=1)
    assert transfer(host, gray, STYLE, model).shape == (1, 40, 52, 3)
    assert transfer(host, gray, None, None, strength=0.0).shape == (1, 40, 52, 3)
    half = pictures().half()
    assert torch.equal(
        transfer(host, half, STYLE.half().float(), model)[0], alone(model, half[0].float(), STYLE.half().float())
    )
    host.dtype = torch.float16
    assert transfer(host, half, STYLE, model).dtype == torch.float16
    assert transfer(host, half, None, None, strength=0.0).dtype == torch.float16


def test_T16_strength_0_needs_neither_style_nor_model_and_says_so(host):
    content = pictures(2)
    assert torch.equal(transfer(host, content, None, None, strength=0.0), content)
    assert host.said == ["Strength 0: the content comes back as it is."]


def test_T13_masks_are_resized_repeated_and_counted(host, model):
    content = pictures(3)
    mask = torch.zeros(1, 20, 26)
    mask[:, :, 13:] = 1
    output = transfer(host, content, STYLE, model, mask)
    assert torch.equal(output[:, :, :26], content[:, :, :26])
    assert not torch.equal(output[:, :, 26:], content[:, :, 26:])
    assert any("mask was resized" in text for text in host.said)
    flat = torch.ones(40, 52)
    assert torch.equal(transfer(host, content, STYLE, model, flat), transfer(host, content, STYLE, model))
    with pytest.raises(MaskError, match="There are 2 masks for 3 pictures"):
        transfer(host, content, STYLE, model, torch.ones(2, 40, 52))


def test_T14_an_all_black_mask_returns_the_content_and_says_so(host, model):
    content = pictures(2)
    output = transfer(host, content, STYLE, model, torch.zeros(1, 64, 64))
    assert torch.equal(output, content)
    assert any("black everywhere; the content is returned as it is" in text for text in host.said)


def test_a_style_may_be_a_picture_or_a_style(host, model):
    content = pictures()
    style = encode(host, STYLE, model, None, 1.0)
    assert torch.equal(transfer(host, content, style, model), transfer(host, content, STYLE, model))


def test_T09_a_batch_of_styles_gives_one_to_each_content(host, model):
    content, styles = pictures(3), pictures(3, seed=8)
    output = transfer(host, content, styles, model)
    for i in range(3):
        assert torch.equal(output[i], alone(model, content[i], styles[i : i + 1]))
    assert not host.said
    output = transfer(host, content, styles[:2], model)
    assert torch.equal(output[2], alone(model, content[2], styles[:1]))
    assert host.said == ["There are 2 style pictures for 3 results: they begin again from the first."]


def test_T09_one_photograph_in_many_styles(host, model):
    content, styles = pictures(2), pictures(3, seed=8)
    mask = torch.zeros(2, *content.shape[1:3])
    mask[0, :, :20], mask[1, :, 20:] = 1, 1
    output = transfer(host, content[:1], styles, model)
    assert len(output) == 3 and not host.said
    for i in range(3):
        assert torch.equal(output[i], alone(model, content[0], styles[i : i + 1]))
    output = transfer(host, content, styles, model, mask)
    assert host.said == ["There are 2 contents for 3 results: they begin again from the first."]
    assert torch.equal(output[2][:, 20:], content[0][:, 20:]), "masks begin again with their contents"


@pytest.mark.parametrize("statistics", ["whole batch", "one frame"])
def test_shared_statistics_mix_the_styles_of_a_batch(host, model, statistics):
    content, styles = pictures(3), pictures(2, seed=8)
    mixed = encode(host, styles, model, None, 1.0)
    both = transfer(host, content, styles, model, statistics=statistics)
    assert torch.equal(both, transfer(host, content, mixed, model, statistics=statistics))
    assert not torch.equal(both, transfer(host, content, mixed, model))
    with pytest.raises(UsageError, match="from frame 7, but the last of the 3 frames is 2"):
        transfer(host, content, STYLE, model, statistics="one frame", frame=7)


def test_shallower_depths_use_fewer_levels(host, models):
    content = pictures()
    output = transfer(host, content, STYLE, models["wct"], depth=1)
    assert torch.equal(output[0], alone(models["wct"], content[0], levels=(1,)))


def test_options_reach_the_core(host, model):
    content = pictures()
    output = transfer(host, content, STYLE, model, strength=0.5, keep_color="luminance", style_scale=0.5, tile=64)
    expected = alone(model, content[0], strength=0.5, keep_color="luminance", style_scale=0.5)
    assert (output[0] - expected).abs().max() < 1e-4


def test_a_palette_reaches_the_core(host, models):
    content, found = pictures(), []
    for palette in ("off", "map"):
        found.append(transfer(host, content, STYLE, models["adain"], palette=palette)[0])
        assert torch.equal(found[-1], alone(models["adain"], content[0], palette=palette))
    assert not torch.equal(*found)


def test_the_photo_node_refuses_other_models_and_takes_its_own_options(host, models):
    content = pictures()
    with pytest.raises(UsageError, match="this node needs a photorealistic one"):
        photo_transfer(host, content, style=STYLE, model=models["wct"], **PLAIN)
    photo = models["photorealistic"]
    given = PLAIN | {"smooth": 4, "keep_luminance": True}
    output = photo_transfer(host, content, style=STYLE, model=photo, **given)
    assert torch.equal(output[0], alone(photo, content[0], smooth=4, keep_luminance=True))


@pytest.mark.parametrize("statistics", ["per frame", "whole batch", "one frame"])
def test_T19_cancel_is_heard_at_every_step_and_the_next_run_works(host, model, statistics):
    content = pictures(3)
    expected = transfer(host, content, STYLE, model, statistics=statistics)
    total = host.asked
    assert total > 6
    assert host.shares == sorted(host.shares)
    assert host.shares[-1] == pytest.approx(1)
    for step in (0, total // 2, total - 1):
        host.asked, host.stop_at = 0, step
        with pytest.raises(BaseException) as stopped:
            transfer(host, content, STYLE, model, statistics=statistics)
        assert type(stopped.value).__name__ == "Interrupted"
    host.stop_at = None
    assert torch.equal(transfer(host, content, STYLE, model, statistics=statistics), expected)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (torch.rand(1, 3, 40, 52), r"The content has the shape \(1, 3, 40, 52\); pictures are \(B, H, W, C\)"),
        (torch.rand(40, 52, 3), "has the shape"),
        (torch.rand(0, 40, 52, 3), "and one at least"),
        (torch.rand(1, 40, 52, 2), "C = 1, 3 or 4"),
        (pictures() * 255, "Divide by 255"),
        (pictures().index_fill(1, torch.tensor([3]), float("nan")), "NaN or infinite values"),
    ],
)
def test_T01_T02_T04_T10_wrong_pictures_are_refused_in_words(host, models, content, message):
    with pytest.raises(TensorInputError, match=message):
        transfer(host, content, STYLE, models["adain"])
    with pytest.raises(TensorInputError, match=message.replace("content", "(content|picture)")):
        transfer(host, content, None, None, strength=0.0)
    with pytest.raises(TensorInputError):
        apply_look(host, content, styleplugin.LUT.identity(5))
    if content.dim() == 4:
        with pytest.raises(TensorInputError):
            transfer(host, pictures(), content, models["adain"])


def test_N02_a_style_of_one_pixel_works_and_says_what_it_is(host, model):
    output = transfer(host, pictures(), torch.full((1, 1, 1, 3), 0.5), model)
    assert output.isfinite().all()
    assert host.said


def test_T18_styles_and_models_that_do_not_fit_are_refused(host, models):
    style = encode(host, STYLE, models["wct"], None, 1.0)
    with pytest.raises(UsageError, match="was prepared with the model tiny-wct, not with tiny-adain"):
        transfer(host, pictures(), style, models["adain"])
