"""Figures of a weights file on selection pairs, by the networks of the evaluation."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

import styleplugin
from benchmarks.evaluation import Evaluator, halo, pairs, photo_pairs, read

from .jobs import Job

FEW = 8
"""Pairs that a round is judged on."""


def judge(job: Job, path: Path, count: int | None = None) -> dict[str, list[float]]:
    """Stylize selection pairs and measure each.

    Args:
        job: Of the model.
        path: Its weights file.
        count: How many pairs; all by default.

    Returns:
        Each figure's values, pair by pair.
    """
    stylizer = styleplugin.load(f"file:{path}", device="cpu", allow_unknown_model=True)
    evaluator = Evaluator()
    chosen = (photo_pairs if job.is_photo else pairs)("selection")[:count]
    found: dict[str, list[float]] = {}
    for pair in chosen:
        content, style = read(pair.content), read(pair.style)
        output = stylizer(content, stylizer.prepare(style)).tensor
        figures = evaluator(content, style, output)
        if job.is_photo:
            figures["halo"] = halo(content, output)
        for name, value in figures.items():
            found.setdefault(name, []).append(value)
    return found


def means(found: dict[str, list[float]]) -> dict[str, float]:
    """Return the mean of each figure over the pairs that have it."""
    return {name: float(np.nanmean(values)) for name, values in found.items() if not all(map(math.isnan, values))}
