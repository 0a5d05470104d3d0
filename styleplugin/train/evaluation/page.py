"""The report of a run: one HTML file with curves, contact sheets, figures and recipe, which needs nothing else."""

from __future__ import annotations

import base64
import json
from html import escape
from pathlib import Path
from typing import Any

from styleplugin.files import atomic_write
from styleplugin.train.loop.logbook import Logbook, run_folders

PAGE = "report.html"
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #222;
       background: #fff; }
h1, h2, h3 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-top: 1px solid #ccc; padding-top: 1rem; }
table { border-collapse: collapse; margin: 1rem 0; } td, th { padding: .2rem 1rem .2rem 0; text-align: left; }
td:not(:first-child) { font-variant-numeric: tabular-nums; }
img { max-width: 100%; height: auto; } figure { margin: 1rem 0; } figcaption { color: #666; font-size: .9em; }
pre { background: #f4f4f4; padding: 1rem; overflow: auto; font-size: .85em; }
.bad { color: #b00020; } .good { color: #086b2d; }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #16181c; } pre { background: #22252b; }
  h2 { border-color: #444; } .bad { color: #ff8a95; } .good { color: #7fd69b; } figcaption { color: #999; } }
"""


def write_page(out: Path) -> Path:
    """Write the report of a run's folder, or of a folder of runs, as far as they are."""
    body = "\n".join(_section(folder) for folder in run_folders(out))
    page = (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(out.name)}</title><style>{_STYLE}</style>\n<h1>{escape(out.name)}</h1>\n{body}\n</html>\n"
    )
    with atomic_write(out / PAGE) as file:
        file.write(page.encode())
    return out / PAGE


def _section(folder: Path) -> str:
    rows = Logbook(folder).rows()
    path = folder / "recipe.json"
    recipe = json.loads(path.read_text()) if path.exists() else {}
    parts = [f"<h2>{escape(str(recipe.get('name', folder.name)))}</h2>", _state(rows), _figures(rows)]
    if (folder / "loss.png").exists():
        parts.append(_picture(folder / "loss.png", "Losses and validation", "image/png"))
    sheets = sorted((folder / "sheets").glob("*.jpg"), key=lambda sheet: (sheet.stat().st_mtime, sheet.name))
    newest = {sheet.stem.rpartition("-")[0]: sheet for sheet in sheets}
    for phase, sheet in reversed(newest.items()):
        step = int(sheet.stem.rpartition("-")[2])
        parts.append(_picture(sheet, f"{phase}, step {step}: validation pictures and results", "image/jpeg"))
    parts.append(f"<h3>Recipe</h3><pre>{escape(json.dumps(recipe, indent=2))}</pre>")
    return "\n".join(parts)


def _state(rows: list[dict[str, Any]]) -> str:
    """Say where the run stands, and what the gate said."""
    gates = [row for row in rows if "passed" in row]
    if gates:
        words = "; ".join(gates[-1]["failed"])
        if gates[-1]["passed"]:
            return '<p class="good">Finished; the student passes its quality gate.</p>'
        return f'<p class="bad">Finished; the student fails its quality gate: {escape(words)}.</p>'
    steps = [row for row in rows if "loss" in row]
    if not steps:
        return "<p>Not a step is done yet.</p>"
    last = steps[-1]
    return f"<p>In phase {escape(last['phase'])}, step {last['step']} of {last.get('steps', '?')}.</p>"


def _figures(rows: list[dict[str, Any]]) -> str:
    """Return a table of the last figures of each phase and of the finished student."""
    phases: dict[str, dict[str, Any]] = {}
    for row in rows:
        if "phase" in row and "event" not in row:
            phases.setdefault(row["phase"], {}).update(row)
        elif row.get("event") == "evaluated":
            phases.setdefault("finished", {}).update({k: v for k, v in row.items() if isinstance(v, (int, float))})
    names = ("step", "loss", "validation", "psnr", "dead", "dead_encoder", "dead_decoder", "style", "ssim")
    used = [name for name in names if any(name in figures for figures in phases.values())]
    head = "".join(f"<th>{name}</th>" for name in ("phase", *used))
    lines = [
        "<tr>" + "".join(f"<td>{cell}</td>" for cell in (escape(phase), *(_number(row.get(n)) for n in used))) + "</tr>"
        for phase, row in phases.items()
    ]
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else escape(str(value))


def _picture(path: Path, caption: str, kind: str) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    words = escape(caption)
    return f'<figure><img alt="{words}" src="data:{kind};base64,{data}"><figcaption>{words}</figcaption></figure>'
