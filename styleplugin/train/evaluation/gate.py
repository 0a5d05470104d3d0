"""The quality gate: what a student must be able to do before it may leave its run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from styleplugin.train.recipe.options import RunRecipe

_AT_LEAST = ("psnr", "ssim")


def verdict(recipe: RunRecipe, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Compare a student's figures with the limits of its recipe.

    Returns:
        JSON data for the card: "passed", "failed" (a sentence for each limit that is missed) and "limits".
    """
    limits = recipe.limits()
    failed = []
    for name, limit in limits.items():
        for key, value in metrics.items():
            if key.partition("_")[0] != name or not isinstance(value, (int, float)):
                continue
            if name in _AT_LEAST and not value >= limit:
                failed.append(f"{key} is {value:g}, at least {limit:g} is needed")
            elif name not in _AT_LEAST and not value <= limit:
                failed.append(f"{key} is {value:g}, at most {limit:g} is allowed")
    return {"passed": not failed, "failed": failed, "limits": limits}
