from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from styleplugin.errors import InputImageError, MaskError
from styleplugin.images.color.profiles import SRGB_PROFILE
from styleplugin.images.formats.png16 import encode_png16
from styleplugin.images.masks import read_mask
from styleplugin.images.read import to_picture

SIDES = st.integers(1, 9)
quick = settings(max_examples=40, deadline=None)
HALF = np.tile([0, 0, 1, 1], (3, 1))
"""A mask of the right half, as labels 0 and 1."""
LABELS = np.tile([0, 1, 2, 7], (3, 1))
SIZE = (3, 4)
INTEGERS = [np.uint8, np.uint16, np.int16, np.int32, np.int64, np.uint32]


def ramp(height: int = 4, width: int = 6) -> np.ndarray:
    return np.linspace(0, 1, height * width, dtype=np.float32).reshape(height, width)


def as_files(tmp_path, values: np.ndarray) -> list:
    """Write a mask in every form that holds integers."""
    small = values.astype(np.uint8)
    palette = Image.fromarray(small, "L")
    palette.putpalette([128, 0, 0] * 3 + [0, 128, 0] * 253)
    gray = Image.fromarray(small)
    gray.save(tmp_path / "gray.png")
    gray.save(tmp_path / "gray.tif")
    gray.save(tmp_path / "gray.bmp")
    gray.convert("RGB").save(tmp_path / "rgb.png")
    palette.save(tmp_path / "palette.png")
    Image.fromarray(values.astype(np.int32)).save(tmp_path / "integers.tif")
    for channels in (1, 3):
        deep = np.repeat(values.astype(np.uint16)[..., None], channels, 2)
        (tmp_path / f"deep{channels}.png").write_bytes(encode_png16(deep, SRGB_PROFILE))
    Image.fromarray(values.astype(np.uint16)).save(tmp_path / "deep.tif")
    return [str(path) for path in sorted(tmp_path.iterdir())]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_arrays_of_0_and_1_are_masks_and_it_is_said(dtype):
    for mask in (
        HALF.astype(dtype),
        torch.from_numpy(HALF.astype(dtype)),
        np.repeat(HALF[..., None], 3, 2).astype(dtype),
    ):
        where, notes = read_mask(mask, SIZE)
        np.testing.assert_array_equal(where[0, 0], HALF)
        assert notes == ("The mask holds 0 and 1 only; 1 was read as white.",)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_arrays_of_0_and_255_are_masks(dtype):
    if dtype == np.int16:
        return
    where, _ = read_mask((HALF * 255).astype(dtype), SIZE)
    np.testing.assert_array_equal(where[0, 0], HALF)


def test_files_of_0_and_1_are_masks_and_it_is_said(tmp_path):
    for path in as_files(tmp_path, HALF):
        where, notes = read_mask(path, SIZE)
        np.testing.assert_array_equal(where[0, 0], HALF, err_msg=path)
        assert "1 was read as white" in notes[0], path
    with Image.open(tmp_path / "gray.png") as image:
        np.testing.assert_array_equal(read_mask(image, SIZE)[0][0, 0], HALF)
    np.testing.assert_array_equal(read_mask(to_picture(HALF.astype(np.uint8)), SIZE)[0][0, 0], HALF)


def test_labels_are_refused_and_one_of_them_can_be_named(tmp_path):
    masks = [LABELS.astype(dtype) for dtype in INTEGERS]
    for mask in [*masks, torch.from_numpy(LABELS), *as_files(tmp_path, LABELS)]:
        with pytest.raises(MaskError, match=r"0, 1, 2, 7.*label=N.*`mask_label=N`") as caught:
            read_mask(mask, SIZE)
        assert caught.value.code == "SP224"
        for label in (0, 2, 7):
            where, notes = read_mask(mask, SIZE, label=label)
            np.testing.assert_array_equal(where[0, 0], label == LABELS)
            assert notes == ()
        with pytest.raises(MaskError, match="no label 3"):
            read_mask(mask, SIZE, label=3)


