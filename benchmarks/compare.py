"""Comparisons of two models over the same pairs: at equal style distance and at equal content, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 2000


@dataclass(frozen=True)
class Curve:
    """What a model does to all pairs at falling strengths, the full one first."""

    content: np.ndarray
    """(S, P), content SSIM: more is better."""
    style: np.ndarray
    """(S, P), style distance: less is better."""


@dataclass(frozen=True)
class Difference:
    """A mean with the interval that holds 95% of its bootstrap draws."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.3f} ({self.low:+.3f} to {self.high:+.3f})"


def interval(pairs: int, statistic: Callable[[np.ndarray], float | None]) -> Difference | None:
    """Bootstrap a statistic over pairs.

    Args:
        pairs: How many there are.
        statistic: Gets the indices of the drawn pairs; None where it does not exist.

    Returns:
        None where the statistic does not exist for the pairs as they are, or for over 5% of the draws.
    """
    random = np.random.default_rng(0)
    value = statistic(np.arange(pairs))
    draws = [statistic(random.integers(pairs, size=pairs)) for _ in range(DRAWS)]
    known = [draw for draw in draws if draw is not None]
    if value is None or len(known) < 0.95 * DRAWS:
        return None
    low, high = np.percentile(known, (2.5, 97.5))
    return Difference(value, float(low), float(high))


def content_at_equal_style(ours: Curve, rival: Curve) -> Difference | None:
    """Return how much more content SSIM ours keeps when both have the same style distance.

    The one with the smaller distance is weakened until it has the other's; None where it has no strengths for that.
    """
    return interval(ours.style.shape[1], lambda drawn: _gap(ours, rival, drawn, "style", "content"))


def style_at_equal_content(ours: Curve, rival: Curve) -> Difference | None:
    """Return how much larger the style distance of ours is when both keep the same content SSIM; see above."""
    return interval(ours.style.shape[1], lambda drawn: _gap(ours, rival, drawn, "content", "style"))


def _gap(ours: Curve, rival: Curve, drawn: np.ndarray, equal: str, compared: str) -> float | None:
    # Both figures grow as the strength falls, so the larger one at full strength is what both can reach.
    ours_equal, rival_equal = (getattr(curve, equal)[:, drawn].mean(1) for curve in (ours, rival))
    target = max(ours_equal[0], rival_equal[0])
    if max(ours_equal) < target or max(rival_equal) < target:
        return None
    mine, other = (
        _read(at, getattr(curve, compared)[:, drawn].mean(1), target)
        for curve, at in ((ours, ours_equal), (rival, rival_equal))
    )
    return float(mine - other)


def _read(x: np.ndarray, y: np.ndarray, at: float) -> float:
    """Return y where x first reaches a value, along the line through the points."""
    for i in range(len(x) - 1):
        if x[i] <= at <= x[i + 1]:
            return y[i] + (y[i + 1] - y[i]) * (at - x[i]) / max(x[i + 1] - x[i], 1e-12)
    return y[int(np.argmin(np.abs(x - at)))]


def mean_text(values: Sequence[float], digits: int = 3) -> str:
    """Format a mean with half the width of its bootstrap interval."""
    array = np.asarray(values)
    found = interval(len(array), lambda drawn: float(array[drawn].mean()))
    assert found is not None
    return f"{found.value:.{digits}f} ± {(found.high - found.low) / 2:.{digits}f}"
