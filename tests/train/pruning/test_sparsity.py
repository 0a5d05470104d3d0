import pytest
import torch
from fakes.networks import drawn

from styleplugin.networks.layers import Conv3x3
from styleplugin.networks.vgg import Decoder, Encoder, VGGSpec
from styleplugin.train.pairs.recipe import RULES as NAMES
from styleplugin.train.pruning.pruned import PrunedAutoencoder
from styleplugin.train.pruning.sparsity import DECAY, LIMIT, RULES, SPP, GReg, IncReg, Pruner, ranking_function


def layers(norms: list[float], width: int) -> list[tuple[Conv3x3, Conv3x3, int]]:
    """A layer whose filters have these L1 norms, and its reader."""
    conv, reader = Conv3x3(3, len(norms)), Conv3x3(len(norms), 3)
    with torch.no_grad():
        conv.weight.copy_(torch.tensor(norms)[:, None, None, None].expand_as(conv.weight) / 27)
        conv.get_parameter("bias").fill_(1)
        reader.weight.fill_(1)
    return [(conv, reader, width)]


def paced(pruner: Pruner, amplitude: float, every: int = 1) -> Pruner:
    pruner.pace(1, amplitude, every)
    return pruner


def advance(pruner: Pruner, steps: int) -> None:
    for _ in range(steps):
        with pruner.at_work():
            pass
        pruner.after()


def autoencoder(rule: str, steps: int = 40) -> PrunedAutoencoder:
    torch.manual_seed(0)
    spec = VGGSpec(level=2, widths=(8, 8, 12))
    autoencoder = PrunedAutoencoder(rule, *drawn(lambda: (Encoder(spec), Decoder(spec))), (4, 3, 6))
    autoencoder.pruner.pace(steps)
    return autoencoder


