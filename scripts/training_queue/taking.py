"""Taking what has become better: a student replaces the embedded file of its name, cards and list included."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.evaluation.intervals import interval
from styleplugin.loading import index
from styleplugin.tensorfile import read_weights
from styleplugin.train import bundle
from styleplugin.train.runs.phase_loop import LATEST

from .jobs import KEPT, ROOT, WEIGHTS, Job
from .judging import judge, means
from .log import Log, figures_of
from .rounds import LOG, sha256_of

BARS = {
    "cd-wct.x16": {"e_style": 0.270, "e_content": 1.150, "weave": 2.0},
    "cd-adain.x16": {"e_style": 0.285, "e_content": 1.120, "weave": 1.7},
    "kbstyle.200k": {"e_style": 0.306, "e_content": 1.100, "weave": 1.7},
    "kbstyle.large": {"e_style": 0.300, "e_content": 1.080, "weave": 1.7},
    "pca-photo.vgg": {"e_style": 0.259, "e_content": 0.650, "halo": 6.0},
    "pca-photo.mobilenet": {"e_style": 0.262, "e_content": 0.650, "halo": 6.0},
}
"""What each model is to reach; the less the better in all of these. Provisional, until the base line
of these networks is whole; those of the photo models come from other networks."""
COMPLETE_CROPS = 20_000
"""Crops, of rounds that ended with a student, after which the first one of a model counts as complete."""
LARGER_IS_BETTER = ("ssim", "edge_ssim")
NEUTRAL = ("flat_deviation",)
"""Neither large nor small is good."""


def gap(name: str, figures: dict[str, float]) -> float:
    """Return the sum of a model's gaps to its bars, each relative to its bar; 0 where all are reached."""
    return sum(max(0.0, figures[figure] / bar - 1) for figure, bar in BARS[name].items())


def passes_tests(job: Job) -> bool:
    """Run the tests of an embedded model."""
    command = [sys.executable, "-m", "pytest", "-q", "tests/test_weights.py", "-k", job.name]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def take(job: Job, *, log: Log = LOG, passes: Callable[[Job], bool] = passes_tests) -> str:
    """Replace the embedded file where the student is better on all selection pairs; return what was decided.

    It is taken where the sum of gaps falls, no figure is worse than the best of all files taken so far by more than
    half of its interval, and the tests of embedded models pass. The first student from the new ground needs the tests
    alone once it has seen `COMPLETE_CROPS`; before, it must have a smaller gap than the file from before the queue.
    """
    if job.latest is None:
        return f"{job.name}: no student yet"
    before = [figures_of(row) for row in log.taken(job.name)]
    embedded = WEIGHTS / f"{job.name}.safetensors"
    rivals = before[-1:]
    if not before and embedded.exists() and log.crops(job.name, judged=True) < COMPLETE_CROPS:
        rivals = [means(judge(job, embedded))]
    found = judge(job, job.latest)
    figures = means(found)
    now = gap(job.name, figures)
    if rivals and now >= (then := gap(job.name, rivals[0])):
        return f"{job.name}: kept, its gap is {then:.3f}, that of the student {now:.3f}"
    for name, values in found.items():
        if name in NEUTRAL or not (known := [row[name] for row in before if name in row]):
            continue
        sign = -1 if name in LARGER_IS_BETTER else 1
        worse = sign * figures[name] - min(sign * value for value in known)
        if worse > interval(values).half_width:
            return f"{job.name}: kept, {name} would be {figures[name]:.3f} after {known}"
    earlier = {path: path.read_bytes() for path in WEIGHTS.iterdir() if path.is_file()}
    file = embed(job, job.latest)
    if not passes(job):
        for path in WEIGHTS.iterdir():
            if path not in earlier:
                path.unlink()
        for path, content in earlier.items():
            path.write_bytes(content)
        return f"{job.name}: kept, its tests fail"
    (KEPT / file.name).unlink(missing_ok=True)
    log.add(model=job.name, event="taken", sha256=sha256_of(file), pairs=len(found["e_style"]), **figures)
    return f"{job.name}: taken, gap {now:.3f}"


def embed(job: Job, latest: Path) -> Path:
    """Copy a student into the weights folder, in the form in which models of its kind are distributed."""
    finished = latest.with_name(f"{job.name}.safetensors")
    if job.name.startswith("cd-adain"):
        bundle([latest], finished, read_weights(latest).metadata["license"], name=job.name, overwrite=True)
    else:
        shutil.copyfile(latest, finished)
    index.add_to_index(finished, job.name, description=job.description, folder=WEIGHTS)
    half = latest.with_stem(f"{Path(LATEST).stem}-fp16")
    if half.exists() and job.name == "kbstyle.200k":
        index.add_to_index(half, f"{job.name}-fp16", description="the same in half precision, 96 kB", folder=WEIGHTS)
    return WEIGHTS / f"{job.name}.safetensors"
