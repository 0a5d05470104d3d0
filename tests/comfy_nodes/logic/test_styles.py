"""Models brought in, and styles measured, mixed and saved, on bare torch."""

import pytest
import torch

from comfy_nodes.logic.interface import MODEL_SUFFIX, STYLE_SUFFIX
from comfy_nodes.logic.styles import encode, load_model, load_style, mix, save_style
from styleplugin.errors import MaskError, ResourceError, UsageError, WeightsError

from .conftest import STYLE, alone, pictures, transfer

pytestmark = pytest.mark.filterwarnings("ignore::styleplugin.StylePluginWarning")


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


def test_a_style_is_measured_where_the_mask_is_white(host, model):
    wide = torch.cat([STYLE, pictures(seed=6)], 2)
    mask = torch.zeros(1, 40, 104)
    mask[..., :52] = 1
    styles = [encode(host, wide, model, given, 1.0) for given in (mask, None)]
    assert not torch.equal(styles[0].code[0][0].mean, styles[1].code[0][0].mean)
    with pytest.raises(MaskError, match="black everywhere"):
        encode(host, wide, model, torch.zeros(1, 64, 64), 1.0)


def test_styles_are_mixed_saved_and_loaded(host, model):
    first, second = (encode(host, pictures(seed=seed), model, None, 1.0) for seed in (5, 6))
    assert mix([first, second], [1, 0]) is first
    mixed = mix([first, second], [0.7, 0.3])
    path = save_style(host, mixed, "style_transfer/mix")
    assert host.files(STYLE_SUFFIX) == [path.name] == ["mix_00001_.style.safetensors"]
    again = load_style(host, path.name)
    content = pictures()
    outputs = [transfer(host, content, style, model) for style in (mixed, again)]
    assert (outputs[0] - outputs[1]).abs().max() < 1e-4
    with pytest.raises(UsageError, match="not all 0"):
        mix([first, second], [0, 0])


def test_models_are_embedded_ones_or_files_of_the_folder(host, tiny_weights):
    names = host.files(MODEL_SUFFIX)
    assert names[:4] == ["cd-wct.x16", "cd-adain.x16", "kbstyle.200k", "pca-photo.vgg"]
    model = load_model(host, "pca-photo.mobilenet")
    assert repr(model) == "<style model pca-photo.mobilenet, photorealistic>"
    assert not next(model.module.parameters()).is_inference()
    assert tiny_weights.parent == host.folder
    assert host.files(MODEL_SUFFIX)[-1] == "tiny.safetensors"
    assert load_model(host, "tiny.safetensors").info.name == "tiny"


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 zip", b"\x80\x02 pickle", b"\xff" * 64])
def test_W11_W12_files_that_are_no_models_are_refused(host, content):
    (host.folder / "bad.safetensors").write_bytes(content)
    with pytest.raises(WeightsError) as error:
        load_model(host, "bad.safetensors")
    assert str(host.folder) not in str(error.value)
    with pytest.raises(WeightsError):
        load_model(host, "gone.safetensors")


def test_T07_everything_works_inside_inference_mode(host, model):
    content = pictures()
    expected = transfer(host, content, STYLE, model)
    with torch.inference_mode():
        inside = transfer(host, content.clone(), encode(host, STYLE.clone(), model, None, 1.0), model)
        loaded = load_model(host, "cd-adain.x16")
    assert torch.equal(inside, expected)
    assert not next(loaded.module.parameters()).is_inference()
