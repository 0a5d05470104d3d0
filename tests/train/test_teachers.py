from pathlib import Path

import pytest
import torch
from torch import nn

from styleplugin.errors import WeightsError
from styleplugin.importers.collaborative_distillation import EmbeddedEncoder, import_embeddings
from styleplugin.importers.vgg import import_vgg
from styleplugin.models.vgg import Encoder, VGGSpec
from styleplugin.train.config import TeacherOptions
from styleplugin.train.data import load_pictures
from styleplugin.train.teachers import Judge, build_judge, measure_means, normalize_layers


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
    judge = build_judge(TeacherOptions(source=f"file:{vgg_file}"), level, images())
    features = judge.features(images())
    assert tuple(f.shape[1] for f in features) == judge.widths == (8,) * level
    assert not any(p.requires_grad for p in judge.parameters())
    assert list(judge.sources) == ["vgg.safetensors"]


def test_the_stand_ins_are_averaged_and_rectified():
    def student(level: int, seed: int) -> EmbeddedEncoder:
        torch.manual_seed(seed)
        spec = VGGSpec(level=level, widths=(4,) * (3 if level == 2 else 5))
        return EmbeddedEncoder(Encoder(spec), [nn.Conv2d(4, 6, 1) for _ in range(level)])

    with torch.random.fork_rng():
        a, b = student(2, 0), student(3, 1)
        judge = Judge(Encoder(VGGSpec(level=1, widths=(6,))), [a, b], layers={}, sources={})
    features = judge.features(images())
    assert judge.widths == (6, 6, 6)
    torch.testing.assert_close(features[1], ((a.features(images())[1] + b.features(images())[1]) / 2).relu())
    torch.testing.assert_close(features[2], b.features(images())[2].relu())


def test_R10_a_missing_teacher_is_an_error(tmp_path: Path):
    with pytest.raises(WeightsError, match="vgg19"):
        build_judge(TeacherOptions(root=str(tmp_path)), 2, images())


def test_R10_a_teacher_of_another_hash_is_an_error(vgg_file: Path):
    options = TeacherOptions(root=str(vgg_file.parent), vgg=vgg_file.name, vgg_sha256="0" * 64)
    with pytest.raises(WeightsError, match="sha256"):
        build_judge(options, 2, images())


def test_a_teacher_that_is_too_short_is_an_error(vgg_file: Path):
    with pytest.raises(WeightsError, match="conv5_1"):
        build_judge(TeacherOptions(source=f"file:{vgg_file}"), 5, images())


@pytest.mark.shared
@pytest.mark.slow
def test_the_judge_agrees_with_the_released_embeddings_channel_by_channel(shared_data: Path):
    """An independent source: figures of the teachers' README."""
    _, pictures = load_pictures(shared_data / "train" / "photos-002.tar", short_side=300, smallest=128)
    crops = pictures.center_crops(128, 8)
    teachers = shared_data / "teachers"
    options = TeacherOptions(root=str(teachers))
    judged = build_judge(options, 3, crops).features(crops)
    embedded = import_embeddings(teachers / options.embeddings)[3].features(crops)
    for ours, theirs, expected in zip(judged, embedded, (0.985, 0.89, 0.82), strict=True):
        a, b = (f.detach().transpose(0, 1).flatten(1) for f in (ours, theirs.relu()))
        correlation = torch.stack([torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(a, b, strict=True)])
        assert correlation.nanmean().item() == pytest.approx(expected, abs=0.05)
        assert ours.mean().item() == pytest.approx(1, abs=0.5)
