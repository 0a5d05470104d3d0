import itertools
import shutil
import subprocess

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from styleplugin.errors import InputImageError, NumericalError, UsageError
from styleplugin.images.color import delta_e, lab_to_rgb, rgb_to_lab
from styleplugin.images.lut import LUT, check_size, read_cube, read_hald, read_lut, tetrahedra, write_cube, write_hald
from styleplugin.images.lut_fit import fit_lut
from styleplugin.images.picture import from_channels
from styleplugin.images.small import read_image, write_image


def smooth_look(size: int) -> LUT:
    """A table as stylizations have them: warm lights, cold shadows, a curve."""
    colors = LUT.identity(size).table
    curve = colors**1.4 * (1.6 - 0.6 * colors)
    tint = torch.tensor([0.1, 0.0, -0.1]) * (colors.mean(-1, keepdim=True) - 0.5)
    return LUT((0.8 * curve + 0.1 + tint + 0.1 * (curve.flip(-1) - curve)).clamp(0, 1), "warm")


def colors(count: int = 400, seed: int = 0) -> torch.Tensor:
    return torch.rand(1, 3, 20, count // 20, generator=torch.Generator().manual_seed(seed))


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


@pytest.mark.parametrize("size", [17, 33])
def test_a_cube_file_comes_back(tmp_path, size):
    lut = smooth_look(size)
    write_cube(lut, tmp_path / "look.cube")
    again = read_lut(tmp_path / "look.cube")
    assert again.title == "warm"
    assert_close(again.table, lut.table, rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [17, 33, 65])
def test_a_hald_picture_gives_the_same_look(tmp_path, size):
    lut = smooth_look(size)
    write_hald(lut, tmp_path / "look.png")
    assert read_image(tmp_path / "look.png").bits == 16
    again = read_lut(tmp_path / "look.png")
    assert again.size >= size
    assert_close(again.apply(colors()), lut.apply(colors()), rtol=0, atol=1 / 255)


@pytest.mark.parametrize("title", ['a "quoted" one', "two\nlines", "tab\tand \0"])
def test_D11_any_title_gives_a_valid_file(tmp_path, title):
    lut = LUT(smooth_look(2).table, title)
    write_cube(lut, tmp_path / "look.cube")
    assert_close(read_cube(tmp_path / "look.cube").table, lut.table, rtol=0, atol=1e-6)
    assert len((tmp_path / "look.cube").read_text().splitlines()) == 5 + 8


def test_D11_a_table_that_is_not_finite_is_refused():
    with pytest.raises(NumericalError):
        LUT(torch.full((2, 2, 2, 3), torch.nan))


def test_other_domains_comments_and_line_ends_are_read(tmp_path):
    rows = [f"{r} {g} {b}" for b in (0, 2) for g in (0, 2) for r in (0, 2)]
    lines = ["# comment", "", 'TITLE "two"', "LUT_3D_SIZE 2", "DOMAIN_MIN 0 0 0", "DOMAIN_MAX 2 2 2", *rows]
    (tmp_path / "two.cube").write_bytes("\r\n".join(lines).encode())
    lut = read_cube(tmp_path / "two.cube")
    assert_close(lut.apply(colors()), colors(), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("LUT_3D_SIZE 2\n" + "0 0 0\n" * 7, "7 colors"),
        ("LUT_3D_SIZE 2\n" + "0 0 0\n" * 7 + "0 0\n", "line 9"),
        ("LUT_3D_SIZE 2\n" + "0 0 0\n" * 7 + "0 nan 0\n", "not finite"),
        ("LUT_3D_SIZE 999999\n", "line 1"),
        ("LUT_1D_SIZE 2\n0 0 0\n1 1 1\n", "1D"),
        ("LUT_3D_SIZE 2\nDOMAIN_MAX 0 0 0\n" + "0 0 0\n" * 8, "domain"),
        ("", "0 colors"),
        ("LUT_3D_SIZE ²\n", "line 1"),
        ("LUT_3D_SIZE ٣\n" + "0 0 0\n" * 27, "line 1"),
        (f"LUT_3D_SIZE {'9' * 5000}\n", "line 1"),
        ("LUT_3D_SIZE 2\nDOMAIN_MAX 1e-50 1 1\n" + "0 0 0\n" * 8, "domain"),
        ("LUT_3D_SIZE 2\nDOMAIN_MIN 1e8 0 0\nDOMAIN_MAX 100000001 1 1\n" + "0 0 0\n" * 8, "domain"),
        ("LUT_3D_SIZE 2\nDOMAIN_MIN -1e39 0 0\n" + "0 0 0\n" * 8, "line 2 holds a value beyond"),
        ("LUT_3D_SIZE 2\nDOMAIN_MAX 1e39 1 1\n" + "0 0 0\n" * 8, "line 2 holds a value beyond"),
        ("LUT_3D_SIZE 2\n" + "0 0 0\n" * 7 + "0 1e39 0\n", "line 9 holds a value beyond"),
    ],
)
def test_malformed_cube_files_are_refused_with_the_line(tmp_path, text, message):
    (tmp_path / "bad.cube").write_text(text, "utf-8")
    with pytest.raises(InputImageError, match=message) as caught:
        read_cube(tmp_path / "bad.cube")
    assert caught.value.code == "SP240"


