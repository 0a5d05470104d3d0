"""Students by least squares: exact where that is possible, nearer to the teacher than pruned ones elsewhere."""

import torch

from styleplugin.networks.vgg import Encoder, VGGSpec, convs_of_level
from styleplugin.train.data.pictures import step_generator
from styleplugin.train.pruning.filters import dead_fraction, draw_decoder, fit_embedding, prune_encoder
from styleplugin.train.pruning.reconstruct import (
    choose_channels,
    reconstruct_decoder,
    reconstruct_encoder,
    solve_filters,
)

from .test_filters import blocks, random, wide_layers

LEVEL = 3


def layers() -> dict[str, torch.Tensor]:
    """A teacher whose channels are each there twice, the second one stronger."""
    layers = wide_layers(LEVEL)
    for value in layers.values():
        value[4:] = 2 * value[:4]
    return layers


def teacher() -> Encoder:
    encoder = Encoder(VGGSpec(level=LEVEL, widths=(8,) * 5))
    encoder.load_state_dict(layers())
    return encoder.requires_grad_(False)


def spec(width: int) -> VGGSpec:
    return VGGSpec(level=LEVEL, widths=(width,) * 5)


def reconstructed(width: int) -> Encoder:
    return reconstruct_encoder(teacher(), spec(width), blocks(), step_generator(0, "test", 0))[0].requires_grad_(False)


def unexplained(encoder: Encoder) -> float:
    """Return the share of the teacher's variance that no linear map of the student's features explains."""
    images = blocks(1)
    wide = teacher()(images)
    missed = wide - fit_embedding(encoder(images), wide).requires_grad_(False)(encoder(images))
    return float(missed.var((0, 2, 3)).sum() / wide.var((0, 2, 3)).sum())


def test_a_student_as_wide_as_the_teacher_has_its_features():
    images = blocks(1)
    wide = teacher()(images)
    assert float((reconstructed(8)(images) - wide).std() / wide.std()) < 0.05


def test_a_narrow_one_is_nearer_to_the_teacher_than_a_pruned_one():
    pruned, _ = prune_encoder(layers(), spec(4), "activation", blocks(), step_generator(0, "test", 0))
    assert unexplained(pruned.requires_grad_(False)) > 0.1
    assert unexplained(reconstructed(4)) < 0.01
    assert dead_fraction(reconstructed(4), blocks()) == 0


def test_the_keep_lists_name_the_channels_of_the_teacher():
    encoder, keeps = reconstruct_encoder(teacher(), spec(4), blocks(), step_generator(0, "test", 0))
    encoder.requires_grad_(False)
    assert list(keeps) == list(convs_of_level(LEVEL))
    assert all(len(keep) == 4 and keep == sorted(set(keep)) for keep in keeps.values())
    images = blocks(1)
    own, wide = (network.features(images)[0] for network in (encoder, teacher()))
    assert float((own - wide[:, keeps["1_1"]]).std() / wide.std()) < 0.02


def test_the_same_places_are_drawn_again():
    first, second = (reconstructed(3).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_decoder_as_wide_as_the_teachers_has_its_pictures():
    features = random(8, 8, 8, 8)
    wide = draw_decoder(spec(8), features, step_generator(0, "test", 0)).requires_grad_(False)
    decoder = reconstruct_decoder(wide, spec(8), features, features, step_generator(0, "test", 1)).requires_grad_(False)
    expected = wide(features)
    assert float((decoder(features) - expected).std() / expected.std()) < 0.05


def test_channels_are_those_from_which_the_others_follow():
    base = torch.randn(500, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mixed = torch.stack([base[:, 0], base[:, 1], base[:, 0] + base[:, 1], 3 * base[:, 0]], 1)
    chosen = choose_channels(torch.cat([mixed, torch.zeros(500, 1, dtype=torch.float64)], 1), 2)
    assert len(chosen) == 2 and 4 not in chosen and chosen != [0, 3]
    assert choose_channels(mixed, 4) == choose_channels(mixed, 9) == [0, 1, 2, 3]
    assert len(choose_channels(torch.zeros(50, 5, dtype=torch.float64), 3)) == 3


def test_closed_places_may_be_closed_in_any_way():
    """One input cannot follow both sides of a ReLU's edge; with a ReLU behind it, the open side is all that counts."""
    inputs = torch.linspace(-1, 1, 401, dtype=torch.float64)[:, None]
    target = torch.where(inputs > 0, inputs, 3 * inputs)

    def error(relu: bool) -> float:
        weight, bias = solve_filters(inputs, target, relu=relu)
        return float(((inputs @ weight.T + bias).relu() - target.relu()).square().mean())

    assert error(True) < 0.5 * error(False)
