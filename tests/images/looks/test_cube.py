import locale
import shutil
import subprocess

import numpy as np
import pytest
import torch
from fakes.looks import colors, smooth_look
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close

from styleplugin.errors import InputImageError
from styleplugin.images.looks.cube import read_cube, write_cube
from styleplugin.images.looks.read import read_lut
from styleplugin.images.looks.table import LUT, Curves
from styleplugin.images.picture import from_channels
from styleplugin.images.read import read_image
from styleplugin.images.write import write_image


@pytest.mark.parametrize("size", [17, 33])
def test_a_cube_file_comes_back(tmp_path, size):
    lut = smooth_look(size)
    write_cube(lut, tmp_path / "look.cube")
    again = read_lut(tmp_path / "look.cube")
    assert again.title == "warm"
    assert_close(again.table, lut.table, rtol=0, atol=1e-6)


@pytest.mark.parametrize("title", ['a "quoted" one', "two\nlines", "tab\tand \0"])
def test_D11_any_title_gives_a_valid_file(tmp_path, title):
    lut = LUT(smooth_look(2).table, title)
    write_cube(lut, tmp_path / "look.cube")
    assert_close(read_cube(tmp_path / "look.cube").table, lut.table, rtol=0, atol=1e-6)
    assert len((tmp_path / "look.cube").read_text().splitlines()) == 5 + 8


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
        ("LUT_3D_SIZE 2\n" + "nan 0 0\n" * 8, "line 2 holds a value that is not finite"),
        ("LUT_3D_SIZE 2\n" + "-Inf 0 0\n" * 8, "line 2 holds a value that is not finite"),
        ("LUT_3D_SIZE 2\n" + "nan(ind) 0 0\n" * 8, "line 2 holds a value that is not finite"),
        ("LUT_3D_SIZE 2\n" + "0 0 -1.#IND00\n" * 8, "line 2 holds a value that is not finite"),
        ("LUT_3D_SIZE 2\nDOMAIN_MAX nan 1 1\n" + "0 0 0\n" * 8, "line 2 holds a value that is not finite"),
        ("LUT_3D_SIZE 2\n" + "0 0 1_0\n" * 8, "line 2 is '0 0 1_0'; three numbers"),
        ("LUT_3D_SIZE 2\n" + "0,5 0 0\n" * 8, "line 2 is '0,5 0 0'; three numbers"),
        ("LUT_1D_SIZE 65537\n", "from 2 to 65536"),
        ("LUT_1D_SIZE 2\nLUT_3D_SIZE 2\n" + "0 0 0\n" * 9, "9 colors, and its size 2 needs 10"),
        ("LUT_1D_SIZE 3\n" + "0 0 0\n" * 2, "2 colors, and its size 3 needs 3"),
        ("LUT_3D_SIZE 2\nLUT_3D_INPUT_RANGE 1\n", "line 2 is 'LUT_3D_INPUT_RANGE 1'; two numbers"),
        ("LUT_3D_SIZE 2\nLUT_3D_INPUT_RANGE 1 1\n" + "0 0 0\n" * 8, "domain"),
        ("LUT_3D_SIZE 2\nDOMAIN_MAX 1 1 1\nLUT_3D_INPUT_RANGE 0 2\n" + "0 0 0\n" * 8, "input range says otherwise"),
        ("LUT_3D_SIZE 2\nLUT_IN_VIDEO_RANGE\n" + "0 0 0\n" * 8, "line 2 is LUT_IN_VIDEO_RANGE; it maps video range"),
        ("lut_out_video_range\nLUT_3D_SIZE 2\n" + "0 0 0\n" * 8, "line 1 is LUT_OUT_VIDEO_RANGE"),
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
    assert bool(result.isfinite().all())
    assert bool((result.diff(dim=-1) >= 0).all())


def corner_rows(high: float = 1.0) -> list[str]:
    """The rows of a table of two steps that changes nothing between 0 and `high`."""
    return [f"{r} {g} {b}" for b in (0, high) for g in (0, high) for r in (0, high)]


def read_text(folder, *lines: str) -> LUT:
    (folder / "look.cube").write_text("\n".join(lines), "utf-8")
    return read_lut(folder / "look.cube")


@pytest.mark.parametrize(
    "domain", ["LUT_3D_INPUT_RANGE 0.0 2.0", "DOMAIN_MAX 2 2 2", "DOMAIN_MAX 2 2 2\nLUT_3D_INPUT_RANGE 0 2"]
)
def test_an_input_range_is_the_domain(tmp_path, domain):
    lut = read_text(tmp_path, "LUT_3D_SIZE 2", domain, *corner_rows(2))
    assert (lut.low, lut.high, lut.warnings) == ((0.0,) * 3, (2.0,) * 3, ())
    assert_close(lut.apply(2 * colors()), 2 * colors(), rtol=0, atol=1e-6)


