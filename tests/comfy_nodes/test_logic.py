"""What the nodes do, on bare torch: shapes, types, masks, batches, memory, Cancel."""

import pytest
import torch

import styleplugin
from comfy_nodes import logic
from styleplugin.errors import (
    InputImageError,
    MaskError,
    ResourceError,
    TensorInputError,
    UsageError,
    WeightsError,
)

# Warnings are what the host is told to say.
pytestmark = pytest.mark.filterwarnings("ignore::styleplugin.StylePluginWarning")

PLAIN = {"strength": 1.0, "keep_color": "off", "statistics": "per frame"}


def pictures(count=1, height=40, width=52, channels=3, seed=0) -> torch.Tensor:
    """Smooth pictures (B, H, W, C) with some noise."""
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, 4, 5, generator=rng)
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    return (0.9 * smooth + 0.1 * torch.rand(count, channels, height, width, generator=rng)).movedim(1, -1).contiguous()


STYLE = pictures(seed=5)


def transfer(host, content, style, model, mask=None, **given):
    return logic.transfer(host, content, style, model, mask, **(PLAIN | given))


def alone(model, content: torch.Tensor, style=STYLE, **options) -> torch.Tensor:
    """The core's own result for one picture (H, W, C)."""
    stylizer = styleplugin.Stylizer(model.module, model.info, styleplugin.EngineOptions(device="cpu"))
    if model.info.method == "wct":
        options.setdefault("levels", model.info.levels)
    result = stylizer(content.movedim(-1, 0), style[0].movedim(-1, 0), **options)
    return result.tensor[0].movedim(0, -1)


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
    style = logic.encode(host, STYLE, model, None, 1.0)
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
    mixed = logic.encode(host, styles, model, None, 1.0)
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
        logic.photo_transfer(host, content, STYLE, models["wct"], None, **PLAIN)
    photo = models["photorealistic"]
    given = PLAIN | {"smooth": 4, "keep_luminance": True}
    output = logic.photo_transfer(host, content, STYLE, photo, None, **given)
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


def test_room_is_asked_for_as_the_core_estimates_it(host, model):
    transfer(host, pictures(1, 300, 400), STYLE, model)
    transfer(host, pictures(4, 300, 400), STYLE, model, statistics="whole batch")
    assert 300 * 400 * 9 * 4 < host.prepared[0] < host.prepared[1]


def test_M02_out_of_memory_twice_goes_on_with_smaller_tiles(host, model):
    content = pictures()
    host.failures = 2
    output = transfer(host, content, STYLE, model)
    assert (output[0] - alone(model, content[0])).abs().max() < 1e-3
    assert host.said == [f"Out of memory; going on with tiles of {tile}." for tile in (256, 128)]
    assert host.emptied == 2
    host.failures = 99
    with pytest.raises(ResourceError, match=r"does not fit in memory with a picture of 52 x 40"):
        transfer(host, content, STYLE, model)


