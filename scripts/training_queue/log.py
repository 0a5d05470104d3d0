"""The log of all rounds, and of what was taken: weights/training-log.csv."""

from __future__ import annotations

import csv
import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.evaluation import FIGURES

FIELDS = (
    "time",
    "model",
    "event",
    "device",
    "phase",
    "steps",
    "crops",
    "hours",
    "sha256",
    "pairs",
    *FIGURES,
    "halo",
)
"""Steps of the phase, crops and hours of this round; hours of the processor or the accelerator; means over selection
pairs."""


class Log:
    """The rows in the order they came."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self) -> list[dict[str, str]]:
        """Return all rows."""
        if not self.path.exists():
            return []
        with self.path.open(newline="") as file:
            return list(csv.DictReader(file))

    def add(self, **row: Any) -> None:
        """Append a row; figures are rounded to what is read."""
        known = self.path.exists()
        row["time"] = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M")
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
            if not known:
                writer.writeheader()
            writer.writerow({name: _text(value) for name, value in row.items()})

    def hours(self, model: str) -> float:
        """Return the hours that a model has been trained for."""
        return sum(float(row["hours"] or 0) for row in self.rows() if row["model"] == model)

    def crops(self, model: str, *, judged: bool = False) -> int:
        """Return the crops that a model has seen; `judged` leaves out rounds that ended without a student, as those do
        in which the pairs of a bundle are still trained one by one."""
        rows = (row for row in self.rows() if row["model"] == model and (row["sha256"] or not judged))
        return sum(int(row["crops"] or 0) for row in rows)

    def newest_of(self, model: str) -> dict[str, str]:
        """Return the last row of a model; nothing while there is none."""
        return next((row for row in reversed(self.rows()) if row["model"] == model), {})

    def made(self, model: str) -> set[str]:
        """Return the sha256 of all files of a model that were taken or kept."""
        rows = (row for row in self.rows() if row["model"] == model)
        return {row["sha256"] for row in rows if row["event"] in ("taken", "kept")}

    def taken(self, model: str) -> list[dict[str, str]]:
        """Return the rows of what was taken into the weights folder, oldest first."""
        return [row for row in self.rows() if row["model"] == model and row["event"] == "taken"]


def figures_of(row: Mapping[str, str]) -> dict[str, float]:
    """Return the figures in a row."""
    return {name: float(row[name]) for name in (*FIGURES, "halo") if row.get(name)}


def _text(value: Any) -> Any:
    return f"{value:.4f}" if isinstance(value, float) else value
