"""e_style and e_content of one depth: pure functions of features, (1, C, h, w)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_SHARE = 1e-3
"""Of the layer's deviation that is added to a channel's: a channel that hardly opens is not noise of full height."""


@dataclass(frozen=True)
class Statistics:
    """What e_style compares: means and biased deviations of the channels, (C,) each."""

    means: Tensor
    deviations: Tensor

    @classmethod
    def of(cls, features: Tensor) -> Statistics:
        """Measure (1, C, h, w)."""
        rows = features[0].flatten(1)
        means = rows.mean(1)
        return cls(means, (rows - means[:, None]).square_().mean(1).sqrt_())

    @property
    def layer_deviation(self) -> Tensor:
        """Of all values of all channels together, biased."""
        return (self.deviations.square().mean() + self.means.var(correction=0)).sqrt()


def style_distance(output: Statistics, style: Statistics) -> float:
    """Return (|m_o - m_s| + |d_o - d_s|) / (|m_s| + |d_s|), |.| the sum of absolute values."""
    difference = (output.means - style.means).abs().sum() + (output.deviations - style.deviations).abs().sum()
    return float(difference / (style.means.abs().sum() + style.deviations.abs().sum()))


def shapes(features: Tensor, statistics: Statistics) -> Tensor:
    """Return each channel less its mean, over its deviation plus a thousandth of the layer's; (C, h w)."""
    rows = features[0].flatten(1)
    scale = statistics.deviations + _SHARE * statistics.layer_deviation
    return (rows - statistics.means[:, None]) / scale.clamp_min(torch.finfo(rows.dtype).tiny)[:, None]


def content_distance(output: Tensor, content: Tensor) -> float:
    """Return the Euclidean distance of two `shapes` relative to the content's: 0 the same, 1.41 unrelated."""
    return float(torch.linalg.vector_norm(output - content) / torch.linalg.vector_norm(content))
