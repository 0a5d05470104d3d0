from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from fakes.tiff import CIELAB, CMYK, DEFLATE, GRAY, LZW, NONE, RGB, WHITE_IS_ZERO, tiff

from styleplugin.errors import InputImageError, StylePluginError, TensorInputError
from styleplugin.images.picture import to_array
from styleplugin.images.read import read_image


def noise(height: int, width: int, channels: int, dtype: type = np.uint16) -> np.ndarray:
    values = np.random.default_rng(0).integers(0, 65536, (height, width, channels))
    return (values / 65535).astype(dtype) if np.dtype(dtype).kind == "f" else values.astype(dtype)


def read(tmp_path, data: bytes, **options):
    (tmp_path / "x.tif").write_bytes(data)
    return read_image(tmp_path / "x.tif", **options)


@pytest.mark.parametrize(("compression", "predictor"), list(product([NONE, LZW, DEFLATE], [1, 2])))
def test_I15_I22_integers_of_16_bits_come_in_exactly_from_every_layout(tmp_path, compression, predictor):
    for channels, planar, tile, order, big in product([1, 3], [False, True], [0, 16], "<>", [False, True]):
        samples = noise(19, 21, channels)
        settings = {"planar": planar, "tile": tile, "order": order, "big": big and order == "<"}
        picture = read(tmp_path, tiff(samples, compression=compression, predictor=predictor, **settings))
        assert picture.bits == 16 and picture.warnings == (), settings
        np.testing.assert_array_equal(to_array(picture)[..., :channels], samples, err_msg=str(settings))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("predictor", [1, 2, 3])
def test_I16_floating_point_of_every_width_comes_in_exactly(tmp_path, dtype, predictor):
    for channels, tile, order in product([1, 3], [0, 16], "<>"):
        samples = noise(19, 21, channels, dtype)
        data = tiff(samples, compression=DEFLATE, predictor=predictor, tile=tile, order=order)
        picture = read(tmp_path, data)
        assert picture.bits == 32 and picture.warnings == ()
        np.testing.assert_array_equal(
            picture.rgb[0, :channels].movedim(0, -1).numpy(), samples.astype(np.float32), err_msg=f"{tile} {order}"
        )


def test_I16_float_colors_beyond_white_are_kept_and_nan_is_refused(tmp_path):
    samples = np.array([[[-0.5, 0.25, 3]]], np.float32)
    picture = read(tmp_path, tiff(samples))
    assert picture.rgb[0, :, 0, 0].tolist() == [-0.5, 0.25, 3] and "from -0.5 to 3" in picture.warnings[0]
    samples[0, 0, 1] = np.nan
    with pytest.raises(TensorInputError, match=r"1 NaN.*\(0, 0, 1\)"):
        read(tmp_path, tiff(samples))


