import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from styleplugin.errors import WeightsError
from styleplugin.loading.convert.vgg import import_vgg
from styleplugin.networks.vgg import Encoder, VGGSpec
from styleplugin.train.data.pictures import load_pictures
from styleplugin.train.networks.teachers import build_loss_network, measure_means, normalize_layers
from styleplugin.train.recipe.options import TeacherOptions


def images(count: int = 4, seed: int = 0) -> torch.Tensor:
    small = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return small.repeat_interleave(8, 2).repeat_interleave(8, 3)


def encoder(layers: dict[str, torch.Tensor], level: int) -> Encoder:
    widths = tuple(len(value) for name, value in layers.items() if name.endswith("bias"))
    result = Encoder(VGGSpec(level=level, widths=widths))
    result.load_state_dict(layers)
    return result.requires_grad_(False)


def test_normalized_features_have_mean_one_and_the_same_shape(vgg_file: Path):
    raw = {name: value for name, value in import_vgg(vgg_file).items() if name < "conv2_2"}
    teacher = encoder(raw, 2)
    means = measure_means(teacher, images())
    normalized = encoder(normalize_layers(raw, means), 2)
    for level, (a, b) in enumerate(zip(teacher.features(images()), normalized.features(images()), strict=True), 1):
        mean = means[f"conv{level}_1"].float()
        mean = torch.where(mean > 1e-8, mean, torch.ones_like(mean))
        torch.testing.assert_close(a / mean[:, None, None], b, rtol=1e-4, atol=1e-4)
    alive = means["conv2_1"] > 1e-8
    torch.testing.assert_close(b.mean((0, 2, 3))[alive], torch.ones(int(alive.sum())), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_a_full_teacher_judges_all_levels_by_itself(vgg_file: Path, level: int):
    loss_network = build_loss_network(TeacherOptions(source=f"file:{vgg_file}"), level, images())
    features = loss_network.features(images())
    assert tuple(f.shape[1] for f in features) == loss_network.widths == (8,) * level
    assert not any(p.requires_grad for p in loss_network.parameters())
    assert list(loss_network.sources) == ["vgg.safetensors"]


def test_R10_a_missing_teacher_is_an_error(tmp_path: Path):
    with pytest.raises(WeightsError, match="vgg19"):
        build_loss_network(TeacherOptions(root=str(tmp_path)), 2, images())


def test_R10_a_teacher_of_another_hash_is_an_error(vgg_file: Path):
    options = TeacherOptions(root=str(vgg_file.parent), vgg=vgg_file.name, vgg_sha256="0" * 64)
    with pytest.raises(WeightsError, match="sha256"):
        build_loss_network(options, 2, images())


def test_a_teacher_that_is_too_short_is_an_error(vgg_file: Path):
    with pytest.raises(WeightsError, match="conv5_1"):
        build_loss_network(TeacherOptions(source=f"file:{vgg_file}"), 5, images())


def test_means_in_the_file_are_taken_instead_of_measured_ones(vgg_file: Path, tmp_path: Path):
    layers = import_vgg(vgg_file)
    means = {f"stats.relu{name[4:7]}_mean": torch.full((8,), 2.0) for name in layers if name.endswith("bias")}
    means["adain.relu1_1_mean"] = torch.full((8,), 4.0)
    save_file(layers | means, tmp_path / "vgg.safetensors")
    sha256 = hashlib.sha256((tmp_path / "vgg.safetensors").read_bytes()).hexdigest()
    options = TeacherOptions(root=str(tmp_path), vgg="vgg.safetensors", vgg_sha256=sha256)
    raw = encoder({name: value for name, value in layers.items() if name < "conv2_2"}, 2).features(images())
    first, second = build_loss_network(options, 2, images()).features(images())
    torch.testing.assert_close(first, raw[0] / 4, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(second, raw[1] / 2, rtol=1e-4, atol=1e-4)


@pytest.mark.shared
@pytest.mark.slow
def test_every_level_of_the_true_teacher_has_mean_one_on_photographs(shared_data: Path):
    crops = load_pictures(shared_data / "train" / "photos-003.tar", short_side=300, smallest=128)[1].center_crops(
        128, 8
    )
    loss_network = build_loss_network(TeacherOptions(root=str(shared_data / "teachers")), 5, crops)
    assert loss_network.widths == (64, 128, 256, 512, 512)
    for features in loss_network.features(crops):
        assert float(features.mean()) == pytest.approx(1, abs=0.5)
