import math

import pytest
import torch

from styleplugin.transforms.weave import ALLOWED, weave_error

FLAT = torch.full((1, 3, 96, 96), 0.5)
GENERATOR = torch.Generator().manual_seed(0)
NOISE = 0.5 + 0.1 * torch.randn(1, 1, 96, 96, generator=GENERATOR).expand(1, 3, 96, 96)
PLACE = torch.arange(96, dtype=torch.float32)


def cloth(period: float) -> torch.Tensor:
    line = 0.05 * torch.sin(2 * torch.pi * PLACE / period)
    return 0.5 + (line[:, None] + line[None]).expand(1, 3, 96, 96)


def test_cloth_is_an_error_and_what_has_no_direction_is_none():
    assert weave_error(NOISE, FLAT).item() == 0
    assert weave_error(FLAT, FLAT).item() == 0
    for period in (4, 8):
        assert 0.08 < weave_error(cloth(period), FLAT).item() < 2 * (0.5 - ALLOWED) ** 2 + 0.01


def test_only_periods_that_are_seen_as_cloth_count():
    assert weave_error(NOISE + cloth(2.2) - 0.5, FLAT).item() == 0
    assert weave_error(NOISE + cloth(4) - 0.5, FLAT).item() > 0
    slope = (PLACE / 96)[:, None].expand(1, 3, 96, 96)
    assert weave_error(slope + 0.02 * (NOISE - 0.5), FLAT).item() == 0


@pytest.mark.parametrize("degrees", [0, 22.5, 45, 60, 90, 135])
def test_hatching_is_as_wrong_as_cloth_in_whichever_direction(degrees: float):
    across = PLACE * math.cos(math.radians(degrees)) + PLACE[:, None] * math.sin(math.radians(degrees))
    hatching = 0.5 + 0.05 * torch.sin(across).expand(1, 3, 96, 96)
    assert weave_error(hatching, FLAT).item() > 0.2
    assert weave_error(NOISE + hatching - 0.5, FLAT).item() > 0


def test_strokes_may_go_in_other_directions_in_other_places():
    turning = 2 * torch.pi * ((PLACE - 48).square()[:, None] + (PLACE - 48).square()).sqrt() / 6
    rings = 0.5 + 0.05 * torch.sin(turning).expand(1, 3, 96, 96)
    assert weave_error(rings, FLAT) < 0.1 * weave_error(cloth(6), FLAT)


def test_where_the_content_is_busy_lines_may_be():
    busy = torch.cat([FLAT[..., :48], 0.5 + 3 * (NOISE[..., 48:] - 0.5)], 3)
    lines_in_busy = torch.cat([NOISE[..., :48], cloth(4)[..., 48:]], 3)
    lines_in_flat = torch.cat([cloth(4)[..., :48], NOISE[..., 48:]], 3)
    assert weave_error(lines_in_busy, busy) < weave_error(lines_in_flat, busy) / 4


def test_its_gradient_takes_the_cloth_away():
    output = (NOISE + cloth(6) - 0.5).requires_grad_()
    before = weave_error(output, FLAT)
    (gradient,) = torch.autograd.grad(before, output)
    assert gradient.isfinite().all()
    assert weave_error(output - 0.02 * gradient / gradient.abs().max(), FLAT) < before
    flat = FLAT.clone().requires_grad_()
    (at_rest,) = torch.autograd.grad(weave_error(flat, FLAT), flat)
    assert (at_rest == 0).all()


def test_it_is_float32_in_a_training_of_bfloat16():
    with torch.autocast("cpu", torch.bfloat16):
        inside = weave_error(cloth(4), FLAT)
    assert torch.equal(inside, weave_error(cloth(4), FLAT))
