"""The report of a run: one HTML file with curves, contact sheets, figures and recipe, which needs nothing else."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from styleplugin.files import atomic_write
from styleplugin.train.loop.logbook import Logbook, run_folders

PAGE = "report.html"
_TEMPLATE = Path(__file__).with_name("report.html.jinja")
_FIGURES = ("step", "loss", "validation", "psnr", "dead", "dead_encoder", "dead_decoder", "style", "ssim")


def write_page(out: Path) -> Path:
    """Write the report of a run's folder, or of a folder of runs, as far as they are."""
    pages = Environment(loader=FileSystemLoader(_TEMPLATE.parent), autoescape=True, undefined=StrictUndefined)
    pages.filters["number"] = _number
    runs = [_run(folder) for folder in run_folders(out)]
    with atomic_write(out / PAGE) as file:
        file.write(pages.get_template(_TEMPLATE.name).render(title=out.name, runs=runs).encode())
    return out / PAGE


def _run(folder: Path) -> dict[str, Any]:
    """Return what the template shows of a run."""
    rows = Logbook(folder).rows()
    path = folder / "recipe.json"
    recipe = json.loads(path.read_text()) if path.exists() else {}
    passed, state = _state(rows)
    phases = _phases(rows)
    names = [name for name in _FIGURES if any(name in figures for figures in phases.values())]
    return {
        "name": recipe.get("name", folder.name),
        "passed": passed,
        "state": state,
        "names": names,
        "phases": {phase: {name: figures.get(name) for name in names} for phase, figures in phases.items()},
        "pictures": _pictures(folder),
        "recipe": json.dumps(recipe, indent=2),
    }


def _state(rows: list[dict[str, Any]]) -> tuple[bool | None, str]:
    """Return what the gate said, None before the end, and where the run stands."""
    gates = [row for row in rows if "passed" in row]
    if gates:
        if gates[-1]["passed"]:
            return True, "Finished; the student passes its quality gate."
        return False, f"Finished; the student fails its quality gate: {'; '.join(gates[-1]['failed'])}."
    steps = [row for row in rows if "loss" in row]
    if not steps:
        return None, "Not a step is done yet."
    return None, f"In phase {steps[-1]['phase']}, step {steps[-1]['step']} of {steps[-1].get('steps', '?')}."


def _phases(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the last figures of each phase and of the finished student."""
    phases: dict[str, dict[str, Any]] = {}
    for row in rows:
        if "phase" in row and "event" not in row:
            phases.setdefault(row["phase"], {}).update(row)
        elif row.get("event") == "evaluated":
            phases.setdefault("finished", {}).update({k: v for k, v in row.items() if isinstance(v, (int, float))})
    return phases


def _pictures(folder: Path) -> list[dict[str, str]]:
    """Return the curves and the newest contact sheet of each phase, the newest first."""
    found = []
    if (folder / "loss.png").exists():
        found.append(_picture(folder / "loss.png", "Losses and validation", "image/png"))
    sheets = sorted((folder / "sheets").glob("*.jpg"), key=lambda sheet: (sheet.stat().st_mtime, sheet.name))
    newest = {sheet.stem.rpartition("-")[0]: sheet for sheet in sheets}
    for phase, sheet in reversed(newest.items()):
        step = int(sheet.stem.rpartition("-")[2])
        found.append(_picture(sheet, f"{phase}, step {step}: validation pictures and results", "image/jpeg"))
    return found


def _picture(path: Path, caption: str, kind: str) -> dict[str, str]:
    return {"caption": caption, "kind": kind, "data": base64.b64encode(path.read_bytes()).decode()}


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