def test_I15_integers_of_32_bits_use_their_whole_range(tmp_path):
    samples = noise(5, 6, 3).astype(np.uint32) * 65537
    picture = read(tmp_path, tiff(samples))
    assert picture.bits == 16
    np.testing.assert_array_equal(to_array(picture), samples // 65537)


def test_I15_gray_of_12_bits_fills_the_range(tmp_path):
    values = np.arange(4096, dtype=np.uint16).reshape(64, 64, 1)
    picture = read(tmp_path, tiff(values, bits=12))
    assert picture.bits == 16
    np.testing.assert_array_equal(to_array(picture)[..., :1], np.rint(values * (65535 / 4095)))


def test_inverted_gray_is_turned(tmp_path):
    samples = noise(5, 6, 1)
    picture = read(tmp_path, tiff(samples, photometric=WHITE_IS_ZERO))
    np.testing.assert_array_equal(to_array(picture)[..., :1], 65535 - samples)


@pytest.mark.parametrize("channels", [2, 4])
def test_I13_alpha_is_read_straight_or_undone_where_colors_are_multiplied_by_it(tmp_path, channels):
    samples = noise(7, 9, channels) // 2
    samples[..., -1] = 40_000
    samples[0, 0, -1] = 0
    for kind in (1, 2):
        picture = read(tmp_path, tiff(samples, extra=(kind,)))
        assert picture.alpha is not None and picture.warnings == ()
        array = to_array(picture)
        np.testing.assert_array_equal(array[..., 3], samples[..., -1])
        colors = samples[..., : channels - 1].astype(float) * (65535 / 40_000 if kind == 1 else 1)
        np.testing.assert_allclose(array[1:, :, : channels - 1], colors[1:], atol=0.51)


def test_other_channels_are_left_out_with_a_note(tmp_path):
    samples = noise(4, 5, 5)
    picture = read(tmp_path, tiff(samples, extra=(0, 0)))
    np.testing.assert_array_equal(to_array(picture), samples[..., :3])
    assert "2 channels" in picture.warnings[0]


def test_I14_deep_inks_and_lab_are_converted_with_8_bits_and_a_note(tmp_path):
    inks = np.zeros((4, 5, 4), np.uint16)
    inks[..., 1] = 65535
    picture = read(tmp_path, tiff(inks, photometric=CMYK))
    assert to_array(picture, 8)[0, 0].tolist() == [255, 0, 255] and "8 bits" in picture.warnings[0]
    lab = np.zeros((4, 5, 3), np.uint16)
    lab[..., 0] = 65535
    picture = read(tmp_path, tiff(lab, photometric=CIELAB))
    assert to_array(picture, 8).min() >= 253 and "8 bits" in picture.warnings[0]


@pytest.mark.parametrize(
    ("dtype", "name"), [(np.int8, "signed integers of 8"), (np.int16, "signed integers of 16"), (np.uint64, "64 bits")]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_not_read_is_named_and_not_called_damaged(tmp_path, dtype, name, channels):
    with pytest.raises(InputImageError, match=name) as caught:
        read(tmp_path, tiff(np.zeros((4, 5, channels), dtype), photometric=GRAY if channels == 1 else RGB))
    assert caught.value.code == "SP206"


def test_big_tiff_in_big_endian_order_is_named(tmp_path):
    with pytest.raises(InputImageError, match="big-endian") as caught:
        read(tmp_path, tiff(noise(4, 5, 3), order=">", big=True))
    assert caught.value.code == "SP206"


def test_signed_integers_of_32_bits_need_values_of_a_known_range(tmp_path):
    samples = noise(4, 5, 3).astype(np.int32)
    np.testing.assert_array_equal(to_array(read(tmp_path, tiff(samples))), samples)
    with pytest.raises(TensorInputError, match="no negative"):
        read(tmp_path, tiff(samples - 70_000))
    dark = samples % 3000
    with pytest.raises(TensorInputError, match="bits=12"):
        read(tmp_path, tiff(dark))
    np.testing.assert_allclose(to_array(read(tmp_path, tiff(dark), bits=12)), dark * (65535 / 4095), atol=0.51)


def test_I03_a_deep_tiff_cut_anywhere_is_refused_or_whole(tmp_path):
    samples = noise(8, 8, 3)
    for settings in ({}, {"compression": DEFLATE}, {"tile": 16, "compression": LZW}):
        data = tiff(samples, **settings)
        for length in range(1, len(data), 37):
            try:
                picture = read(tmp_path, data[:length])
            except InputImageError:
                continue
            np.testing.assert_array_equal(to_array(picture), samples)


def test_I04_a_deep_tiff_with_other_bytes_never_crashes(tmp_path):
    data = bytearray(tiff(noise(8, 8, 3), compression=LZW, predictor=2))
    generator = np.random.default_rng(1)
    for _ in range(300):
        changed = bytearray(data)
        changed[generator.integers(len(data))] = generator.integers(256)
        try:
            assert read(tmp_path, bytes(changed), max_megapixels=1).rgb.isfinite().all()
        except StylePluginError:
            continue


def test_the_size_is_checked_before_the_pixels(tmp_path):
    data = tiff(noise(20, 20, 3))
    with pytest.raises(InputImageError, match="20 x 20") as caught:
        read(tmp_path, data, max_megapixels=0.0001)
    assert caught.value.code == "SP205"
