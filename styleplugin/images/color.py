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
)
_RGB_TO_XYZ /= _RGB_TO_XYZ.sum(dim=1, keepdim=True)
_XYZ_TO_RGB = torch.linalg.inv(_RGB_TO_XYZ)

# Rows: L, a, b from f(X), f(Y), f(Z), without the offset of L.
_F_TO_LAB = torch.tensor([[0, 116, 0], [500, -500, 0], [0, 200, -200]], dtype=torch.float64)
_LAB_TO_F = torch.linalg.inv(_F_TO_LAB)

_DELTA = 6 / 29


def luminance(rgb: Tensor) -> Tensor:
    """Return the luma of gamma-encoded RGB: (N, 3, H, W) to (N, 1, H, W); gray stays exactly as it is.

    Source: ITU-R BT.601; Gatys et al. 2016, "Preserving color in neural artistic style transfer", the Y of YIQ.
    """
    red, green, blue = rgb.split(1, dim=1)
    return green + _LUMA_RED * (red - green) + _LUMA_BLUE * (blue - green)


def keep_luminance(content: Tensor, output: Tensor) -> Tensor:
    """Return the content's chroma with the output's luminance; may go outside [0, 1].

    Adding one value to all three channels changes Y alone and leaves the differences R - Y and B - Y, which are the
    chroma of YCbCr and YIQ; so no color space has to be entered and left.

    Args:
        content: (N, 3, H, W) in [0, 1].
        output: (N, 3, H, W) in [0, 1].

    Source: Gatys et al. 2016, "Preserving color in neural artistic style transfer", luminance-only transfer.
    """
    return content + (luminance(output) - luminance(content))


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


def _mix(matrix: Tensor, image: Tensor) -> Tensor:
    return torch.einsum("ij,njhw->nihw", matrix.to(image), image)
