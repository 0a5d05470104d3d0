"""The luminance in which weave, flat deviation and halo are measured."""

from __future__ import annotations

import numpy as np
from torch import Tensor

_WEIGHTS = (0.2126, 0.7152, 0.0722)


def light(image: Tensor) -> np.ndarray:
    """Return 0.2126 R + 0.7152 G + 0.0722 B of the coded values of (1, 3, H, W): (H, W), float64."""
    return np.tensordot(_WEIGHTS, image[0].double().cpu().numpy(), 1)
