"""What a run leaves to look at: a JSONL log, a plot of the losses, contact sheets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from styleplugin.files import atomic_write
from styleplugin.train.evaluation.chart import Panel, draw

Row = dict[str, Any]
_CURVES = ("loss", "validation", "pixel", "perceptual", "embedding", "content", "style")
_GAP = 4


class Logbook:
    """The log of a run.

    Args:
        folder: Holds log.jsonl, loss.png and sheets/.
        on_event: Also gets every row.
        silent: Write nothing; another process does.
    """

    def __init__(self, folder: Path, on_event: Callable[[Row], None] | None = None, *, silent: bool = False) -> None:
        self.folder = folder
        self.silent = silent
        self.path = folder / "log.jsonl"
        self._on_event = on_event

    def write(self, **row: Any) -> None:
        """Append a row."""
        if self.silent:
            return
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        if self._on_event:
            self._on_event(row)

    def rows(self) -> list[Row]:
        """Return all whole rows; a row cut by a kill is passed over."""
        rows = []
        for line in self.path.read_text().splitlines() if self.path.exists() else []:
            try:
                rows.append(json.loads(line))
            except ValueError:
                continue
        return rows

    def rewind(self, phase: str, step: int) -> None:
        """Remove the rows of a phase after a step, which a resumed run will write again."""
        if self.silent:
            return
        kept = [row for row in self.rows() if row.get("phase") != phase or row.get("step", 0) <= step]
        with atomic_write(self.path) as file:
            file.write("".join(json.dumps(row) + "\n" for row in kept).encode())

    def plot(self) -> None:
        """Draw the losses of training and validation of all phases into loss.png."""
        if self.silent:
            return
        phases: dict[str, list[Row]] = {}
        for row in self.rows():
            if "phase" in row:
                phases.setdefault(row["phase"], []).append(row)
        panels = []
        for phase, rows in phases.items():
            curves = {name: [(r["step"], r[name]) for r in rows if _is_point(name, r)] for name in _CURVES}
            panels.append(Panel(phase, {name: points for name, points in curves.items() if points}))
        if panels:
            with atomic_write(self.folder / "loss.png") as file:
                draw(panels).save(file, "PNG")

    def sheet(self, name: str, rows: list[Tensor]) -> None:
        """Write a contact sheet into sheets/.

        Args:
            name: Of the JPEG file, without suffix.
            rows: (N, 3, H, W) pictures each, one row of the sheet; clamped to [0, 1].
        """
        if self.silent:
            return
        folder = self.folder / "sheets"
        folder.mkdir(exist_ok=True)
        with atomic_write(folder / f"{name}.jpg") as file:
            contact_sheet(rows).save(file, "JPEG", quality=90)


def read_log(folder: str | Path) -> list[Row]:
    """Return the rows of a run's log, or of all runs in a folder, oldest first."""
    return [row for run in run_folders(Path(folder)) for row in Logbook(run).rows()]


def run_folders(folder: Path) -> list[Path]:
    """Return a run's folder, or those of the runs in a folder."""
    return [folder] if (folder / "log.jsonl").exists() else sorted(path.parent for path in folder.glob("*/log.jsonl"))


def _is_point(name: str, row: Row) -> bool:
    """Whether a row has a loss of this name, of training or of validation, and no other figure."""
    return row.get(name, 0) > 0 and (name == "validation" or "loss" in row)


def contact_sheet(rows: list[Tensor]) -> Image.Image:
    """Lay rows of equally sized pictures, (N, 3, H, W) in [0, 1], out on white."""
    padded = [
        torch.nn.functional.pad(row.detach().float().cpu().clamp(0, 1), (0, _GAP, 0, _GAP), value=1.0) for row in rows
    ]
    page = torch.cat([torch.cat(list(row), 2) for row in padded], 1)
    return Image.fromarray((page * 255).round().byte().permute(1, 2, 0).numpy())
