import struct
import zlib
from pathlib import Path

import pytest
import torch
from fakes.looks import colors, smooth_look
from torch.testing import assert_close

from styleplugin.errors import InputImageError
from styleplugin.images.looks.hald import read_hald, write_hald
from styleplugin.images.looks.read import read_lut
from styleplugin.images.looks.table import LUT
from styleplugin.images.picture import from_channels
from styleplugin.images.read import read_image
from styleplugin.images.write import write_image

SHARED = Path(__file__).parents[4] / "shared" / "data"


@pytest.mark.parametrize("size", [17, 33, 65])
def test_a_hald_picture_gives_the_same_look(tmp_path, size):
    lut = smooth_look(size)
    write_hald(lut, tmp_path / "look.png")
    assert read_image(tmp_path / "look.png").bits == 16
    again = read_lut(tmp_path / "look.png")
    assert again.size >= size
    assert_close(again.apply(colors()), lut.apply(colors()), rtol=0, atol=1 / 255)


def save(table: torch.Tensor, path, bits: int = 8) -> None:
    """Write a table as a HALD picture that has its nodes."""
    side = round(len(table) ** 1.5)
    write_image(from_channels(table.reshape(side, side, 3).movedim(-1, 0)[None].clone(), bits=bits), path)


def as_squares(table: torch.Tensor) -> torch.Tensor:
    """The table whose HALD picture holds the squares of this one."""
    size, level = len(table), round(len(table) ** 0.5)
    return table.reshape(level, level, size, size, 3).transpose(1, 2).reshape(size, size, size, 3)


LOOKS = {
    "identity": lambda table: table,
    "warm": lambda table: smooth_look(len(table)).table,
    "negative": lambda table: 1 - table,
    "gray": lambda table: table.mean(-1, keepdim=True).expand(-1, -1, -1, 3),
    "infrared": lambda table: (1.4 * table[..., :1] - 0.2 * table[..., 2:]).clamp(0, 1).expand(-1, -1, -1, 3),
    "harsh": lambda table: (3 * table - 1).clamp(0, 1),
    "faded": lambda table: 0.3 + 0.4 * table,
}


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("level", [2, 3, 4, 8])
def test_looks_are_read_in_both_layouts(tmp_path, level, look):
    table = LOOKS[look](LUT.identity(level**2).table)
    for arrangement in (table, as_squares(table)):
        save(arrangement, tmp_path / "look.png")
        lut = read_hald(tmp_path / "look.png")
        assert lut.warnings == ()
        assert_close(lut.table, table, rtol=0, atol=0.51 / 255)
        (tmp_path / "look.png").unlink()


def picture_of_a_scene(side: int, seed: int) -> torch.Tensor:
    """What photographs are like: a light sky above, and detail at all scales, the coarse one strongest."""
    generator = torch.Generator().manual_seed(seed)
    sky = torch.linspace(0.8, 0.3, side)[:, None].expand(3, side, side)
    scene = sky[None].clone()
    for exponent in range(1, 8):
        coarse = torch.rand(1, 3, 2**exponent + 1, 2**exponent + 1, generator=generator) - 0.5
        scene += torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic") * 0.6 / exponent
    return scene.clamp(0, 1)


@pytest.mark.parametrize("level", [2, 3, 4, 5, 6, 8])
def test_pictures_with_the_sides_of_a_hald_are_refused(tmp_path, level):
    side, flat = level**3, torch.full((1, 3, level**3, level**3), 0.4)
    ramp = torch.linspace(0, 1, side).expand(1, 3, side, side)
    for picture in (picture_of_a_scene(side, level), flat, ramp, ramp.transpose(2, 3), torch.rand(1, 3, side, side)):
        write_image(from_channels(picture.clone(), bits=8), tmp_path / "photo.png")
        with pytest.raises(InputImageError, match="neighbors") as caught:
            read_hald(tmp_path / "photo.png")
        assert caught.value.code == "SP240"
        (tmp_path / "photo.png").unlink()


