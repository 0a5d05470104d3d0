"""What a system has painted and how it was judged, kept in an ignored folder: a rerun makes only what is missing."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from common import RESULTS
from evaluation import Evaluator, Pair, halo, read
from evaluation.curves import Curve, trace
from PIL import Image
from rivals import System
from torch import Tensor

from styleplugin.files import atomic_write

_SOURCES = Path(__file__).parent / "evaluation"


@dataclass(frozen=True)
class Judged:
    """One pair of one system."""

    figures: dict[str, float]
    curve: Curve | None
    """None where it was not asked for."""
    picture: Path
    """At full strength, 8 bits."""


def judge(
    system: System, pairs: Sequence[Pair], kind: str, evaluator: Evaluator, *, curves: bool = True
) -> dict[int, Judged]:
    """Return the results of a system by the pairs' numbers; paint and judge what is not known yet.

    Args:
        system: A slow one is given only its first pairs.
        pairs: Of the kind.
        kind: artistic or photo, which has the figure `halo` besides.
        evaluator: Of all systems, so that it keeps what it knows of the pairs.
        curves: Whether to measure the curves, which take more than twice as long as the figures.
    """
    folder = RESULTS / "quality" / kind / f"{_file_name(system.name)}-{_identity(system)}"
    folder.mkdir(parents=True, exist_ok=True)
    ledger = folder / "figures.json"
    known: dict[str, Any] = json.loads(ledger.read_text()) if ledger.exists() else {}
    found = {}
    for pair in pairs[: system.most_pairs]:
        picture, line = folder / f"{pair.index:02}.png", known.setdefault(str(pair.index), {})
        if "figures" not in line or (curves and "curve" not in line) or not picture.exists():
            line |= _judge_pair(system, pair, kind, evaluator, picture, curves)
            with atomic_write(ledger) as file:
                file.write(json.dumps(known, indent=1).encode())
        found[pair.index] = Judged(line["figures"], Curve(*line["curve"]) if "curve" in line else None, picture)
    return found


def _judge_pair(
    system: System, pair: Pair, kind: str, evaluator: Evaluator, picture: Path, curves: bool
) -> dict[str, Any]:
    content, style = read(pair.content), read(pair.style)
    output = system.paint(content, style).clamp(0, 1)
    _to_image(output).save(picture)
    figures = evaluator(content, style, output)
    if kind == "photo":
        figures["halo"] = halo(content, output)
    return {"figures": figures} | ({"curve": trace(evaluator, content, style, output)} if curves else {})


def _identity(system: System) -> str:
    """Return what changes with the system's weights and options, and with the definitions of the figures."""
    digest = hashlib.sha256(system.identity.encode())
    for source in sorted(_SOURCES.glob("*.py")):
        digest.update(source.read_bytes())
    return digest.hexdigest()[:12]


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.]+", "-", name)


def _to_image(tensor: Tensor) -> Image.Image:
    return Image.fromarray((tensor[0].clamp(0, 1).permute(1, 2, 0) * 255).round().to(torch.uint8).numpy())
