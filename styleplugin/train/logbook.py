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

Row = dict[str, Any]
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
        """Draw the losses of all phases on logarithmic scales, and the validation, into loss.png."""
        if self.silent:
            return
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        phases: dict[str, list[Row]] = {}
        for row in self.rows():
            if "phase" in row:
                phases.setdefault(row["phase"], []).append(row)
        if not phases:
            return
        figure = Figure(figsize=(5 * len(phases), 4))
        # Matplotlib's automatic layouts draw the figure three times over.
        figure.subplots_adjust(left=0.06, right=0.94, wspace=0.5)
        canvas = FigureCanvasAgg(figure)
        for axes, (phase, rows) in zip(figure.subplots(1, len(phases), squeeze=False)[0], phases.items(), strict=True):
            for name in ("loss", "validation", "pixel", "perceptual", "embedding", "content", "style"):
                points = [(row["step"], row[name]) for row in rows if row.get(name, 0) > 0 and _is_curve(name, row)]
                if points:
                    axes.plot(*zip(*points, strict=True), label=name, linewidth=1)
            axes.set(title=phase, xlabel="step", yscale="log")
            if axes.lines:
                axes.legend(loc="upper right", fontsize="small")
            points = [(row["step"], row["psnr"]) for row in rows if "psnr" in row]
            if points:
                right = axes.twinx()
                right.plot(*zip(*points, strict=True), "k.--", linewidth=0.8)
                right.set_ylabel("validation PSNR, dB")
        with atomic_write(self.folder / "loss.png") as file:
            canvas.print_png(file)

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


def _is_curve(name: str, row: Row) -> bool:
    """Whether a value is a loss of training or the validation loss, and no other figure of that name."""
    return name == "validation" or "loss" in row


def contact_sheet(rows: list[Tensor]) -> Image.Image:
    """Lay rows of equally sized pictures, (N, 3, H, W) in [0, 1], out on white."""
    padded = [
        torch.nn.functional.pad(row.detach().float().cpu().clamp(0, 1), (0, _GAP, 0, _GAP), value=1.0) for row in rows
    ]
    page = torch.cat([torch.cat(list(row), 2) for row in padded], 1)
    return Image.fromarray((page * 255).round().byte().permute(1, 2, 0).numpy())
