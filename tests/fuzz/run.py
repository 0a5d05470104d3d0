"""Fuzz the parsers: `make fuzz MINUTES=10`, or with PYTHONPATH=tests `python -m fuzz.run --parser cube`.

Inputs are numbered, so a run goes on where the last one ended; what fails is written into tests/fuzz/corpus. Counts and
seconds go to docs/fuzzing.json, and the table of docs/fuzzing.md is made from it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import resource
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from fuzz.judge import Judge, input_path
from fuzz.mutation import mutate
from fuzz.parsers import PARSERS, seeds_of

CORPUS = Path(__file__).parent / "corpus"
DOCS = Path(__file__).parents[2] / "docs"
COUNTS, PAGE = DOCS / "fuzzing.json", DOCS / "fuzzing.md"
CHUNK_S = 60.0
"""After which counts are written, and a new process begins."""
ROOM = 1 << 30
"""Bytes of address space that a process may add: what a parser asks for beyond that is an error at once."""
_START, _END = "<!-- table -->\n", "<!-- end -->\n"
_MEMORY = Path("/dev/shm")
_KEYS = ("inputs", "accepted", "failures")
_MOST_OF_ONE_KIND = 3
"""Inputs that are kept of those that fail at one place."""


def mutants(name: str, first: int, *, of: str = "") -> Iterator[bytes]:
    """Yield the damaged inputs of a parser from a number on; `of` names another sequence of them."""
    parser, seeds = PARSERS[name], seeds_of(name)
    number = first
    while True:
        random_numbers = random.Random(f"{of}{name} {number}")
        data = mutate(seeds, random_numbers)
        yield parser.mend(data) if random_numbers.random() < 0.5 else data
        number += 1


def judge_all(
    name: str, inputs: Iterable[bytes], corpus: Path, *, seconds: float = 1e9, patience: float = 1
) -> dict[str, int]:
    """Judge inputs in a child, so that one that kills its process is a failure like any other.

    Args:
        name: Of the parser.
        inputs: What it is given; the child draws them.
        corpus: Where inputs that fail are written.
        seconds: After which no more are drawn.
        patience: See `Judge`.

    Returns:
        How many inputs there were, how many were accepted and how many failed.
    """
    context = multiprocessing.get_context("fork")
    counts = context.RawArray("q", len(_KEYS))
    with TemporaryDirectory(prefix="styleplugin-fuzz-", dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        options = (name, inputs, Path(folder), corpus, seconds, patience, counts)
        child = context.Process(target=_judge_each, args=options)
        child.start()
        child.join()
        if child.exitcode:
            counts[0] += 1
            counts[2] += 1
            keep(name, input_path(name, Path(folder)).read_bytes(), corpus, f"its process ended with {child.exitcode}")
    return dict(zip(_KEYS, counts, strict=True))


def _judge_each(
    name: str, inputs: Iterable[bytes], folder: Path, corpus: Path, seconds: float, patience: float, counts: list[int]
) -> None:
    judge = Judge(name, folder, patience)
    _limit_address_space()
    end = time.monotonic() + seconds
    kinds: dict[str, int] = {}
    for data in inputs:
        verdict = judge(data)
        counts[0] += 1
        counts[1] += verdict.accepted
        if verdict.failure:
            counts[2] += 1
            kinds[verdict.place] = kinds.get(verdict.place, 0) + 1
            if kinds[verdict.place] <= _MOST_OF_ONE_KIND:
                keep(name, data, corpus, verdict.failure)
        if time.monotonic() > end:
            break


def _limit_address_space() -> None:
    statm = Path("/proc/self/statm")
    if statm.exists():
        size = int(statm.read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, resource.RLIM_INFINITY))


def keep(name: str, data: bytes, corpus: Path, why: str) -> None:
    """Write an input that failed, and say so."""
    file = corpus / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}.bin"
    file.write_bytes(data)
    print(f"{file.name}: {why}", flush=True)  # noqa: T201 - a script


def fuzz(name: str, wanted: int, minutes: float) -> None:
    """Go on until the count or the time is reached; the counts are written every minute."""
    deadline = time.monotonic() + 60 * minutes
    while (first := int(counts_so_far().get(name, {}).get("inputs", 0))) < wanted:
        before = os.times()
        left = min(CHUNK_S, deadline - time.monotonic())
        if left <= 0:
            break
        inputs = (data for data, _ in zip(mutants(name, first), range(wanted - first), strict=False))
        done = judge_all(name, inputs, CORPUS, seconds=left)
        after = os.times()
        spent = sum(after[2:4]) - sum(before[2:4])
        record(name, done | {"seconds": round(spent, 1)})
        print(name, done, flush=True)  # noqa: T201


def check(count: int) -> bool:
    """Try the seeds, everything that ever failed, and so many new inputs of every parser; tell whether all is right."""
    right = True
    with TemporaryDirectory(prefix="styleplugin-fuzz-") as folder:
        for name in PARSERS:
            seeds = judge_all(name, seeds_of(name), Path(folder), patience=10)
            if seeds["accepted"] < seeds["inputs"]:
                print(f"{name}: {seeds['inputs'] - seeds['accepted']} seeds are not accepted")  # noqa: T201
                right = False
            old = (file.read_bytes() for file in sorted(CORPUS.glob(f"{name}-*.bin")))
            new = (data for data, _ in zip(mutants(name, 0, of="test "), range(count), strict=False))
            for inputs in (old, new):
                right &= not judge_all(name, inputs, Path(folder), patience=10)["failures"]
    return right


def counts_so_far() -> dict[str, dict[str, float]]:
    """Return the counts of all runs, by parser."""
    return json.loads(COUNTS.read_text()) if COUNTS.exists() else {}


def record(name: str, done: dict[str, float]) -> None:
    """Add counts to those of earlier runs, and write the table."""
    counts = counts_so_far()
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
    arguments.add_argument("--check", type=int, help="try seeds, corpus and so many other inputs, and write no counts")
    given = arguments.parse_args()
    torch.set_num_threads(1)
    if given.check is not None:
        sys.exit(not check(given.check))
    names = list(PARSERS) if given.parser == "all" else [given.parser]
    for name in names:
        fuzz(name, given.count or PARSERS[name].wanted, given.minutes / len(names))


if __name__ == "__main__":
    main()
