"""The way home from a machine that is lent: checkpoints and logs in one tar, in chunks, what matters most first."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from .jobs import QUEUE, Job
from .rounds import LOG

CHUNK = 15 << 20
_HEADERS = 1024
"""What a tar adds to a file, at most."""


def pack(jobs: list[Job], target: Path, limit_mb: float) -> None:
    """Write results.tar.0, .1, ... of the log, the students and the newest checkpoints, as far as there is room.

    At home: `cat results.tar.* | tar x -C runs/queue`, and the log's new rows are added to the committed ones.
    """
    files = [LOG.path, *(job.latest for job in jobs if job.latest)]
    for job in jobs:
        files += sorted(job.out.rglob("recipe.json")) + sorted(job.out.rglob("log.jsonl"))
        checkpoints = sorted(job.out.rglob("*.safetensors"), key=lambda path: path.stat().st_mtime, reverse=True)
        files += [path for path in checkpoints if path not in files]
    buffer, size = io.BytesIO(), 0
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in files:
            name = path.relative_to(QUEUE).as_posix() if path.is_relative_to(QUEUE) else path.name
            own = path.stat().st_size + _HEADERS
            if size + own > limit_mb * 1e6:
                print(f"left out: {name}")
                continue
            size += own
            archive.add(path, name)
    target.mkdir(parents=True, exist_ok=True)
    data = buffer.getvalue()
    for number, begin in enumerate(range(0, len(data), CHUNK)):
        (target / f"results.tar.{number}").write_bytes(data[begin : begin + CHUNK])
    print(f"packed {len(data) / 1e6:.1f} MB")
