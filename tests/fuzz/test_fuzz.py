"""A few damaged files for every parser, and every file that ever failed, in processes of their own."""

from __future__ import annotations

import mmap
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from fuzz.judge import Judge
from fuzz.mutation import mutate
from fuzz.parsers import PARSERS, mend_png, mend_safetensors, seeds_of

ROOT = Path(__file__).parents[2]
COUNT = 150


@pytest.mark.slow
def test_AT_damaged_files_are_our_error_or_a_right_result():
    """The run has bounds of memory, and notices when a parser kills its process, so it is not done in this one."""
    command = [sys.executable, "-m", "fuzz.run", "--check", str(COUNT)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": "tests:."}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (lambda path: int("x"), "ValueError"),
        # Mapped anew: memory that the process has freed before would not count.
        (lambda path: mmap.mmap(-1, 400 << 20).write(bytes(400 << 20)), "MB"),
        (lambda path: bytearray(4 << 40), "MemoryError"),
    ],
    ids=["error", "memory", "address space"],
)
def test_the_judge_notices_what_breaks_the_rule(monkeypatch, tmp_path, read, words):
    monkeypatch.setitem(PARSERS, "cube", replace(PARSERS["cube"], read=read))
    assert words in Judge("cube", tmp_path)(b"").failure


def test_the_judge_tells_errors_of_ours_from_results(tmp_path):
    judge = Judge("cube", tmp_path)
    assert judge(seeds_of("cube")[0]).accepted
    refused = judge(b"LUT_3D_SIZE 2\n")
    assert not refused.accepted and not refused.failure


def test_mutation_gives_the_same_inputs_again_and_different_ones():
    def inputs() -> list[bytes]:
        return [mutate([b"a seed of some bytes"], random.Random(number)) for number in range(50)]

    assert inputs() == inputs()
    assert len(set(inputs())) > 40


def test_a_damaged_png_gets_right_checksums():
    seed = seeds_of("hald")[0]
    damaged = seed[:16] + b"\0\0\0\x07" + seed[20:]
    assert mend_png(seed) == seed
    assert mend_png(damaged)[:29] == damaged[:29] and mend_png(damaged)[29:33] != damaged[29:33]


def test_a_damaged_header_gets_its_right_length():
    seed = seeds_of("styles")[0]
    start = seed.index(b"shape")
    damaged = seed[:start] + b"other" * 9 + seed[start:]
    assert int.from_bytes(mend_safetensors(damaged)[:8], "little") == int.from_bytes(seed[:8], "little") + 45
