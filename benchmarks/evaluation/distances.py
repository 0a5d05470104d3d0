"""e_style and e_content of one depth: pure functions of features, (1, C, h, w)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_SHARE = 1e-3
"""Of the layer's deviation that is added to a channel's: a channel that hardly opens is not noise of full height."""


@dataclass(frozen=True)
class Statistics:
    """What e_style compares: means and biased deviations of the channels, (C,) each, float64."""

    means: Tensor
    deviations: Tensor

    @classmethod
    def of(cls, features: Tensor) -> Statistics:
        """Measure (1, C, h, w)."""
        rows = features[0].flatten(1).double()
        return cls(rows.mean(1), rows.std(1, correction=0))


def style_distance(output: Statistics, style: Statistics) -> float:
    """Return (|m_o - m_s| + |d_o - d_s|) / (|m_s| + |d_s|), |.| the sum of absolute values."""
    difference = (output.means - style.means).abs().sum() + (output.deviations - style.deviations).abs().sum()
    return float(difference / (style.means.abs().sum() + style.deviations.abs().sum()))


def shapes(features: Tensor) -> Tensor:
    """Return each channel less its mean, over its deviation plus a thousandth of the layer's; (C, h w)."""
    rows = features[0].flatten(1)
    scale = rows.std(1, correction=0, keepdim=True) + _SHARE * rows.std(correction=0)
    return (rows - rows.mean(1, keepdim=True)) / scale.clamp_min(torch.finfo(rows.dtype).tiny)


def content_distance(output: Tensor, content: Tensor) -> float:
    """Return the Euclidean distance of two `shapes` relative to the content's: 0 the same, 1.41 unrelated."""
    return float(torch.linalg.vector_norm(output - content) / torch.linalg.vector_norm(content))
