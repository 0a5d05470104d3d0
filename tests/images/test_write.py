"""Pictures that are written."""

from __future__ import annotations

import os

import numpy as np
import pytest
from fakes.pictures import save, scene
from PIL import Image

from styleplugin.errors import OutputError, StylePluginWarning
from styleplugin.images.color.profiles import SRGB_PROFILE
from styleplugin.images.picture import Picture, to_array
from styleplugin.images.read import read_image, to_picture
from styleplugin.images.write import check_output, losses, write_image


@pytest.mark.parametrize("extension", [".png", ".tif", ".bmp"])
def test_D10_lossless_formats_come_back_equal(tmp_path, extension):
    for channels in (3, 4) if extension != ".bmp" else (3,):
        samples = scene(channels=channels)
        samples[..., -1] = 77
        path = tmp_path / f"{channels}{extension}"
        write_image(to_picture(samples), path)
        picture = read_image(path)
        np.testing.assert_array_equal(to_array(picture), samples)
        assert picture.warnings == ()


@pytest.mark.parametrize("extension", [".png", ".jpg", ".webp", ".tif"])
def test_outputs_say_that_they_are_srgb(tmp_path, extension):
    write_image(to_picture(scene()), tmp_path / f"x{extension}")
    with Image.open(tmp_path / f"x{extension}") as image:
        assert image.info["icc_profile"] == SRGB_PROFILE


@pytest.mark.parametrize("extension", [".jpg", ".webp"])
def test_quality_decides_the_size_of_lossy_files(tmp_path, extension):
    picture = to_picture(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8))
    for quality in (50, 95):
        write_image(picture, tmp_path / f"{quality}{extension}", quality=quality)
    assert (tmp_path / f"50{extension}").stat().st_size < (tmp_path / f"95{extension}").stat().st_size


@pytest.mark.parametrize("extension", [".png", ".jpg", ".webp", ".tif", ".bmp"])
def test_noise_can_be_written_in_every_format(tmp_path, extension):
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3)).astype(np.uint8)
    write_image(to_picture(noise), tmp_path / f"x{extension}", quality=100)
    assert read_image(tmp_path / f"x{extension}").size == (300, 400)


def test_D02_missing_and_unusable_folders_are_found_before_the_work(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    for path in (tmp_path / "missing" / "x.png", tmp_path / "file" / "x.png"):
        with pytest.raises(OutputError) as caught:
            check_output(path, overwrite=False)
        assert caught.value.code == "SP601"
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(OutputError, match="writable"):
        check_output(tmp_path / "x.png", overwrite=False)


def test_D03_an_existing_file_is_replaced_only_if_asked(tmp_path):
    path = save(tmp_path / "x.png", scene())
    before = path.read_bytes()
    with pytest.raises(OutputError) as caught:
        write_image(to_picture(scene()), path)
    assert caught.value.code == "SP602" and path.read_bytes() == before
    write_image(to_picture(scene() // 2), path, overwrite=True)
    np.testing.assert_array_equal(to_array(read_image(path)), scene() // 2)


def test_D08_unknown_extensions_are_refused(tmp_path):
    for name in ("x", "x.gif", "x.exe", ".png"):
        with pytest.raises(OutputError) as caught:
            write_image(to_picture(scene()), tmp_path / name)
        assert caught.value.code == "SP605"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("extension", [".jpg", ".bmp"])
def test_D08_alpha_is_put_on_white_and_said(tmp_path, extension):
    samples = np.zeros((16, 16, 4), np.uint8)
    samples[8:, :, 3] = 255
    picture = to_picture(samples)
    with pytest.warns(StylePluginWarning, match="white"):
        write_image(picture, tmp_path / f"x{extension}")
    array = to_array(read_image(tmp_path / f"x{extension}"))
    assert array[:8].min() > 250 and array[8:].max() < 5
    assert losses(picture, "x.png") == losses(picture, "x.webp") == ()


@pytest.mark.parametrize("extension", [".jpg", ".webp", ".tif", ".bmp"])
def test_D08_losing_16_bits_is_said(tmp_path, extension):
    with pytest.warns(StylePluginWarning, match="8 bits"):
        write_image(to_picture(np.full((8, 8, 3), 30_000, np.uint16)), tmp_path / f"x{extension}")
    assert read_image(tmp_path / f"x{extension}").bits == 8


@pytest.mark.parametrize(("extension", "side"), [(".jpg", 65_501), (".webp", 16_384)])
def test_D09_sides_too_long_for_the_format_are_refused(tmp_path, extension, side):
    for size in ((side, 1), (1, side)):
        with pytest.raises(OutputError, match=str(side)) as caught:
            check_output(tmp_path / f"x{extension}", overwrite=False, size=size)
        assert caught.value.code == "SP606"
    check_output(tmp_path / f"x{extension}", overwrite=False, size=(side - 1, 1))
    check_output(tmp_path / "x.png", overwrite=False, size=(side, 1))


def test_D01_a_failed_write_leaves_the_earlier_file(tmp_path, monkeypatch):
    path = save(tmp_path / "x.png", scene())
    before = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        write_image(Picture(to_picture(scene()).rgb / 2), path, overwrite=True)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
