from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from styleplugin.errors import TensorInputError
from styleplugin.images.picture import Picture, to_array, to_pil
from styleplugin.images.read import to_picture

SIDES = st.integers(1, 9)
quick = settings(max_examples=40, deadline=None)


def ramp(height: int = 4, width: int = 6, channels: int = 3) -> np.ndarray:
    return np.linspace(0, 1, height * width * channels, dtype=np.float32).reshape(height, width, channels)


@quick
@given(hnp.arrays(st.sampled_from([np.uint8, np.uint16]), st.tuples(SIDES, SIDES, st.just(3))))
def test_T05_integers_come_back_exactly(samples):
    picture = to_picture(samples, bits=samples.dtype.itemsize * 8)

    assert picture.bits == samples.dtype.itemsize * 8
    assert picture.rgb.dtype == torch.float32 and picture.rgb.shape == (1, 3, *samples.shape[:2])
    np.testing.assert_array_equal(to_array(picture), samples)


@pytest.mark.parametrize(
    ("dtype", "largest", "bits"),
    [("bool", 1, 8), ("uint8", 255, 8), ("uint16", 65535, 16), ("int32", 65535, 16)]
    + [(name, 1, 8) for name in ("float16", "float32", "float64")],
)
def test_T05_every_type_has_one_meaning(dtype, largest, bits):
    samples = np.zeros((2, 3, 3), dtype)
    samples[0] = largest

    for picture in (to_picture(samples), to_picture(torch.from_numpy(samples).permute(2, 0, 1))):
        assert picture.bits == bits
        assert picture.rgb[..., 0, :].eq(1).all() and picture.rgb[..., 1, :].eq(0).all()


def test_T05_bfloat16_and_big_endian_work():
    assert to_picture(torch.full((1, 2, 2), 0.5, dtype=torch.bfloat16)).rgb.eq(0.5).all()
    assert to_picture(np.full((2, 2), 25700, ">u2")).rgb.allclose(torch.tensor(25700 / 65535))


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros((2, 2, 3), complex),
        np.zeros((2, 2, 3), object),
        np.zeros((2, 2, 3), np.int8),
        torch.zeros(3, 2, 2, dtype=torch.complex64),
        b"bytes",
        None,
    ],
)
def test_T05_other_types_are_refused(samples):
    with pytest.raises(TensorInputError, match="must be a path") as caught:
        to_picture(samples)
    assert caught.value.code == "SP211"


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_T05_quantized_tensors_are_refused():
    with pytest.raises(TensorInputError, match="quint8"):
        to_picture(torch.quantize_per_tensor(torch.zeros(3, 2, 2), 0.1, 0, torch.quint8))


WIDE = [np.uint16, np.int16, np.int32, np.uint32, np.int64, np.uint64]


@pytest.mark.parametrize("dtype", WIDE)
def test_T05_wide_integers_up_to_255_are_8_bit_values_and_it_is_said(dtype):
    samples = (ramp() * 255).astype(dtype)
    for picture in (to_picture(samples), to_picture(torch.from_numpy(samples).permute(2, 0, 1))):
        assert picture.bits == 8 and "8-bit" in picture.warnings[0]
        np.testing.assert_array_equal(to_array(picture), samples)


@pytest.mark.parametrize("dtype", WIDE)
def test_T05_integers_between_8_and_16_bits_need_their_bits(dtype):
    samples = (ramp() * 4095).astype(dtype)
    with pytest.raises(TensorInputError, match="bits=12") as caught:
        to_picture(samples)
    assert caught.value.code == "SP214"
    picture = to_picture(samples, bits=12)
    assert picture.bits == 16 and picture.warnings == ()
    np.testing.assert_allclose(picture.rgb[0].movedim(0, -1), samples / 4095, atol=1e-4)
    with pytest.raises(TensorInputError, match="end at 1023"):
        to_picture(samples, bits=10)


def test_T05_wide_integers_beyond_16_bits_or_below_0_are_refused():
    for samples in (np.array([[0, 70_000]]), np.array([[-1, 5]])):
        with pytest.raises(TensorInputError):
            to_picture(samples)
    assert to_picture(np.array([[0, 70_000]]), bits=17).rgb.max() == pytest.approx(70_000 / (2**17 - 1), abs=1e-4)
    with pytest.raises(TensorInputError, match="from 1 to 32"):
        to_picture(np.array([[0, 7]]), bits=40)


@quick
@given(st.sampled_from([np.nan, np.inf, -np.inf]), st.integers(0, 3), st.integers(0, 5), st.integers(0, 2))
def test_T01_non_finite_values_are_counted_and_located(value, row, column, channel):
    samples = ramp()
    samples[row, column, channel] = value

    with pytest.raises(TensorInputError) as caught:
        to_picture(samples)
    assert caught.value.details == {"count": 1, "first": [row, column, channel]}


def test_T02_values_up_to_255_as_float_are_refused_with_a_hint():
    with pytest.raises(TensorInputError, match="Divide by 255"):
        to_picture(ramp() * 255)
    with pytest.raises(TensorInputError, match="normalization"):
        to_picture(ramp() * 2 - 1)
    with pytest.raises(TensorInputError, match="go from 0 to 70000"):
        to_picture(np.array([[0, 70000]], np.int32))


@quick
@given(st.floats(-0.4, -0.01), st.floats(1.01, 2))
def test_T03_values_slightly_outside_are_clamped_with_a_warning(low, high):
    picture = to_picture(np.array([[low, 0.5, high]]))

    assert picture.rgb[0, 0, 0].tolist() == [0, 0.5, 1]
    assert len(picture.warnings) == 1 and "clamped" in picture.warnings[0]
    assert not to_picture(ramp()).warnings