def test_the_ranking_function_at_the_numbers_of_the_papers():
    """u = 1/4 and m = 2 give alpha = ln(8)/2 and the center 4/3."""
    increments = ranking_function(2, 1.0, torch.arange(4.0))
    torch.testing.assert_close(increments, torch.tensor([1, 8**-0.5, 0, 0.5 - 2**0.5]), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("to_prune", [1, 7, 48])
def test_the_ranking_function_is_symmetric_about_its_center_and_zero_at_the_last_to_go(to_prune: int):
    center = to_prune * 2 / 3
    offsets = torch.linspace(0, center, 9)
    both = ranking_function(to_prune, 2.0, center - offsets) + ranking_function(to_prune, 2.0, center + offsets)
    torch.testing.assert_close(both, torch.full((9,), 1.0), rtol=1e-5, atol=1e-5)
    assert abs(ranking_function(to_prune, 2.0, torch.tensor([float(to_prune)])).item()) < 1e-5


def test_spp_lowers_the_keep_probabilities_by_rank():
    pruner = paced(SPP(layers([3, 1, 4, 2], width=2)), 0.05)
    advance(pruner, 1)
    # Ranks 2, 0, 3, 1; the increment of rank 3 is negative, and a probability is at most 1.
    expected = torch.tensor([1, 1 - 0.05, 1, 1 - 0.05 * 8**-0.5])
    torch.testing.assert_close(pruner.groups[0].value, expected)


def test_spp_updates_only_every_so_many_steps():
    pruner = paced(SPP(layers([3, 1, 4, 2], width=2)), 0.05, 3)
    advance(pruner, 2)
    assert pruner.groups[0].value.eq(1).all()
    advance(pruner, 1)
    assert pruner.groups[0].value[1].item() == pytest.approx(0.95)


def test_spp_removes_at_probability_0_and_scales_what_stays_once():
    (conv, reader, _) = (three := layers([3, 1, 4, 2], width=3))[0]
    pruner = paced(SPP(three), 1.0)
    # m = 1: alpha = ln 8, increments 1, 1/8 -> beyond the center 2/3: 1/2 - 8^(1/3) ... all others are kept at 1.
    advance(pruner, 1)
    assert pruner.groups[0].kept == [0, 2, 3]
    assert not conv.weight[1].any() and not conv.get_parameter("bias")[1].any() and not reader.weight[:, 1].any()
    assert pruner.groups[0].value.tolist() == [1, 0, 1, 1]
    pruner.groups[0].value[0] = 0.5
    before = conv.weight[0].clone()
    pruner._settle(pruner.groups[0])  # type: ignore[attr-defined]
    torch.testing.assert_close(conv.weight[0], before / 2)


def test_spp_hides_filters_in_a_step_and_gives_them_back():
    (conv, _, _) = (one := layers([1, 1, 1, 1], width=1))[0]
    pruner = paced(SPP(one), 0.05)
    pruner.groups[0].value.copy_(torch.tensor([0.0, 1.0, 0.0, 1.0]))
    before = conv.weight.detach().clone()
    with pruner.at_work():
        assert not conv.weight[[0, 2]].any()
        torch.testing.assert_close(conv.weight[[1, 3]], before[[1, 3]])
        conv(torch.rand(1, 3, 4, 4)).sum().backward()
        conv.weight.grad = torch.ones_like(conv.weight)
    torch.testing.assert_close(conv.weight.detach(), before)
    assert conv.weight.grad is not None and conv.weight.grad.flatten(1).sum(1).tolist() == [0, 27, 0, 27]


def test_increg_adds_increments_by_running_rank():
    pruner = paced(IncReg(layers([3, 1, 4, 2], width=2)), 1e-3)
    advance(pruner, 2)
    # Ranks 2, 0, 3, 1 at both steps; a penalty is never negative.
    expected = torch.tensor([0, 2e-3, 0, 2e-3 * 8**-0.5])
    torch.testing.assert_close(pruner.groups[0].value, expected, rtol=1e-4, atol=1e-8)


def test_increg_averages_ranks_over_the_steps():
    (conv, _, _) = (four := layers([3, 1, 4, 2], width=2))[0]
    pruner = paced(IncReg(four), 1e-6)
    advance(pruner, 1)
    with torch.no_grad():
        conv.weight[1] *= 1000
    advance(pruner, 1)
    # Ranks 2 0 3 1, then 1 3 2 0.
    assert pruner.groups[0].rank.tolist() == [1.5, 1.5, 2.5, 0.5]


def test_increg_shrinks_a_group_by_its_penalty_and_removes_it_at_the_limit():
    (conv, reader, _) = (four := layers([3, 1, 4, 2], width=3))[0]
    pruner = paced(IncReg(four), LIMIT / 2)
    advance(pruner, 1)
    factor = 1 - DECAY * LIMIT / 2
    assert conv.weight[1].sum().item() == pytest.approx(factor, rel=1e-5)
    assert reader.weight[:, 1].mean().item() == pytest.approx(factor, rel=1e-5)
    assert conv.get_parameter("bias")[1].item() == pytest.approx(factor, rel=1e-5)
    assert conv.weight[0].sum().item() == pytest.approx(3, rel=1e-5)
    advance(pruner, 1)
    assert pruner.groups[0].kept == [0, 2, 3]
    assert not conv.weight[1].any()


def test_greg_presses_the_filters_chosen_at_the_start():
    (conv, _, _) = (four := layers([3, 1, 4, 2], width=2))[0]
    pruner = paced(GReg(four), 0.5)
    advance(pruner, 3)
    assert pruner.groups[0].value.tolist() == [0, 1, 0, 1]
    # Penalties 0.5, 1 and 1 (the limit).
    assert conv.weight[1].sum().item() == pytest.approx((1 - DECAY / 2) * (1 - DECAY) ** 2, rel=1e-5)
    assert pruner.finish() == 2
    assert pruner.groups[0].kept == [0, 2]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("steps", [1, 60])
def test_exactly_the_asked_channels_are_removed(rule: str, steps: int):
    made = autoencoder(rule, steps)
    advance(made.pruner, steps)
    forced = made.pruner.finish()
    assert [len(keep) for keep in made.keeps().values()] == [4, 3, 6, 3, 4]
    assert 0 <= forced <= 4 + 5 + 6 + 5 + 4
    if rule != "greg" and steps == 60:
        assert forced == 0


@pytest.mark.parametrize("rule", RULES)
def test_cutting_changes_nothing(rule: str):
    made = autoencoder(rule)
    advance(made.pruner, 40)
    made.pruner.finish()
    images = torch.rand(2, 3, 32, 32)
    encoder, decoder = made.cut()
    assert encoder.spec.widths == decoder.spec.widths == (4, 3, 6)
    torch.testing.assert_close(decoder(encoder(images)), made.decoder(made.encoder(images)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("width", [0, -3, 9])
def test_R11_a_layer_keeps_one_channel_at_least_and_all_of_them_at_most(width: int):
    pruner = paced(IncReg(layers([3, 1, 4, 2], width=width)), 10.0)
    advance(pruner, 5)
    pruner.finish()
    assert len(pruner.groups[0].kept) == min(4, max(1, width))


def test_the_recipes_know_the_rules():
    assert tuple(RULES) == NAMES
