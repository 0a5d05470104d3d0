import pytest
import torch
from fakes.networks import drawn
from torch.testing import assert_close

from styleplugin.errors import WeightsError
from styleplugin.loading.build import describe, load_model, save_model
from styleplugin.methods.kbstyle.method import KBStyle
from styleplugin.methods.kbstyle.model import KBModel, KBSpec
from styleplugin.stylizer import Stylizer
from styleplugin.tensorfile import read_weights


def test_the_student_meets_the_published_constraints(tmp_path):
    model = KBModel(KBSpec())
    path = tmp_path / "student.safetensors"
    save_model(path, model, license="MIT", card={"note": "x" * 4000})
    assert path.stat().st_size < 200_000
    (stage,) = KBStyle(model, torch.empty(0)).stages
    # The style side is as large as the content encoder; 10,300 in all.
    assert 2 * stage.macs_per_pixel < 10_300


def test_without_modulation_the_output_is_plain_adain_and_its_own_style_changes_nothing():
    torch.manual_seed(0)
    model = drawn(lambda: KBModel(KBSpec(widths=(4, 5, 6), blocks=1)))
    image = torch.rand(2, 3, 32, 48)
    trace = model.trace(image, image)
    shapes = [(2, 4, 32, 48), (2, 5, 16, 24), (2, 6, 8, 12), (2, 6, 8, 12)]
    assert [feature.shape for feature in trace.contents] == shapes
    assert [feature.shape for feature in trace.mirrors] == shapes
    deep = trace.contents[3]
    assert_close(model.adapt(0, deep, deep), deep, rtol=1e-4, atol=1e-4)
    assert model(image).shape == image.shape


def test_styles_may_have_any_size_and_each_content_has_its_own(kb_model):
    contents, styles = torch.rand(2, 3, 32, 48), torch.rand(2, 3, 64, 40)
    both = kb_model(contents, styles)
    assert_close(both[1:], kb_model(contents[1:], styles[1:]))
    assert not torch.allclose(both, kb_model(contents, styles.flip(0)))


def test_a_file_gives_the_model_back_and_swapped_halves_are_refused(kb_model, tmp_path):
    path = tmp_path / "kb.safetensors"
    save_model(path, kb_model, license="MIT")
    model, info = load_model(read_weights(path))
    image = torch.rand(1, 3, 32, 32)
    assert_close(model(image), kb_model(image))
    assert (info.method, info.levels) == ("kbstyle", (2, 1))
    swapped = KBModel(kb_model.spec)
    swapped.load_state_dict(kb_model.state_dict())
    described = kb_model.describe()
    swapped.style_encoder.load_state_dict(kb_model.content_encoder.state_dict())
    swapped.describe = lambda: described  # type: ignore[method-assign]
    save_model(path, swapped, license="MIT")
    with pytest.raises(WeightsError, match="was trained for the encoder"):
        load_model(read_weights(path))


@pytest.mark.parametrize("spec", [{"widths": (8, 16)}, {"widths": (8, 16, 0)}, {"blocks": 0}, {"blocks": 99}])
def test_impossible_specs_are_refused(spec):
    with pytest.raises(WeightsError) as caught:
        KBSpec(**spec)
    assert caught.value.code == "SP326"


def test_the_stylizer_runs_it_and_saves_its_styles(kb_model, tmp_path):
    stylizer = Stylizer(kb_model, describe(kb_model, name="kb", license="MIT", sha256="0" * 64))
    content, style = torch.rand(3, 45, 61), torch.rand(3, 50, 40)
    prepared = stylizer.prepare(style)
    assert [moments.channels for moments in prepared.code[0]] == [6, 5]
    prepared.save(tmp_path / "kb.style.safetensors")
    again = stylizer(content, tmp_path / "kb.style.safetensors").tensor
    assert_close(again, stylizer(content, style).tensor)
    assert torch.equal(stylizer(content, style, strength=0).tensor[0], content)