@pytest.mark.parametrize("shape", [(4,), (4, 5, 0), (4, 5, 2), (4, 5, 5), (3, 8, 8), (2, 4, 5, 3), (1, 1, 4, 5, 3)])
def test_T04_arrays_of_the_wrong_shape_are_refused(shape):
    with pytest.raises(TensorInputError, match=r"\(H, W, C\)") as caught:
        to_picture(np.zeros(shape, np.float32))
    assert str(shape) in caught.value.message


@pytest.mark.parametrize("shape", [(4, 5), (8, 8, 3), (2, 4, 5), (5, 4, 5), (2, 3, 4, 5), (1, 8, 8, 3), (3, 0, 5)])
def test_T04_tensors_of_the_wrong_shape_are_refused(shape):
    with pytest.raises(TensorInputError, match=r"\(C, H, W\)") as caught:
        to_picture(torch.zeros(shape))
    assert str(shape) in caught.value.message


@pytest.mark.parametrize("empty", [np.zeros((0, 4, 5, 3)), torch.zeros(0, 3, 4, 5), np.zeros((0, 4))])
def test_T10_an_empty_batch_is_refused(empty):
    with pytest.raises(TensorInputError):
        to_picture(empty)


def test_arrays_and_tensors_of_every_layout_agree():
    array = ramp()
    tensor = torch.from_numpy(array).permute(2, 0, 1)

    pictures = [to_picture(x) for x in (array, array[None], tensor, tensor[None], to_picture(array))]
    assert all(picture.rgb.equal(pictures[0].rgb) and picture.size == (4, 6) for picture in pictures)


@quick
@given(st.sampled_from([np.uint8, np.float32, np.uint16]), st.booleans(), st.booleans(), st.integers(1, 2))
def test_T06_strides_do_not_matter(dtype, flip_rows, flip_columns, step):
    samples = (ramp(8, 12) * 255).astype(dtype) if dtype != np.float32 else ramp(8, 12)
    view = samples[:: -step if flip_rows else step, :: -step if flip_columns else step]

    assert to_picture(view).rgb.equal(to_picture(view.copy()).rgb)
    tensor = torch.from_numpy(samples).permute(2, 0, 1)[..., ::step]
    assert to_picture(tensor).rgb.equal(to_picture(tensor.clone(memory_format=torch.contiguous_format)).rgb)


def test_T06_expanded_and_channels_last_tensors_work():
    expanded = torch.tensor([0.25, 0.5, 0.75]).view(3, 1, 1).expand(3, 4, 5)
    assert to_picture(expanded).rgb.equal(expanded[None])
    channels_last = torch.rand(1, 3, 4, 5).to(memory_format=torch.channels_last)
    picture = to_picture(channels_last)
    assert picture.rgb.equal(channels_last) and picture.rgb.data_ptr() != channels_last.data_ptr()


def test_T07_gradients_and_inference_mode_end_here():
    picture = to_picture(torch.rand(3, 4, 5, requires_grad=True))
    assert not picture.rgb.requires_grad
    with torch.inference_mode():
        tensor = torch.rand(3, 4, 5)
    assert not to_picture(tensor).rgb.is_inference()


@pytest.mark.parametrize("make", [lambda x: x, lambda x: torch.from_numpy(x).permute(2, 0, 1)], ids=["array", "tensor"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_T08_memory_is_never_shared_with_the_caller(make, channels):
    samples = ramp(channels=channels)
    before = samples.copy()
    picture = to_picture(make(samples))
    picture.rgb.zero_()
    np.testing.assert_array_equal(samples, before)

    read_only = ramp()
    read_only.flags.writeable = False
    assert to_picture(read_only).rgb.max() == 1


@quick
@given(hnp.arrays(np.float32, (3, 4, 4), elements=st.floats(0, 1, width=32)), st.integers(0, 2**32 - 1))
def test_T12_color_under_alpha_0_has_no_influence(samples, seed):
    samples[0, :, 3] = 0
    other = samples.copy()
    other[samples[..., 3] == 0, :3] = np.random.default_rng(seed).random(3)

    first, second = to_picture(samples), to_picture(other)
    assert first.rgb.equal(second.rgb)
    assert first.alpha is not None and first.alpha[0, 0].equal(torch.from_numpy(samples[..., 3]))


def test_T12_hidden_pixels_get_the_mean_visible_color():
    samples = np.zeros((1, 3, 4), np.float32)
    samples[0, :, 3] = [1, 1, 0]
    samples[0, :2, :3] = [[1, 0, 0], [0, 1, 0]]
    picture = to_picture(samples)
    assert picture.rgb[0, :, 0, 2].tolist() == [0.5, 0.5, 0]
    assert to_picture(np.zeros((2, 2, 4))).rgb.eq(0.5).all()


def test_gray_is_repeated():
    picture = to_picture(ramp(channels=1))
    assert picture.rgb[:, 0].equal(picture.rgb[:, 2]) and picture.rgb.is_contiguous(memory_format=torch.channels_last)


def test_to_array_rounds_and_clamps():
    picture = Picture(torch.tensor([-0.5, 0.4999, 1.5]).view(1, 3, 1, 1))
    assert to_array(picture).tolist() == [[[0, 127, 255]]]
    assert to_array(picture, bits=16).dtype == np.uint16
    assert to_array(Picture(picture.rgb, bits=32)).dtype == np.uint16


def test_pillow_images_go_in_and_out():
    samples = (ramp(channels=4) * 255).astype(np.uint8)
    samples[..., 3] = 200
    image = Image.fromarray(samples)
    np.testing.assert_array_equal(np.asarray(to_pil(to_picture(image))), samples)
    assert to_pil(to_picture(ramp())).mode == "RGB"
