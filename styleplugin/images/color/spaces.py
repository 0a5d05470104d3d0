"""Color spaces of three primaries and their curves: from ICC profiles and PNG chunks to sRGB, in any depth.

Pillow's door to LittleCMS is 8 bits wide; pictures of more go through here.

Source: ICC.1:2022, 8.3.3 (matrix profiles), 10.6 (`curv`), 10.18 (`para`); IEC 61966-2-1; ITU-T H.273, tables 2 and 3.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from styleplugin.errors import InputImageError
from styleplugin.images.box import bands

Curve = Callable[[np.ndarray], np.ndarray]
"""From encoded values in [0, 1] to linear light; float64."""
Point = tuple[float, float]
"""Chromaticity x and y."""

_D50 = (0.9642, 1.0, 0.8249)
_D65: Point = (0.3127, 0.3290)
# Source: Bradford, as in ICC.1:2022 annex E.
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])

_SRGB: tuple[Point, Point, Point] = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
_ADOBE_RGB: tuple[Point, Point, Point] = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
# Of H.273, by their number: red, green, blue and white.
_PRIMARIES: dict[int, tuple[Point, Point, Point, Point]] = {
    1: (*_SRGB, _D65),
    4: ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), (0.310, 0.316)),
    5: ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), _D65),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
}
_PQ, _HLG = 16, 18


@dataclass(frozen=True, eq=False)
class ColorSpace:
    """Where a picture's numbers stand."""

    to_srgb: np.ndarray | None
    """(3, 3): linear colors of the file to linear sRGB; None for gray."""
    curves: tuple[Curve, ...]
    """One for gray, three for colors."""

    def convert(self, samples: np.ndarray) -> np.ndarray:
        """Return samples in sRGB: (H, W, 1) for gray, (H, W, 3) for colors.

        Args:
            samples: uint8 or uint16 over their whole range, or floating point where 1 is white. Of floating point,
                values outside [0, 1] stay outside, by the curves' odd continuation; integers are clamped.
        """
        channels = samples.shape[2]
        output = np.empty_like(samples)
        whole = None if samples.dtype.kind == "f" else np.iinfo(samples.dtype).max
        tables = None if whole is None else [curve(np.arange(whole + 1) / whole) for curve in self.curves]
        for rows in bands(samples.shape[:2]):
            band = samples[rows]
            if tables is None:
                planes = [_odd(curve, band[..., i]) for i, curve in enumerate(self.curves)]
            else:
                planes = [table[band[..., i]] for i, table in enumerate(tables)]
            linear = np.stack(planes[:channels], -1)
            if self.to_srgb is not None:
                linear = linear @ self.to_srgb.T
            if whole is None:
                output[rows] = _odd(encode_srgb, linear)
            else:
                output[rows] = np.rint(encode_srgb(linear.clip(0, 1)) * whole)
        return output


def encode_srgb(linear: np.ndarray) -> np.ndarray:
    """Return sRGB's numbers for linear light of at least 0."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055)


def decode_srgb(values: np.ndarray) -> np.ndarray:
    """Return the linear light of sRGB's numbers of at least 0."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def gamma(exponent: float) -> Curve:
    """Return the curve of a pure power."""
    return lambda values: values**exponent


def space_of(primaries: tuple[Point, Point, Point], white: Point, curve: Curve, *, gray: bool) -> ColorSpace:
    """Return the color space of these chromaticities.

    Raises:
        ValueError: They span no space.
    """
    if gray:
        return ColorSpace(None, (curve,))
    return ColorSpace(_XYZ_TO_SRGB @ _to_xyz(primaries, white), (curve,) * 3)


def adobe_rgb() -> ColorSpace:
    """Return Adobe RGB (1998), which cameras name in EXIF instead of a profile."""
    return space_of(_ADOBE_RGB, _D65, gamma(563 / 256), gray=False)


def space_of_numbers(primaries: int, transfer: int, *, gray: bool) -> ColorSpace | None:
    """Return the color space with these numbers of H.273; None where one of them is not known or not of a picture."""
    curve = _transfer(transfer)
    if curve is None or primaries not in _PRIMARIES:
        return None
    *points, white = _PRIMARIES[primaries]
    return space_of((points[0], points[1], points[2]), white, curve, gray=gray)


