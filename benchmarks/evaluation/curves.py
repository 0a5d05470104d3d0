"""Two systems that stylize by different amounts, compared at equal style and at equal content.

Each gets a curve per pair: its full-strength picture blended with the content, pixel by pixel, in steps of 0.1. Both
curves end at the content itself, so they always reach the common level.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from .evaluator import Evaluator

SHARES = tuple(step / 10 for step in range(10, -1, -1))
"""Of the full-strength picture in the blend, the full one first."""


class Curve(NamedTuple):
    """One pair at falling shares of the full-strength picture."""

    style: Sequence[float]
    """e_style at each of `SHARES`."""
    content: Sequence[float]
    """e_content, likewise; 0 at the end."""


def trace(evaluator: Evaluator, content: Tensor, style: Tensor, output: Tensor) -> Curve:
    """Measure the curve of one pair; pictures as for the evaluator."""
    output = output.clamp(0, 1)
    # At both ends `lerp` gives the picture itself, which the evaluator may know already.
    found = [evaluator.distances(content, style, torch.lerp(content, output, share)) for share in SHARES]
    return Curve([point["e_style"] for point in found], [point["e_content"] for point in found])


def content_at_equal_style(ours: Curve, other: Curve) -> float:
    """Return by how much e_content of ours is larger where both have the larger e_style of the two full pictures."""
    level = max(ours.style[0], other.style[0])
    return read_off(ours.style, ours.content, level) - read_off(other.style, other.content, level)


def style_at_equal_content(ours: Curve, other: Curve) -> float:
    """Return by how much e_style of ours is larger where both have the smaller e_content of the two full pictures."""
    level = min(ours.content[0], other.content[0])
    return read_off(ours.content, ours.style, level) - read_off(other.content, other.style, level)


def read_off(known: Sequence[float], wanted: Sequence[float], level: float) -> float:
    """Return `wanted` where `known` first reaches the level on the way to the content, linearly between the points.

    A level beyond the content's own, which only a picture worse than its content asks for, is read at the content.
    """
    above = np.asarray(known) - level
    if above[0] == 0:
        return float(wanted[0])
    crossings = np.flatnonzero(above[:-1] * above[1:] <= 0)
    if not len(crossings):
        return float(wanted[-1])
    i = crossings[0]
    share = above[i] / (above[i] - above[i + 1])
    return float(wanted[i] + share * (wanted[i + 1] - wanted[i]))
