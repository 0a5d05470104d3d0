from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from styleplugin.errors import WeightsError
from styleplugin.networks.model import pairing_id
from styleplugin.networks.pairs import Pair, PairModel, PairSpec
from styleplugin.networks.vgg import VGGSpec, student_spec


def test_a_pair_keeps_the_size_of_a_picture(make_pair: Callable[..., Pair]) -> None:
    for level in range(1, 6):
        assert make_pair(level)(torch.rand(2, 3, 32, 48)).shape == (2, 3, 32, 48)


def test_a_model_reconstructs_deepest_level_first(tiny_model: PairModel) -> None:
    image = torch.rand(1, 3, 16, 16)
    expected = tiny_model.pair(1)(tiny_model.pair(2)(tiny_model.pair(3)(image)))
    assert tiny_model.levels == (3, 2, 1)
    torch.testing.assert_close(tiny_model(image), expected)


def test_tensor_names_say_where_they_belong(tiny_model: PairModel) -> None:
    names = tiny_model.state_dict()
    assert {"pairs.3.encoder.conv1_1.weight", "pairs.1.decoder.conv1_1.bias"} <= set(names)
    assert not any("preprocess" in name for name in names)


def test_a_spec_survives_its_dictionary() -> None:
    spec = PairSpec(encoder=student_spec(4), decoder=student_spec(4, final_relu=False))
    assert PairSpec.from_dict(spec.to_dict()) == spec


def test_halves_must_meet_in_level_and_channels() -> None:
    for decoder in (student_spec(2), VGGSpec(level=1, widths=(16,))):
        with pytest.raises(WeightsError, match="same level and channels"):
            PairSpec(encoder=student_spec(1), decoder=decoder)


def test_a_decoder_may_have_other_inner_widths() -> None:
    spec = PairSpec(encoder=VGGSpec(level=2, widths=(4, 5, 6)), decoder=VGGSpec(level=2, widths=(7, 8, 6)))
    assert Pair(spec)(torch.rand(1, 3, 8, 8)).shape == (1, 3, 8, 8)


def test_impossible_models_are_refused(make_pair: Callable[..., Pair]) -> None:
    for levels in ([], [1, 1]):
        with pytest.raises(WeightsError):
            PairModel("wct", [make_pair(level) for level in levels])


def test_the_pairing_id_belongs_to_the_values_not_to_their_precision(make_pair: Callable[..., Pair]) -> None:
    encoder = make_pair(2).encoder
    half = make_pair(2).encoder.half().float()
    assert pairing_id(encoder) == pairing_id(half)
    assert pairing_id(encoder) != pairing_id(make_pair(2, seed=1).encoder)
