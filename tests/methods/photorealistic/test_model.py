import pytest
import torch
from torch.testing import assert_close

from styleplugin.errors import WeightsError
from styleplugin.loading.build import load_model, save_model
from styleplugin.methods.photorealistic.model import PhotoModel, PhotoSpec
from styleplugin.networks.layers import HighPass
from styleplugin.networks.mobilenet import FEATURES, MobileNet
from styleplugin.tensorfile import read_weights


@pytest.mark.parametrize(("backbone", "parameters"), [("vgg", 283_224), ("mobilenet", 52_742)])
def test_the_students_have_the_size_of_the_paper(backbone, parameters):
    model = PhotoModel(PhotoSpec(backbone=backbone))
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize("backbone", ["vgg", "mobilenet"])
def test_features_halve_at_the_strides_and_the_picture_comes_back(make_photo_model, backbone):
    model = make_photo_model(backbone)
    image = torch.rand(2, 3, 48, 64)
    first = 1 if backbone == "vgg" else 2
    sizes = [tuple(feature.shape[1:]) for feature in model.encoder.features(image)]
    assert sizes == [(4 + k, 48 // (first << k), 64 // (first << k)) for k in range(4)]
    assert model(image).shape == image.shape


def test_high_frequencies_of_a_ramp_are_zero_inside():
    ramp = torch.arange(8.0).expand(1, 2, 6, 8)
    assert_close(HighPass()(ramp)[..., 1:-1], torch.zeros(1, 2, 6, 6))


@pytest.mark.parametrize("spec", [{"backbone": "resnet"}, {"backbone": "vgg", "widths": (4, 5, 6)}])
def test_impossible_specs_are_refused(spec):
    with pytest.raises(WeightsError) as caught:
        PhotoSpec(**spec)
    assert caught.value.code == "SP324"


@pytest.mark.parametrize("backbone", ["vgg", "mobilenet"])
def test_a_student_survives_its_file(tmp_path, make_photo_model, backbone):
    model = make_photo_model(backbone)
    save_model(tmp_path / "photo.safetensors", model, license="MIT", card={"metrics": {"psnr": 30.0}})
    loaded, info = load_model(read_weights(tmp_path / "photo.safetensors"))
    assert (info.method, info.architecture, info.levels) == ("photorealistic", "pca-photo", (4, 3, 2, 1))
    assert info.min_side == (16 if backbone == "vgg" else 32)
    assert info.metrics == {"psnr": 30.0}
    assert_close(loaded.state_dict(), model.state_dict(), rtol=0, atol=0)


def test_an_encoder_of_another_student_is_refused(tmp_path, make_photo_model):
    path = tmp_path / "photo.safetensors"
    model = make_photo_model("vgg")
    metadata = {"architecture": "pca-photo", **model.describe(), "license": "MIT", "card": {}}
    model.encoder.blocks[0][0].weight.mul_(2)
    from styleplugin.tensorfile import write_weights

    write_weights(path, model.state_dict(), metadata)
    with pytest.raises(WeightsError) as caught:
        load_model(read_weights(path))
    assert caught.value.code == "SP312"


def test_the_teacher_gives_four_features_within_its_range():
    teacher = MobileNet()
    features = teacher.features(torch.rand(1, 3, 64, 32))
    assert [tuple(f.shape[1:]) for f in features] == [(c, 32 >> k, 16 >> k) for k, c in enumerate(FEATURES)]
    assert all(f.min() >= 0 and f.max() <= 6 for f in features)
