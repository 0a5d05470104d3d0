import itertools

import pytest
import torch
from fakes.looks import colors, smooth_look
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from styleplugin.errors import NumericalError, TensorInputError, UsageError
from styleplugin.images.looks.table import LUT, Curves, check_size, tetrahedra


def test_the_identity_changes_nothing():
    corners = torch.tensor(list(itertools.product((0.0, 1.0), repeat=3))).T.reshape(1, 3, 1, 8)
    assert_close(LUT.identity(17).apply(corners), corners, rtol=0, atol=0)
    picture = colors()
    assert_close(LUT.identity(17).apply(picture), picture, rtol=0, atol=1e-6)


def test_an_affine_map_of_the_colors_is_exact_between_the_nodes():
    matrix, bias = torch.tensor([[0.5, 0.2, 0.1], [0.1, 0.6, 0.0], [0.0, 0.3, 0.4]]), torch.tensor([0.1, 0.05, 0.2])
    lut = LUT(LUT.identity(5).table @ matrix.T + bias)
    wanted = torch.einsum("kc,nchw->nkhw", matrix, colors()) + bias[:, None, None]
    assert_close(lut.apply(colors()), wanted, rtol=0, atol=1e-6)


@given(st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3), st.integers(2, 9))
def test_a_color_lies_in_the_tetrahedron_of_its_nodes(color, size):
    nodes, weights = tetrahedra(torch.tensor([color], dtype=torch.float64), size)
    assert float(weights.min()) >= 0
    assert float(weights.sum()) == pytest.approx(1)
    places = LUT.identity(size).table.reshape(-1, 3)[nodes[0]].double()
    assert_close(weights[0] @ places, torch.tensor(color, dtype=torch.float64), rtol=0, atol=1e-6)


def test_interpolation_is_that_of_the_six_tetrahedra():
    lut, size = smooth_look(4), 4
    for color in colors(40).reshape(3, -1).T.tolist():
        place = [value * (size - 1) for value in color]
        cell = [min(int(value), size - 2) for value in place]
        f = [a - b for a, b in zip(place, cell, strict=True)]
        order = next(o for o in itertools.permutations(range(3)) if f[o[0]] >= f[o[1]] >= f[o[2]])
        corner, wanted = list(cell), (1 - f[order[0]]) * lut.table[cell[2], cell[1], cell[0]]
        for step, axis in enumerate(order):
            corner[axis] += 1
            weight = f[axis] - (f[order[step + 1]] if step < 2 else 0)
            wanted = wanted + weight * lut.table[corner[2], corner[1], corner[0]]
        assert_close(lut.apply(torch.tensor(color).reshape(1, 3, 1, 1)).flatten(), wanted, rtol=0, atol=1e-5)


def test_D11_a_table_that_is_not_finite_is_refused():
    with pytest.raises(NumericalError):
        LUT(torch.full((2, 2, 2, 3), torch.nan))


@pytest.mark.parametrize("size", [1, 130])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(UsageError, match="`size`"):
        check_size(size)


@pytest.mark.parametrize("size", [2, 17, 33])
def test_the_identity_changes_nothing_outside_of_0_to_1_either(size):
    wide = colors() * 3 - 1
    assert_close(LUT.identity(size).apply(wide), wide, rtol=0, atol=1e-6)
    curves = Curves(torch.linspace(0, 1, 9)[:, None].expand(-1, 3))
    assert_close(LUT(LUT.identity(size).table, curves=curves).apply(wide), wide, rtol=0, atol=1e-6)


def test_colors_beyond_the_table_go_on_where_its_edge_ends():
    lut = smooth_look(5)
    edge = colors().round()
    for beyond in (0.25, 1e-6):
        outside = edge + beyond * (2 * edge - 1)
        assert_close(lut.apply(outside), lut.apply(edge) + outside - edge, rtol=0, atol=1e-6)


def test_curves_come_before_the_table_and_are_linear_between_their_places():
    scale = torch.tensor([1.0, 0.5, 0.8])
    curves = Curves(torch.tensor([0.0, 0.5, 0.25, 1.0])[:, None] * scale, (-1.0,) * 3, (2.0,) * 3)
    swapped = LUT(LUT.identity(3).table.flip(-1), curves=curves)
    gray = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0, 2.0])
    wanted = torch.tensor([0.0, 0.25, 0.5, 0.375, 0.25, 1.0]) * scale.flip(0)[:, None]
    assert_close(swapped.apply(gray.expand(1, 3, 1, -1))[0, :, 0], wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_colors_that_are_not_finite_are_refused(value):
    with pytest.raises(TensorInputError):
        smooth_look(3).apply(torch.full((1, 3, 1, 1), value))
