"""PPM of more than 8 bits: color as well as gray."""

import numpy as np
import pytest

from styleplugin.errors import InputImageError
from styleplugin.images.read import read_image


def read(tmp_path, data: bytes):
    (tmp_path / "x.ppm").write_bytes(data)
    return read_image(tmp_path / "x.ppm")


def values(largest: int) -> np.ndarray:
    return np.array([[[0, largest // 2, largest], [largest, 1, largest // 3]]])


@pytest.mark.parametrize("largest", [256, 1000, 4095, 65535])
def test_binary_color_keeps_its_bits(tmp_path, largest):
    head = b"P6 # a comment\n# and another\n2 1\n%d\n" % largest
    picture = read(tmp_path, head + values(largest).astype(">u2").tobytes())
    assert picture.bits == 16 and picture.warnings == ()
    read_again = picture.rgb[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(read_again, values(largest) / largest, rtol=0, atol=0.51 / 65535)


@pytest.mark.parametrize("largest", [1000, 65535])
def test_gray_does_too(tmp_path, largest):
    data = b"P5\n2 1\n%d\n" % largest + values(largest)[..., 0].astype(">u2").tobytes()
    picture = read(tmp_path, data)
    assert picture.bits == 16
    np.testing.assert_allclose(picture.rgb[0, 0].numpy(), values(largest)[..., 0] / largest, rtol=0, atol=0.51 / 65535)


def test_color_in_digits_is_read_with_8_bits_and_a_note(tmp_path):
    digits = b" ".join(b"%d" % value for value in values(65535).flat)
    picture = read(tmp_path, b"P3\n2 1\n65535\n" + digits + b"\n")
    assert picture.bits == 8 and "8 of them were read" in picture.warnings[0]


def test_one_that_ends_early_is_damaged(tmp_path):
    with pytest.raises(InputImageError, match="end early") as caught:
        read(tmp_path, b"P6\n2 1\n65535\n" + bytes(11))
    assert caught.value.code == "SP204"