def matrix_space(profile: bytes, *, gray: bool) -> ColorSpace | None:
    """Return the color space of an ICC profile; None where it is described by a table instead.

    Args:
        profile: Of gray or RGB, one that LittleCMS opens.
        gray: Whether the picture is gray.

    Raises:
        ValueError: A tag is missing or broken, or the profile is of other colors.
    """
    tags = dict(_tags(profile))
    if any(name in tags for name in (b"A2B0", b"A2B1", b"A2B2", b"D2B0", b"D2B1", b"D2B2")):
        return None
    if profile[16:20] != (b"GRAY" if gray else b"RGB "):
        raise ValueError("the profile is of other colors than the picture")
    try:
        if gray:
            return ColorSpace(None, (_curve(tags[b"kTRC"]),))
        columns = [struct.unpack_from(">3i", tags[name], 8) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
        curves = tuple(_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC"))
    except (KeyError, struct.error) as error:
        raise ValueError("the profile lacks a tag") from error
    matrix = _XYZ_TO_SRGB @ (np.array(columns).T / 65536)
    # White stays white, in spite of the few digits that the profile has.
    sums = matrix.sum(1, keepdims=True)
    return ColorSpace(matrix / sums if (abs(sums - 1) < 0.01).all() else matrix, curves)


def transfer_of(profile: bytes | None) -> int | None:
    """Return the number, in H.273, of the transfer function that an ICC profile names in its `cicp` tag."""
    try:
        tag = dict(_tags(profile)).get(b"cicp", b"") if profile else b""
    except ValueError:
        return None
    return tag[9] if len(tag) >= 12 else None


def check_range(transfer: int | None, name: str) -> None:
    """Refuse pictures of high dynamic range, by the number of their transfer function in H.273.

    Raises:
        InputImageError: SP206.
    """
    if transfer in (_PQ, _HLG):
        raise InputImageError(
            "SP206",
            f"{name!r} is a picture of high dynamic range ({'PQ' if transfer == _PQ else 'HLG'}); this is not read.",
            "Export it for standard dynamic range (SDR), in sRGB or Display P3.",
        )


def _odd(curve: Curve, values: np.ndarray) -> np.ndarray:
    """Apply a curve to values of any sign."""
    return np.copysign(curve(np.abs(values).astype(np.float64)), values)


def _tags(profile: bytes) -> Iterator[tuple[bytes, bytes]]:
    try:
        (count,) = struct.unpack_from(">I", profile, 128)
        for i in range(min(count, 200)):
            name, offset, length = struct.unpack_from(">4sII", profile, 132 + 12 * i)
            yield name, profile[offset : offset + length]
    except struct.error as error:
        raise ValueError("the profile is cut short") from error


def _curve(tag: bytes) -> Curve:
    """Read a `curv` or `para` tag."""
    if tag[:4] == b"curv":
        (count,) = struct.unpack_from(">I", tag, 8)
        if count == 0:
            return gamma(1.0)
        if count == 1:
            return gamma(struct.unpack_from(">H", tag, 12)[0] / 256)
        if len(tag) < 12 + 2 * count:
            raise ValueError("a curve of the profile is cut short")
        table = np.frombuffer(tag, ">u2", count, 12) / 65535
        return lambda values: np.interp(values, np.linspace(0, 1, count), table)
    if tag[:4] == b"para":
        (kind,) = struct.unpack_from(">H", tag, 8)
        if kind > 4:
            raise ValueError(f"a curve of the profile has the unknown form {kind}")
        count = (1, 3, 4, 5, 7)[kind]
        return _parametric(kind, *(value / 65536 for value in struct.unpack_from(f">{count}i", tag, 12)))
    raise ValueError(f"a curve of the profile has the unknown type {tag[:4]!r}")


def _parametric(
    kind: int, g: float, a: float = 1, b: float = 0, c: float = 0, d: float = 0, e: float = 0, f: float = 0
) -> Curve:
    """Return one of the ICC's five forms; the letters are those of the specification."""
    if kind in (1, 2):
        # Below -b / a they are constant.
        d, e, f, c = (-b / a if a else 0.0), (c if kind == 2 else 0.0), (c if kind == 2 else 0.0), 0.0
    return lambda x: np.where(x >= d, np.maximum(a * x + b, 0) ** g + e, c * x + f)


def _transfer(number: int) -> Curve | None:
    if number in (1, 6, 14, 15):
        return lambda x: np.where(x < 0.081, x / 4.5, ((x + 0.099) / 1.099) ** (1 / 0.45))
    # 2 is "unspecified".
    return {2: decode_srgb, 4: gamma(2.2), 5: gamma(2.8), 8: gamma(1.0), 13: decode_srgb}.get(number)


def _to_xyz(primaries: tuple[Point, Point, Point], white: Point) -> np.ndarray:
    """Return the matrix from linear RGB to XYZ under D50, (3, 3)."""
    if min(y for _, y in (*primaries, white)) <= 0:
        raise ValueError("a chromaticity has no light")
    columns = np.array([(x / y, 1, (1 - x - y) / y) for x, y in primaries]).T
    x, y = white
    light = np.array([x / y, 1, (1 - x - y) / y])
    if abs(np.linalg.det(columns)) < 1e-4:
        raise ValueError("the primaries span no space of colors")
    matrix = columns * np.linalg.solve(columns, light)
    cones = (_BRADFORD @ np.array(_D50)) / (_BRADFORD @ light)
    return np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD @ matrix


_XYZ_TO_SRGB = np.linalg.inv(_to_xyz(_SRGB, _D65))
