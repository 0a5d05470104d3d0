"""One round: a model is trained for some minutes from where it stands, judged on a few pairs, and logged."""

from __future__ import annotations

import hashlib
import shutil
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import torch

from styleplugin.errors import Cancelled, CheckpointError
from styleplugin.train import run
from styleplugin.train.loop.lock import locked
from styleplugin.train.recipe.options import RunRecipe
from styleplugin.train.recipe.places import RECIPE

from .jobs import JOBS, KEPT, PATTERNS, QUEUE, WEIGHTS, Job, make_painters, make_patterns, recipe_of, runs_of
from .judging import FEW, judge, means
from .log import Log

LOG = Log(WEIGHTS / "training-log.csv")
OTHER_SETTINGS = "SP801"
"""How a run refuses to go on with another recipe or other pictures."""


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
    artworks = f"{data}/paintings*"
    make_patterns(artworks)
    begin, end = _clock(device), time.monotonic() + 60 * minutes
    counter = Counter()

    def go_on() -> None:
        recipe = recipe_of(job, start_of(job))
        counter.recipes = runs_of(recipe)
        run(
            recipe,
            job.out,
            resume=True,
            device=device,
            photos=f"{data}/photos*",
            paintings=[artworks, PATTERNS],
            teachers=teachers,
            on_event=counter,
            should_stop=lambda: time.monotonic() > end,
        )

    with suppress(Cancelled):
        try:
            go_on()
        except CheckpointError as error:
            if error.code != OTHER_SETTINGS:
                raise
            begin_anew(job)
            go_on()
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

    def __init__(self) -> None:
        self.recipes: dict[str, RunRecipe] = {}
        """Of its runs, by name."""
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
    """Return the file that a run began or begins with: what the queue has made before; None where there is none.

    A student on its way is newer than the embedded file of its name. It is put beside the run, since no run
    writes where it reads.
    """
    start = job.out.with_name(f"{job.name}.start.safetensors")
    if job.out.exists():
        return start if start.exists() else None
    start.unlink(missing_ok=True)
    made = LOG.made(job.name)
    for file in (folder / f"{job.name}.safetensors" for folder in (KEPT, WEIGHTS)):
        if file.exists() and sha256_of(file) in made:
            start.parent.mkdir(parents=True, exist_ok=True)
            return Path(shutil.copyfile(file, start))
    return None


def keep(job: Job) -> str:
    """Copy the student to where it can be committed, if it was trained since the last file of its name was."""
    if job.latest is None:
        return f"{job.name}: no student yet"
    if LOG.newest_of(job.name).get("event") != "round":
        return f"{job.name}: nothing new"
    KEPT.mkdir(exist_ok=True)
    file = shutil.copyfile(job.latest, KEPT / f"{job.name}.safetensors")
    LOG.add(model=job.name, event="kept", sha256=sha256_of(file))
    return f"{job.name}: kept in {KEPT.name}/"


def begin_anew(job: Job) -> None:
    """Keep the student of a run whose recipe or pictures have changed, and remove the run; the next goes on from it.

    Raises:
        UsageError: SP142, another process is training there.
    """
    with ExitStack() as locks:
        for path in sorted(job.out.rglob(RECIPE)):
            locks.enter_context(locked(path.parent))
        print(f"{keep(job)}; its recipe or its pictures have changed, and it goes on from there", flush=True)
        shutil.rmtree(job.out)


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