def test_labels_beyond_16_bits_and_below_0_can_be_named():
    labels = np.array([[-1, 5, 300_000]])
    with pytest.raises(MaskError, match="label=N"):
        read_mask(labels, (1, 3))
    for label in (-1, 300_000):
        np.testing.assert_array_equal(read_mask(labels, (1, 3), label=label)[0][0, 0], labels == label)


def test_labels_of_32_bits_in_a_file_can_be_named(tmp_path):
    Image.fromarray(np.array([[0, 1000, 2000]], np.int32)).save(tmp_path / "x.tif")
    with pytest.raises(MaskError, match="0, 1000, 2000"):
        read_mask(tmp_path / "x.tif", (1, 3))
    assert read_mask(tmp_path / "x.tif", (1, 3), label=1000)[0].flatten().tolist() == [0, 1, 0]


def test_soft_masks_that_do_not_reach_white_are_read_where_no_labels_can_be(tmp_path):
    soft = np.full((16, 16), 200, np.uint8)
    assert read_mask(soft, (16, 16))[0].mean() == pytest.approx(200 / 255), "one gray all over is no label"
    soft[:, :8] = 100
    Image.fromarray(soft).save(tmp_path / "x.jpg", quality=100)
    assert read_mask(tmp_path / "x.jpg", (16, 16))[0].mean() == pytest.approx(150 / 255, abs=0.01)
    assert read_mask(soft / 255, (16, 16))[0].mean() == pytest.approx(150 / 255, abs=0.01)
    with pytest.raises(MaskError, match="no labels"):
        read_mask(soft / 255, (16, 16), label=1)


def test_gray_and_colored_masks_that_reach_white_are_drawn(tmp_path):
    drawn = np.zeros((2, 3, 3), np.uint8)
    drawn[0] = [[255, 255, 255], [255, 0, 0], [128, 128, 128]]
    Image.fromarray(drawn).save(tmp_path / "x.png")
    np.testing.assert_allclose(read_mask(tmp_path / "x.png", (2, 3))[0][0, 0, 0], [1, 0.299, 128 / 255], atol=1e-5)


def test_black_masks_are_empty(tmp_path):
    Image.fromarray(np.zeros(SIZE, np.uint8)).save(tmp_path / "x.png")
    for mask in (np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.int32), np.zeros(SIZE), tmp_path / "x.png"):
        where, notes = read_mask(mask, SIZE)
        assert not where.any() and not [note for note in notes if "white" in note]


def test_mask_of_the_same_size_is_kept_exactly():
    mask, warnings = read_mask(torch.ones(4, 6), (4, 6))
    assert mask.shape == (1, 1, 4, 6) and mask.eq(1).all() and warnings == ()
    soft = ramp()
    assert read_mask(soft, (4, 6))[0][0, 0].equal(torch.from_numpy(soft))


@quick
@given(st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES))
def test_T13_mask_of_another_size_is_resized_with_a_warning(given_size, size):
    mask, warnings = read_mask(np.ones(given_size, np.uint8) * 255, size)
    assert mask.shape == (1, 1, *size) and mask.eq(1).all()
    assert len(warnings) == (given_size != size)


def test_T13_mask_is_averaged_over_areas():
    assert read_mask(np.array([[0.0, 1.0], [0.0, 0.0]]), (1, 1))[0].item() == 0.25


def test_transparent_parts_of_a_mask_count_as_0():
    mask = np.full((1, 2, 4), 255, np.uint8)
    mask[0, 0, 3] = 0
    assert read_mask(mask, (1, 2))[0].flatten().tolist() == [0, 1]


def test_T01_mask_with_nan_is_refused():
    with pytest.raises(MaskError, match="1 NaN") as caught:
        read_mask(np.array([[np.nan, 0.0]]), (1, 2))
    assert caught.value.code == "SP220" and isinstance(caught.value, InputImageError)
