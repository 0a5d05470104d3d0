"""Curves of a run as a picture: a panel for each phase, losses on a logarithmic scale.

Drawn with Pillow, which is always there: the node pack must not ask its host for a plotting library.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from PIL import Image, ImageDraw, ImageFont

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 520, 380
"""Of a panel, pixels."""
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 60, 44
_COLORS = ("#1f5fbf", "#d1495b", "#2a9d5c", "#e08e1b", "#7b4fb5", "#3aa6b9", "#8c6239", "#666666")
_INK, _GRID, _PAPER = "#222222", "#dddddd", "#ffffff"


@dataclass(frozen=True)
class Panel:
    """One phase."""

    title: str
    curves: Mapping[str, Points] = field(default_factory=dict)
    """Points (step, value) by name; values are positive."""


def draw(panels: Sequence[Panel]) -> Image.Image:
    """Draw panels side by side."""
    image = Image.new("RGB", (WIDTH * max(1, len(panels)), HEIGHT), _PAPER)
    names = dict.fromkeys(name for panel in panels for name in panel.curves)
    colors = {name: _COLORS[i % len(_COLORS)] for i, name in enumerate(names)}
    for i, panel in enumerate(panels):
        _draw_panel(ImageDraw.Draw(image), WIDTH * i, panel, colors)
    return image


def _draw_panel(pen: ImageDraw.ImageDraw, left: int, panel: Panel, colors: Mapping[str, str]) -> None:
    small, large = ImageFont.load_default(13), ImageFont.load_default(17)
    pen.text((left + _LEFT, 10), panel.title, _INK, large)
    points = [point for curve in panel.curves.values() for point in curve]
    if not points:
        return
    last = max(step for step, _ in points) or 1
    low, high = (f(math.log10(value) for _, value in points) for f in (min, max))
    low, high = low - 0.05, max(high, low + 0.5) + 0.05

    def place(step: float, value: float) -> tuple[float, float]:
        x = left + _LEFT + (WIDTH - _LEFT - _RIGHT) * step / last
        y = HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * (math.log10(value) - low) / (high - low)
        return x, y

    for value in _ticks(low, high):
        (start, y), (end, _) = place(0, value), place(last, value)
        pen.line((start, y, end, y), _GRID)
        pen.text((start - 8, y), f"{value:g}", _INK, small, anchor="rm")
    pen.line((*place(0, 10**low), *place(last, 10**low)), _INK)
    for share in (0.0, 0.5, 1.0):
        x, y = place(share * last, 10**low)
        pen.text((x, y + 8), f"{share * last:.0f}", _INK, small, anchor="ma")
    pen.text((left + (WIDTH + _LEFT) / 2, HEIGHT - 6), "step", _INK, small, anchor="md")
    legend = left + _LEFT
    for name, curve in panel.curves.items():
        color = colors[name]
        line = [place(*point) for point in curve]
        if len(line) > 1:
            pen.line(line, color, 2, joint="curve")
        else:
            x, y = line[0]
            pen.ellipse((x - 2, y - 2, x + 2, y + 2), color)
        pen.text((legend, 34), name, color, small)
        legend += pen.textlength(name, small) + 12


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers between two powers of ten: 1, 2, 5 of each decade, or the decades where these are many."""
    decades = range(math.floor(low), math.ceil(high) + 1)
    steps = (1, 2, 5) if high - low < 3 else (1,)
    values = [step * 10.0**decade for decade in decades for step in steps]
    return [value for value in values if low <= math.log10(value) <= high]
