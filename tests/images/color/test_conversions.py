from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from styleplugin.images.color.conversions import delta_e, lab_to_rgb, luminance, rgb_to_lab, with_luminance_of


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


@pytest.mark.parametrize(
    ("first", "second", "difference"),
    [
        ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
        ((50.0, -1.3802, -84.2814), (50.0, 0.0, -82.7485), 1.0),
        ((50.0, 2.5, 0.0), (50.0, 0.0, -2.5), 4.3065),
        ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0009), 7.1792),
        ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0011), 7.2195),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((22.7233, 20.0904, -46.694), (23.0331, 14.973, -42.5619), 2.0373),
        ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_the_color_difference_is_that_of_sharmas_table(first, second, difference):
    pair = [torch.tensor(lab, dtype=torch.float64).reshape(1, 3, 1, 1) for lab in (first, second)]
    assert float(delta_e(*pair)) == pytest.approx(difference, abs=1e-4)
    assert float(delta_e(*pair[::-1])) == pytest.approx(difference, abs=1e-4)


def test_equal_colors_do_not_differ():
    lab = rgb_to_lab(colors())
    assert float(delta_e(lab, lab).max()) == 0
