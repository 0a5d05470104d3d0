"""Color as pure tensor functions: luminance, CIE Lab, and the content's colors kept.

All take and return (N, C, H, W) in the floating-point type they are given.
"""

from __future__ import annotations

import torch
from torch import Tensor

_LUMA_RED, _LUMA_BLUE = 0.299, 0.114

# Linear sRGB to XYZ under D65 (IEC 61966-2-1), rows divided by the white point so that white is (1, 1, 1).
_RGB_TO_XYZ = torch.tensor(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]],
    dtype=torch.float64,
    device="cpu",
)
_RGB_TO_XYZ /= _RGB_TO_XYZ.sum(dim=1, keepdim=True)
_XYZ_TO_RGB = torch.linalg.inv(_RGB_TO_XYZ)

# Rows: L, a, b from f(X), f(Y), f(Z), without the offset of L.
_F_TO_LAB = torch.tensor([[0, 116, 0], [500, -500, 0], [0, 200, -200]], dtype=torch.float64, device="cpu")
_LAB_TO_F = torch.linalg.inv(_F_TO_LAB)

_DELTA = 6 / 29


def luminance(rgb: Tensor) -> Tensor:
    """Return the luma of gamma-encoded RGB: (N, 3, H, W) to (N, 1, H, W); gray stays exactly as it is.

    Source: ITU-R BT.601; Gatys et al. 2016, "Preserving color in neural artistic style transfer", the Y of YIQ.
    """
    red, green, blue = rgb.split(1, dim=1)
    return green + _LUMA_RED * (red - green) + _LUMA_BLUE * (blue - green)


def with_luminance_of(light: Tensor, colors: Tensor) -> Tensor:
    """Return one picture's chroma with another one's luminance; may go outside [0, 1].

    Adding one value to all three channels changes Y alone and leaves the differences R - Y and B - Y, which are the
    chroma of YCbCr and YIQ; so no color space has to be entered and left.

    Args:
        light: (N, 3, H, W) in [0, 1], gives the luminance.
        colors: (N, 3, H, W) in [0, 1], gives the chroma.

    Source: Gatys et al. 2016, "Preserving color in neural artistic style transfer", luminance-only transfer.
    """
    return colors + (luminance(light) - luminance(colors))


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """Convert sRGB in [0, 1] to CIE Lab under D65: L in [0, 100], a and b in about [-110, 100]; (N, 3, H, W).

    Source: IEC 61966-2-1 and CIE 15:2004.
    """
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb.clamp(min=0) + 0.055) / 1.055) ** 2.4)
    xyz = _mix(_RGB_TO_XYZ, linear)
    f = torch.where(xyz > _DELTA**3, xyz.clamp(min=_DELTA**3) ** (1 / 3), xyz / (3 * _DELTA**2) + 4 / 29)
    lab = _mix(_F_TO_LAB, f)
    lab[:, 0] -= 16
    return lab


def lab_to_rgb(lab: Tensor) -> Tensor:
    """Convert CIE Lab under D65 to sRGB; colors outside the gamut leave [0, 1]; (N, 3, H, W).

    Source: IEC 61966-2-1 and CIE 15:2004.
    """
    shifted = lab.clone()
    shifted[:, 0] += 16
    f = _mix(_LAB_TO_F, shifted)
    xyz = torch.where(f > _DELTA, f**3, 3 * _DELTA**2 * (f - 4 / 29))
    linear = _mix(_XYZ_TO_RGB, xyz)
    return torch.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)


def delta_e(first: Tensor, second: Tensor) -> Tensor:
    """Return the CIEDE2000 color difference of two Lab pictures, (N, 3, H, W) to (N, 1, H, W); 1 is just noticeable.

    Source: Sharma, Wu and Dalal 2005, "The CIEDE2000 color-difference formula", equations 2 to 22.
    """
    (l1, a1, b1), (l2, a2, b2) = (lab.split(1, dim=1) for lab in (first, second))
    seventh = ((torch.hypot(a1, b1) + torch.hypot(a2, b2)) / 2) ** 7
    stretch = 1 + 0.5 * (1 - (seventh / (seventh + 25**7)).sqrt())
    a1, a2 = stretch * a1, stretch * a2
    c1, c2 = torch.hypot(a1, b1), torch.hypot(a2, b2)
    h1, h2 = (torch.rad2deg(torch.atan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    gray = c1 * c2 == 0
    turn = (h2 - h1 + 180) % 360 - 180
    turn = torch.where(gray, 0.0, torch.where(turn == -180, 180.0, turn))
    mean_h = torch.where(gray, h1 + h2, _mean_hue(h1, h2))
    mean_l, mean_c = (l1 + l2) / 2, (c1 + c2) / 2

    def cosine(degrees: Tensor) -> Tensor:
        return torch.cos(torch.deg2rad(degrees))

    t = (
        1
        - 0.17 * cosine(mean_h - 30)
        + 0.24 * cosine(2 * mean_h)
        + 0.32 * cosine(3 * mean_h + 6)
        - 0.20 * cosine(4 * mean_h - 63)
    )
    s_l = 1 + 0.015 * (mean_l - 50) ** 2 / (20 + (mean_l - 50) ** 2).sqrt()
    s_c, s_h = 1 + 0.045 * mean_c, 1 + 0.015 * mean_c * t
    rotation = 60 * torch.exp(-(((mean_h - 275) / 25) ** 2))
    seventh = mean_c**7
    r_t = -2 * (seventh / (seventh + 25**7)).sqrt() * torch.sin(torch.deg2rad(rotation))
    lightness = (l2 - l1) / s_l
    chroma = (c2 - c1) / s_c
    hue = 2 * (c1 * c2).sqrt() * torch.sin(torch.deg2rad(turn / 2)) / s_h
    return (lightness**2 + chroma**2 + hue**2 + r_t * chroma * hue).clamp_min(0).sqrt()


def _mean_hue(first: Tensor, second: Tensor) -> Tensor:
    """Return the hue in the middle of two, in degrees, the short way around."""
    mean = (first + second) / 2
    far = (first - second).abs() > 180
    return torch.where(far, torch.where(first + second < 360, mean + 180, mean - 180), mean)


def _mix(matrix: Tensor, image: Tensor) -> Tensor:
    return torch.einsum("ij,njhw->nihw", matrix.to(image), image)
