"""One round: a model is trained for some minutes from where it stands, judged on a few pairs, and logged."""

from __future__ import annotations

import hashlib
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from styleplugin.errors import Cancelled
from styleplugin.train import run
from styleplugin.train.config import RunRecipe

from .jobs import JOBS, KEPT, QUEUE, WEIGHTS, Job, make_painters, recipe_of, runs_of
from .judging import FEW, judge, means
from .log import Log

LOG = Log(WEIGHTS / "training-log.csv")
START = "start.safetensors"
"""In the folder of a run that goes on from a committed file: that file, so that a later round finds the same start."""


def train_round(job: Job, minutes: float, *, device: str, threads: int, teachers: Path, data: Path) -> None:
    """Train a model for some minutes of wall time, and log what was done.

    Args:
        job: The model.
        minutes: Until the run is stopped with a checkpoint; reading pictures counts.
        device: cpu, cuda or auto.
        threads: Of torch on the CPU.
        teachers: Folder of the teachers' files.
        data: Folder of the training pictures.
    """
    torch.set_num_threads(threads)
    make_painters(teachers)
    begin, end = _clock(device), time.monotonic() + 60 * minutes
    recipe = recipe_of(job, start_of(job))
    counter = Counter(runs_of(recipe))
    with suppress(Cancelled):
        run(
            recipe,
            job.out,
            resume=True,
            device=device,
            photos=f"{data}/photos*",
            paintings=f"{data}/paintings*",
            teachers=teachers,
            on_event=counter,
            should_stop=lambda: time.monotonic() > end,
        )
    row = {
        "model": job.name,
        "event": "round",
        "device": device,
        "phase": counter.phase,
        "steps": counter.step,
        "crops": counter.crops,
        "hours": (_clock(device) - begin) / 3600,
    }
    try:
        if job.latest is not None:
            row |= {"sha256": sha256_of(job.latest), "pairs": FEW, **means(judge(job, job.latest, FEW))}
    finally:
        # Also where the queue is stopped while it judges: the steps were done.
        LOG.add(**row)


class Counter:
    """Listens to a run: which phase it is in, its steps, and the crops of this round."""

    def __init__(self, recipes: dict[str, RunRecipe]) -> None:
        self.recipes = recipes
        self.phase, self.step, self.crops = "", 0, 0

    def __call__(self, event: dict[str, Any]) -> None:
        """Take in a row of the run's log."""
        if event.get("event") == "phase":
            self.step = event["step"]
        elif "loss" in event:
            recipe = self.recipes[event["run"]]
            self.phase = event["phase"] if len(self.recipes) == 1 else f"{recipe.name} {event['phase']}"
            self.crops += (event["step"] - self.step) * recipe.phase(event["phase"]).batch
            self.step = event["step"]


def start_of(job: Job) -> Path | None:
    """Return the file to go on from: none while the run's own folder is there, else what the queue has made before.

    A student on its way is newer than the embedded file of its name.
    """
    start = job.out / START
    if start.exists():
        return start
    files = (folder / f"{job.name}.safetensors" for folder in (KEPT, WEIGHTS))
    made = LOG.made(job.name)
    file = next((path for path in files if path.exists() and sha256_of(path) in made), None)
    if job.out.exists() or file is None:
        return None
    job.out.mkdir(parents=True)
    start.write_bytes(file.read_bytes())
    return start


def _clock(device: str) -> float:
    """Return seconds: of the processor, so that a busy machine counts less, or of the accelerator's wall time."""
    return time.process_time() if device == "cpu" else time.monotonic()


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def status() -> str:
    """Return a table of all models: where they stand, and the last figures beside those of the file that was taken."""
    lines = [
        "| model | phase | steps | crops | hours | e_style now / taken | e_content now / taken |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    rows = LOG.rows()
    for job in JOBS:
        own = [row for row in rows if row["model"] == job.name]
        rounds = [row for row in own if row["event"] == "round"]
        last = rounds[-1] if rounds else {}
        taken = next((row for row in reversed(own) if row["event"] == "taken"), {})
        figures = [f"{last.get(name) or '-'} / {taken.get(name) or '-'}" for name in ("e_style", "e_content")]
        cells = [
            job.name,
            last.get("phase") or "-",
            last.get("steps") or "-",
            LOG.crops(job.name),
            f"{LOG.hours(job.name):.2f}",
        ]
        lines.append("| " + " | ".join(map(str, [*cells, *figures])) + " |")
    checkpoints = sum(path.stat().st_size for path in QUEUE.rglob("*") if path.is_file()) if QUEUE.exists() else 0
    return "\n".join([*lines, "", f"Checkpoints: {checkpoints / 1e6:.0f} MB in {QUEUE}."])
