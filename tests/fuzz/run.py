"""Fuzz the parsers: `make fuzz MINUTES=10`, or with PYTHONPATH=tests `python -m fuzz.run --parser cube`.

Inputs are numbered, so a run goes on where the last one ended; what fails is written into tests/fuzz/corpus. Counts and
seconds go to docs/fuzzing.json, and the table of docs/fuzzing.md is made from it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from fuzz.judge import judge
from fuzz.mutation import mutate
from fuzz.parsers import PARSERS, seeds_of

CORPUS = Path(__file__).parent / "corpus"
DOCS = Path(__file__).parents[2] / "docs"
COUNTS, PAGE = DOCS / "fuzzing.json", DOCS / "fuzzing.md"
_START, _END = "<!-- table -->\n", "<!-- end -->\n"
_MEMORY = Path("/dev/shm")


def fuzz(name: str, first: int, count: int, deadline: float) -> dict[str, float]:
    """Judge the inputs from `first` on until the count or the time is reached; return what was done."""
    done = {"inputs": 0, "accepted": 0, "failures": 0}
    started = time.monotonic()
    with TemporaryDirectory(prefix="styleplugin-fuzz-", dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        while done["inputs"] < count and time.monotonic() < deadline:
            data = mutate(seeds_of(name), random.Random(f"{name} {first + done['inputs']}"))
            verdict = judge(name, data, Path(folder), exact=True)
            done["inputs"] += 1
            done["accepted"] += verdict.accepted
            if verdict.failure:
                done["failures"] += 1
                file = CORPUS / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}.bin"
                file.write_bytes(data)
                print(f"{file.name}: {verdict.failure}", flush=True)  # noqa: T201 - a script
    return done | {"seconds": round(time.monotonic() - started, 1)}


def record(name: str, done: dict[str, float]) -> None:
    """Add counts to those of earlier runs, and write the table."""
    counts = json.loads(COUNTS.read_text()) if COUNTS.exists() else {}
    before = counts.get(name, {})
    counts[name] = {key: round(before.get(key, 0) + value, 1) for key, value in done.items()}
    COUNTS.write_text(json.dumps(counts, indent=2) + "\n")
    head, _, rest = PAGE.read_text().partition(_START)
    rows = [
        f"| {name} | {row['inputs']:,.0f} | {parser.wanted:,} | {row['accepted']:,.0f} | {row['failures']:,.0f} | "
        f"{row['seconds']:,.0f} |\n"
        for name, parser in PARSERS.items()
        if (row := counts.get(name))
    ]
    title = "| Parser | Inputs | Wanted | Accepted | Failed | Seconds |\n| --- | --- | --- | --- | --- | --- |\n"
    PAGE.write_text(head + _START + title + "".join(rows) + _END + rest.partition(_END)[2])


def main() -> None:
    """Run."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--parser", choices=[*PARSERS, "all"], default="all")
    arguments.add_argument("--count", type=int, default=0, help="inputs in all, earlier runs included; 0: as wanted")
    arguments.add_argument("--minutes", type=float, default=1e6)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    names = list(PARSERS) if given.parser == "all" else [given.parser]
    for name in names:
        counts = json.loads(COUNTS.read_text()) if COUNTS.exists() else {}
        first = int(counts.get(name, {}).get("inputs", 0))
        left = (given.count or PARSERS[name].wanted) - first
        done = fuzz(name, first, left, time.monotonic() + 60 * given.minutes / len(names))
        record(name, done)
        print(name, done, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
