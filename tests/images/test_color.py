from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from styleplugin.images.color import lab_to_rgb, luminance, rgb_to_lab, with_luminance_of


def colors(count: int = 64, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.rand(2, 3, count, 1, generator=torch.Generator().manual_seed(0), dtype=dtype)


# sRGB to CIE Lab, D65, as tabulated by Bruce Lindbloom's calculator.
KNOWN = {
    (1, 1, 1): (100, 0, 0),
    (0, 0, 0): (0, 0, 0),
    (1, 0, 0): (53.2408, 80.0925, 67.2032),
    (0, 1, 0): (87.7347, -86.1827, 83.1793),
    (0, 0, 1): (32.2970, 79.1875, -107.8602),
    (0.5, 0.5, 0.5): (53.3890, 0, 0),
}


@pytest.mark.parametrize(("rgb", "lab"), KNOWN.items())
def test_lab_has_the_tabulated_values(rgb, lab):
    converted = rgb_to_lab(torch.tensor(rgb, dtype=torch.float64).view(1, 3, 1, 1)).flatten()
    torch.testing.assert_close(converted, torch.tensor(lab, dtype=torch.float64), atol=2e-2, rtol=0)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-9)])
def test_lab_round_trip(dtype, tolerance):
    rgb = torch.cat([colors(dtype=dtype), torch.zeros(2, 3, 1, 1, dtype=dtype)], dim=2)
    before = rgb.clone()
    back = lab_to_rgb(rgb_to_lab(rgb))
    assert back.dtype == dtype and back.shape == rgb.shape
    torch.testing.assert_close(back, rgb, atol=tolerance, rtol=0)
    assert rgb.equal(before)


def test_lab_to_rgb_leaves_its_input_alone():
    lab = rgb_to_lab(colors())
    before = lab.clone()
    lab_to_rgb(lab)
    assert lab.equal(before)


def test_lab_is_finite_outside_the_gamut():
    assert rgb_to_lab(colors() * 4 - 2).isfinite().all()
    assert lab_to_rgb(rgb_to_lab(colors()) * 3 - 100).isfinite().all()


@given(st.floats(0, 1, width=32))
@settings(max_examples=50, deadline=None)
def test_luminance_of_gray_is_exact(value):
    assert luminance(torch.full((1, 3, 1, 1), value)).item() == value


def test_luminance_weights_are_those_of_bt601():
    primaries = torch.eye(3).view(3, 3, 1, 1)
    torch.testing.assert_close(luminance(primaries).flatten(), torch.tensor([0.299, 0.587, 0.114]))


def test_one_luminance_and_another_chroma():
    content, output = colors(), colors().flip(2)
    mixed = with_luminance_of(output, content)
    torch.testing.assert_close(luminance(mixed), luminance(output))
    torch.testing.assert_close(mixed - luminance(mixed), content - luminance(content))


def test_a_picture_with_its_own_luminance_stays():
    assert with_luminance_of(colors(), colors()).equal(colors())