def test_unknown_keywords_are_a_note(tmp_path):
    words = ["LUT_3D_SIZE 2", "LUT_3D_OUTPUT_RANGE 0 1", "LUT_MOOD blue", "Created by hand", "INFO 1"]
    (note,) = read_text(tmp_path, *words, *corner_rows()).warnings
    assert note == (
        "look.cube has keywords that are unknown and were ignored: LUT_3D_OUTPUT_RANGE, LUT_MOOD, CREATED, INFO."
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_byte_order_marks_and_line_ends_of_every_kind_are_read(tmp_path, encoding, end):
    mark = "\ufeff" if "16" in encoding else ""
    text = mark + end.join(["LUT_3D_SIZE 2", 'TITLE "näher\u2028#1 at \x0b night"', *corner_rows()])
    (tmp_path / "look.cube").write_bytes(text.encode(encoding))
    lut = read_cube(tmp_path / "look.cube")
    assert lut.title == "näher\u2028#1 at \x0b night"
    assert_close(lut.table, LUT.identity(2).table)


def test_comments_may_stand_behind_rows_and_keywords(tmp_path):
    rows = [row + comment for row, comment in zip(corner_rows(), [" # black", "\t#", " #1 2 3", ""] * 2, strict=True)]
    lut = read_text(tmp_path, "  # indented", "LUT_3D_SIZE 2 # two", *rows, "# the end")
    assert_close(lut.table, LUT.identity(2).table)
    assert lut.warnings == ()


@pytest.mark.parametrize("domain", ["LUT_1D_INPUT_RANGE -1 1", "DOMAIN_MIN -1 -1 -1"])
def test_one_dimensional_tables_are_applied(tmp_path, domain):
    lut = read_text(tmp_path, "LUT_1D_SIZE 3", domain, "0 1 0", "0.5 0.5 0", "1 0 0.5")
    result = lut.apply(torch.tensor([-1.0, -0.5, 0.0, 0.5]).expand(1, 3, 1, -1))[0, :, 0]
    wanted = torch.tensor([[0, 0.25, 0.5, 0.75], [1, 0.75, 0.5, 0.25], [0, 0, 0, 0.25]])
    assert_close(result, wanted, rtol=0, atol=1e-6)


def test_a_shaper_is_applied_before_the_3d_table(tmp_path):
    ranges = ["LUT_1D_SIZE 6", "LUT_1D_INPUT_RANGE -1.0 3.0", "LUT_3D_SIZE 2", "LUT_3D_INPUT_RANGE 0.0 4.0"]
    shaper = [f"{value} {value} {value}" for value in (4.0, 3.2, 2.4, 1.6, 0.8, 0.0)]
    swapped = [f"{b / 4} {g / 4} {r / 4}" for b in (0, 4) for g in (0, 4) for r in (0, 4)]
    lut = read_text(tmp_path, *ranges, *shaper, *swapped)
    # The shaper turns x into 3 - x, the table divides by 4 and swaps red and blue.
    wanted = ((3 - (4 * colors() - 1)) / 4).flip(1)
    assert_close(lut.apply(4 * colors() - 1), wanted, rtol=0, atol=1e-5)


def test_a_look_with_curves_comes_back(tmp_path):
    curves = Curves(torch.linspace(0, 1, 33)[:, None].pow(0.5).expand(-1, 3), (0.0,) * 3, (4.0,) * 3)
    lut = LUT(smooth_look(5).table, curves=curves)
    write_cube(lut, tmp_path / "look.cube")
    again = read_cube(tmp_path / "look.cube")
    assert_close(again.apply(5 * colors()), lut.apply(5 * colors()), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1e-5), (-0.125, 1.5), (0.0, 65504.0)])
def test_D11_any_domain_gives_a_valid_file(tmp_path, low, high):
    write_cube(LUT(smooth_look(2).table, "", (low,) * 3, (high,) * 3), tmp_path / "look.cube")
    again = read_cube(tmp_path / "look.cube")
    assert (again.low, again.high) == ((low,) * 3, (high,) * 3)


@pytest.mark.parametrize("size", [2, pytest.param(129, marks=pytest.mark.slow)])
def test_D11_the_smallest_and_the_largest_table_come_back(tmp_path, size):
    write_cube(LUT.identity(size), tmp_path / "look.cube")
    assert_close(read_cube(tmp_path / "look.cube").table, LUT.identity(size).table, rtol=0, atol=1e-6)


def test_D11_a_locale_with_decimal_commas_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(locale, "_override_localeconv", {"decimal_point": ",", "thousands_sep": "."})
    write_cube(LUT(smooth_look(3).table, "", (0.0,) * 3, (1234.5,) * 3), tmp_path / "look.cube")
    text = (tmp_path / "look.cube").read_text().split("# Color space")[1].split("\n", 1)[1]
    assert "," not in text
    assert "DOMAIN_MAX 1234.5 1234.5 1234.5" in text


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_look_or_an_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("fuzz") / "fuzz.cube"
    path.write_bytes(b"LUT_3D_SIZE 2\n" + data)
    try:
        read_cube(path)
    except InputImageError as error:
        assert error.code == "SP240"


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