@pytest.mark.parametrize(("low", "high"), [("0", "1e-5"), ("-1e9", "1e9"), ("0", "65504"), ("0.999998", "1")])
def test_the_widest_and_narrowest_domains_give_finite_colors(tmp_path, low, high):
    domain = f"DOMAIN_MIN {low} {low} {low}\nDOMAIN_MAX {high} {high} {high}\n"
    rows = [f"{r} {g} {b}" for b in (0, 1) for g in (0, 1) for r in (0, 1)]
    (tmp_path / "edge.cube").write_text("\n".join(["LUT_3D_SIZE 2", domain, *rows]))
    result = read_cube(tmp_path / "edge.cube").apply(torch.tensor([-1e9, 0.0, 0.5, 1.0, 1e9]).expand(1, 3, 1, 5))
    assert 0 <= float(result.min()) <= float(result.max()) <= 1


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_look_or_an_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("fuzz") / "fuzz.cube"
    path.write_bytes(b"LUT_3D_SIZE 2\n" + data)
    try:
        read_cube(path)
    except InputImageError as error:
        assert error.code == "SP240"


def test_a_picture_that_is_no_hald_is_refused(tmp_path):
    write_image(from_channels(torch.rand(1, 3, 8, 9), bits=8), tmp_path / "photo.png")
    with pytest.raises(InputImageError, match="9 x 8"):
        read_hald(tmp_path / "photo.png")


@pytest.mark.parametrize("size", [1, 130])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(UsageError, match="`size`"):
        check_size(size)


def test_a_fit_finds_the_look_again():
    picture, look = colors(40_000), smooth_look(33)
    fitted = fit_lut(picture, look.apply(picture), 17)
    others = colors(seed=1)
    difference = delta_e(rgb_to_lab(fitted.apply(others)), rgb_to_lab(look.apply(others)))
    assert float(difference.mean()) < 0.3
    assert float(difference.max()) < 2


def test_colors_that_a_picture_lacks_follow_those_it_has():
    dark = 0.3 * colors(4000)
    fitted = fit_lut(dark, (dark + torch.tensor([0.2, 0.0, -0.1])[:, None, None]).clamp(0, 1), 17)
    gray = torch.linspace(0, 1, 20).expand(1, 3, 1, 20)
    result = fitted.apply(gray)[0, :, 0]
    assert bool((result.diff(dim=1) > -0.01).all()), "no folds where nothing was seen"
    assert bool((result[0] >= result[1] - 1e-3).all()), "red stays in front"


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
    assert_close(lab_to_rgb(lab), colors(), rtol=0, atol=1e-4)


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg")
def test_ffmpeg_gives_our_result(tmp_path):
    picture = from_channels(colors(4000), bits=8)
    write_image(picture, tmp_path / "in.png")
    lut = smooth_look(33)
    write_cube(lut, tmp_path / "look.cube")
    filters = f"format=gbrp,lut3d=file={tmp_path / 'look.cube'}:interp=tetrahedral,format=rgb24"
    command = ["ffmpeg", "-v", "error", "-i", tmp_path / "in.png", "-vf", filters, tmp_path / "out.png"]
    subprocess.run(command, check=True)
    ours = lut.apply(read_image(tmp_path / "in.png").rgb).mul(255).round()
    theirs = read_image(tmp_path / "out.png").rgb.mul(255).round()
    assert float((ours - theirs).abs().max()) <= 2
    assert np.abs((ours - theirs).numpy()).mean() < 0.5