def test_errors_other_than_memory_come_through(host, models, monkeypatch):
    monkeypatch.setattr(host, "prepare", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        transfer(host, pictures(), STYLE, models["adain"])


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
        logic.apply_look(host, content, styleplugin.LUT.identity(5))
    if content.dim() == 4:
        with pytest.raises(TensorInputError):
            transfer(host, pictures(), content, models["adain"])


def test_N02_a_style_of_one_pixel_works_and_says_what_it_is(host, model):
    output = transfer(host, pictures(), torch.full((1, 1, 1, 3), 0.5), model)
    assert output.isfinite().all()
    assert host.said


def test_a_style_is_measured_where_the_mask_is_white(host, model):
    wide = torch.cat([STYLE, pictures(seed=6)], 2)
    mask = torch.zeros(1, 40, 104)
    mask[..., :52] = 1
    styles = [logic.encode(host, wide, model, given, 1.0) for given in (mask, None)]
    assert not torch.equal(styles[0].code[0][0].mean, styles[1].code[0][0].mean)
    with pytest.raises(MaskError, match="black everywhere"):
        logic.encode(host, wide, model, torch.zeros(1, 64, 64), 1.0)


def test_styles_are_mixed_saved_and_loaded(host, model):
    first, second = (logic.encode(host, pictures(seed=seed), model, None, 1.0) for seed in (5, 6))
    assert logic.mix([first, second], [1, 0]) is first
    mixed = logic.mix([first, second], [0.7, 0.3])
    path = logic.save_style(host, mixed, "style_transfer/mix")
    assert host.files(logic.STYLE_SUFFIX) == [path.name] == ["mix_00001_.style.safetensors"]
    again = logic.load_style(host, path.name)
    content = pictures()
    outputs = [transfer(host, content, style, model) for style in (mixed, again)]
    assert (outputs[0] - outputs[1]).abs().max() < 1e-4
    with pytest.raises(UsageError, match="not all 0"):
        logic.mix([first, second], [0, 0])


def test_T18_styles_and_models_that_do_not_fit_are_refused(host, models):
    style = logic.encode(host, STYLE, models["wct"], None, 1.0)
    with pytest.raises(UsageError, match="was prepared with the model tiny-wct, not with tiny-adain"):
        transfer(host, pictures(), style, models["adain"])


def test_models_are_embedded_ones_or_files_of_the_folder(host, tiny_weights):
    names = host.files(logic.MODEL_SUFFIX)
    assert names[:4] == ["cd-wct.x16", "cd-adain.x16", "kbstyle.200k", "pca-photo.vgg"]
    model = logic.load_model(host, "pca-photo.mobilenet")
    assert repr(model) == "<style model pca-photo.mobilenet, photorealistic>"
    assert not next(model.module.parameters()).is_inference()
    assert tiny_weights.parent == host.folder
    assert host.files(logic.MODEL_SUFFIX)[-1] == "tiny.safetensors"
    assert logic.load_model(host, "tiny.safetensors").info.name == "tiny"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 zip", b"\x80\x02 pickle", b"\xff" * 64])
def test_W11_W12_files_that_are_no_models_are_refused(host, content):
    (host.folder / "bad.safetensors").write_bytes(content)
    with pytest.raises(WeightsError) as error:
        logic.load_model(host, "bad.safetensors")
    assert str(host.folder) not in str(error.value)
    with pytest.raises(WeightsError):
        logic.load_model(host, "gone.safetensors")


def test_T07_everything_works_inside_inference_mode(host, model):
    content = pictures()
    expected = transfer(host, content, STYLE, model)
    with torch.inference_mode():
        inside = transfer(host, content.clone(), logic.encode(host, STYLE.clone(), model, None, 1.0), model)
        loaded = logic.load_model(host, "cd-adain.x16")
    assert torch.equal(inside, expected)
    assert not next(loaded.module.parameters()).is_inference()


QUICK = {"steps": 3, "scales": 1, "start": "content"}


def test_the_optimization_works_inside_inference_mode_with_preview_and_progress(host):
    with torch.inference_mode():
        content, style = pictures(2, 40, 52, 4), pictures(2, 36, 44, seed=3)
        output = logic.optimize(host, content, style, None, **QUICK)
    assert output.shape == content.shape and not torch.equal(output[..., :3], content[..., :3])
    assert torch.equal(output[..., 3], content[..., 3])
    assert host.shares[-1] == 1 and host.shares == sorted(host.shares)
    assert len(host.previews) >= 2 and host.previews[-1].size == (52, 40)
    assert any("step 3/3  loss" in line for line in host.said) and host.prepared


def test_the_optimization_equals_the_core_and_a_mask_limits_it(host):
    content, style, mask = pictures(), pictures(seed=3), torch.zeros(1, 40, 52)
    mask[..., :26] = 1
    output = logic.optimize(host, content, style, mask, **QUICK)
    alone = styleplugin.stylize(
        content.movedim(-1, 1), style.movedim(-1, 1), method="optimization", mask=mask[0], device="cpu", **QUICK
    )
    assert torch.equal(output.movedim(-1, 1), alone.tensor)
    assert torch.equal(output[:, :, 26:], content[:, :, 26:])


@pytest.mark.parametrize("stop_at", [0, 3, 6, 9])
def test_T19_cancel_is_heard_in_every_step_of_the_optimization(host, stop_at):
    host.stop_at = stop_at
    with pytest.raises(BaseException) as stopped:
        logic.optimize(host, pictures(), pictures(seed=3), None, **QUICK | {"steps": 6})
    assert type(stopped.value).__name__ == "Interrupted"
    assert logic.optimize(host, pictures(), pictures(seed=3), None, **QUICK).isfinite().all()


def test_looks_are_exported_with_their_errors_and_applied(host):
    content = pictures(2, 48, 64)
    stylized = (content * torch.tensor([0.8, 0.9, 1.0]) + 0.05).clamp(0, 1)
    look, errors, report = logic.export_look(host, content, stylized, 17, "luts/mine")
    assert errors.shape == content.shape
    assert errors.max() < 0.1
    assert "above 3 in 0.0%" in report
    assert host.said == [f"Saved mine_00001_.cube: {report}"]
    for table in (look, logic.load_look(host, "mine_00001_.cube")):
        output = logic.apply_look(host, content, table)
        assert (output - stylized).abs().max() < 0.02
    rgba = torch.cat([content, torch.full((2, 48, 64, 1), 0.3)], 3)
    output = logic.apply_look(host, rgba, look)
    assert torch.equal(output[..., 3:], rgba[..., 3:])
    assert torch.equal(output[..., :3], logic.apply_look(host, content, look))
    assert logic.apply_look(host, content[..., :1], look).shape == content.shape
    with pytest.raises(UsageError, match="both must have one size"):
        logic.export_look(host, content, stylized[:1], 17, "luts/mine")
    host.said.clear()
    rows = "\n".join(f"{r} {g} {b}" for b in (0, 1) for g in (0, 1) for r in (0, 1))
    (host.folder / "OLD.CUBE").write_text(f"LUT_3D_SIZE 2\nLUT_MOOD blue\n{rows}\n")
    assert logic.load_look(host, "OLD.CUBE").size == 2
    assert host.said == ["OLD.CUBE has keywords that are unknown and were ignored: LUT_MOOD."]
    (host.folder / "bad.cube").write_text("LUT_3D_SIZE two\n")
    with pytest.raises(InputImageError, match="not a usable look"):
        logic.load_look(host, "bad.cube")


def test_an_interrupted_export_leaves_no_file(host):
    content = pictures(1, 48, 64)
    host.stop_at = 1
    with pytest.raises(BaseException) as stopped:
        logic.export_look(host, content, content**2, 17, "luts/mine")
    assert type(stopped.value).__name__ == "Interrupted"
    assert list(host.folder.iterdir()) == []


def test_samples_are_pictures_and_clips(host):
    names = logic.samples()
    assert "lake" in names
    picture = logic.sample(host, "lake")
    clip = logic.sample(host, "lake, 16 frames")
    assert picture.shape[0] == 1
    assert clip.shape[0] == 16
    assert torch.equal(clip[3, :, :8], picture[0, : clip.shape[1], 18:26])
