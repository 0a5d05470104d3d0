from functools import partial

import pytest
import torch
from fakes.training import make_vgg
from torch import nn

from styleplugin.networks.vgg import Decoder, Encoder, VGGSpec, convs_of_level, student_spec, teacher_spec
from styleplugin.train.data.pictures import step_generator
from styleplugin.train.pruning.filters import (
    dead_fraction,
    draw_decoder,
    fit_embedding,
    keep_channels,
    prune_decoder,
    prune_encoder,
    reinitialize,
    selection_embedding,
)

COUNTS = {1: (684, 651), 2: (7_420, 7_379), 3: (35_164, 35_091), 4: (219_804, 219_667), 5: (810_140, 810_003)}
TEACHER_COUNTS = {1: 1_731, 2: 112_451, 3: 555_075, 4: 3_505_219, 5: 12_944_451}
PREPROCESS = 12


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def blocks(seed: int = 0) -> torch.Tensor:
    """Pictures of large flat blocks: on noise a random filter's channel is easily dead."""
    return random(8, 3, 4, 4, seed=seed).repeat_interleave(8, 2).repeat_interleave(8, 3)


wide_layers = partial(make_vgg, seed=1)


def prune(level: int, width: int, importance: str = "l1", known: int | None = None):
    layers = wide_layers(known or level)
    spec = VGGSpec(level=level, widths=(width,) * len(convs_of_level(level)))
    return prune_encoder(layers, spec, importance, blocks(), step_generator(0, "test", 0))


@pytest.mark.parametrize("level", COUNTS)
def test_students_have_the_parameters_of_the_paper(level: int):
    spec = student_spec(level)
    sizes = [sum(p.numel() for p in half(spec).parameters()) for half in (Encoder, Decoder)]
    assert (sizes[0] + PREPROCESS, sizes[1]) == COUNTS[level]
    assert sum(p.numel() for p in Decoder(teacher_spec(level)).parameters()) == TEACHER_COUNTS[level]


def test_the_strongest_filters_are_kept_in_their_order():
    assert keep_channels(torch.tensor([1.0, 9.0, 3.0, 7.0]), 2) == [1, 3]
    assert keep_channels(torch.tensor([1.0, 2.0]), 5) == [0, 1]


@pytest.mark.parametrize("importance", ["l1", "activation"])
def test_pruning_to_full_width_changes_nothing(importance: str):
    encoder, keeps = prune(3, 8, importance)
    teacher = Encoder(encoder.spec)
    teacher.load_state_dict(wide_layers(3))
    images = blocks(3)
    torch.testing.assert_close(encoder(images), teacher(images), rtol=1e-3, atol=1e-3)
    assert all(keep == list(range(8)) for keep in keeps.values())


def test_a_layer_takes_the_filters_and_inputs_of_the_keep_lists():
    encoder, keeps = prune(2, 4)
    expected = wide_layers(2)["conv1_2.weight"][keeps["1_2"]][:, keeps["1_1"]]
    weight = encoder.get_submodule("conv1_2").weight
    ratio = (weight / expected).flatten(1)
    # Equal up to a positive factor for each filter.
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-3, atol=1e-3)
    assert (ratio > 0).all()


@pytest.mark.parametrize("width", [1, 4])
def test_R11_a_student_of_any_width_has_no_dead_channels(width: int):
    encoder, keeps = prune(3, width, known=2)
    assert list(keeps) == list(convs_of_level(2))
    assert dead_fraction(encoder, blocks()) == 0


def test_the_embedding_puts_kept_channels_where_they_came_from():
    embedding = selection_embedding([1, 3], 5)
    features = random(1, 2, 3, 3)
    result = embedding(features)
    torch.testing.assert_close(result[:, [1, 3]], features)
    torch.testing.assert_close(result[:, [0, 2, 4]], torch.ones(1, 3, 3, 3))


def test_a_fitted_embedding_finds_an_exact_one():
    exact = nn.Conv2d(3, 6, 1).requires_grad_(False)
    features = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    fitted = fit_embedding(features, exact(features), ridge=1e-9)
    torch.testing.assert_close(fitted(features), exact(features), rtol=1e-4, atol=1e-4)


def test_a_decoder_absorbs_the_embedding_exactly():
    """At full width the student decoder equals the teacher's decoder behind the embedding."""
    wide = VGGSpec(level=2, widths=(6, 6, 8))
    narrow = VGGSpec(level=2, widths=(6, 6, 4))
    features = random(4, 4, 8, 8)
    embedding = nn.Conv2d(4, 8, 1).requires_grad_(False)
    teacher = draw_decoder(wide, embedding(features), step_generator(0, "test", 0))
    decoder = prune_decoder(teacher, embedding, narrow, "l1", features)
    torch.testing.assert_close(decoder(features), teacher(embedding(features)), rtol=1e-3, atol=1e-3)


def test_a_drawn_decoder_begins_with_gray_pictures_and_no_dead_channel():
    features = random(4, 8, 4, 4)
    decoder = draw_decoder(VGGSpec(level=3, widths=(8,) * 5), features, step_generator(0, "test", 0))
    picture = decoder(features)
    assert abs(picture.mean().item() - 0.5) < 0.05
    assert 0.01 < picture.std().item() < 0.2
    assert dead_fraction(decoder, features) == 0


def test_dead_channels_are_counted_and_revived_without_disturbing_the_output():
    encoder, _ = prune(2, 8)
    encoder.get_submodule("conv1_2").get_parameter("bias").data[1] = -1e6
    images = blocks()
    assert dead_fraction(encoder, images) >= 1 / 24
    before = encoder(images)
    assert reinitialize(encoder, images, step_generator(0, "test", 0)) >= 1
    assert dead_fraction(encoder, images) == 0
    assert (encoder(images) - before).std() < 0.3 * before.std()