@pytest.mark.shared
@pytest.mark.slow
def test_photographs_and_artworks_are_refused(tmp_path):
    pictures = sorted((SHARED / "validation").glob("*/*.jpg"))[::8]
    for level in (3, 4, 8):
        for source in pictures:
            picture = read_image(source)
            side = min(picture.size)
            square = picture.rgb[:, :, :side, :side]
            scaled = torch.nn.functional.interpolate(square, size=(level**3,) * 2, mode="area")
            write_image(from_channels(scaled, bits=8), tmp_path / "photo.png")
            with pytest.raises(InputImageError, match="is not a usable look"):
                read_hald(tmp_path / "photo.png")
            (tmp_path / "photo.png").unlink()


def noisy(table: torch.Tensor) -> torch.Tensor:
    return table + torch.randn(table.shape, generator=torch.Generator().manual_seed(0)) * 1.5 / 255


def filtered(kernel: list[float]):
    """A filter over the rows of the HALD picture."""

    def run(table: torch.Tensor) -> torch.Tensor:
        side = round(len(table) ** 1.5)
        rows = table.reshape(side, side, 3).permute(0, 2, 1)
        weights = torch.tensor(kernel)[None, None].expand(3, 1, -1)
        mixed = torch.nn.functional.conv1d(rows, weights, padding=len(kernel) // 2, groups=3)
        return mixed.permute(0, 2, 1).reshape(table.shape)

    return run


@pytest.mark.parametrize(
    "edit", [noisy, filtered([-0.5, 2.0, -0.5]), filtered([0.2, 0.6, 0.2])], ids=["noise", "sharpened", "softened"]
)
@pytest.mark.parametrize("level", [5, 8])
def test_a_look_that_went_through_an_editor_is_read_with_a_note(tmp_path, level, edit):
    table = LOOKS["faded"](smooth_look(level**2).table)
    save(edit(table).clamp(0, 1), tmp_path / "look.png")
    (note,) = read_hald(tmp_path / "look.png").warnings
    assert "look.png seems to have gone through an editor" in note


def test_a_look_saved_as_jpeg_is_read_with_a_note(tmp_path):
    table = smooth_look(64).table
    save(table, tmp_path / "look.png")
    write_image(read_image(tmp_path / "look.png"), tmp_path / "look.jpg", quality=85)
    lut = read_hald(tmp_path / "look.jpg")
    assert_close(lut.apply(colors()), smooth_look(64).apply(colors()), rtol=0, atol=0.1)
    assert any("JPEG" in note for note in lut.warnings)


@pytest.mark.slow
@pytest.mark.parametrize(("level", "squares"), [(12, False), (12, True), (16, False)])
def test_larger_levels_are_resampled_with_a_note(tmp_path, level, squares):
    table = smooth_look(level**2).table
    save(as_squares(table) if squares else table, tmp_path / "large.png")
    lut = read_hald(tmp_path / "large.png")
    assert lut.warnings == (f"large.png has {level**2} steps of each color and was resampled to 129.",)
    assert lut.size == 129
    assert_close(lut.apply(colors()), smooth_look(129).apply(colors()), rtol=0, atol=1.5 / 255)


@pytest.mark.parametrize(
    ("sides", "code", "words"),
    [
        ((4913, 4913), "SP240", "it is 4913 x 4913"),
        ((9000, 6000), "SP240", "9000 x 6000"),
        ((40000, 40000), "SP205", "40000 x 40000"),
    ],
)
def test_a_huge_picture_is_refused_by_its_header(tmp_path, monkeypatch, sides, code, words):
    write_image(from_channels(torch.rand(1, 3, 8, 8), bits=8), tmp_path / "huge.png")
    data = bytearray((tmp_path / "huge.png").read_bytes())
    data[16:24] = struct.pack(">II", *sides)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (tmp_path / "huge.png").write_bytes(data)
    monkeypatch.setattr("styleplugin.images.looks.hald.read_image", lambda path: pytest.fail("it was decoded"))
    with pytest.raises(InputImageError, match=words) as caught:
        read_lut(tmp_path / "huge.png")
    assert caught.value.code == code


def test_a_picture_that_is_no_hald_is_refused(tmp_path):
    write_image(from_channels(torch.rand(1, 3, 8, 9), bits=8), tmp_path / "photo.png")
    with pytest.raises(InputImageError, match="9 x 8"):
        read_hald(tmp_path / "photo.png")
