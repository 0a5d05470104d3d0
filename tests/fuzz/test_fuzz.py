"""A few damaged files for every parser, and every file that ever failed."""

from __future__ import annotations

import mmap
import random
from dataclasses import replace
from pathlib import Path

import pytest
from fuzz.judge import judge
from fuzz.mutation import mutate
from fuzz.parsers import PARSERS, seeds_of

CORPUS = sorted((Path(__file__).parent / "corpus").glob("*.bin"))
COUNT = 150


@pytest.mark.parametrize("name", [name for name in PARSERS if name != "tensorflow"])
def test_seeds_are_accepted(name, tmp_path):
    verdicts = [judge(name, seed, tmp_path, exact=False) for seed in seeds_of(name)]
    assert not any(verdict.failure for verdict in verdicts)
    assert any(verdict.accepted for verdict in verdicts)


@pytest.mark.slow
@pytest.mark.parametrize("name", PARSERS)
def test_AT_damaged_files_are_our_error_or_a_result(name, tmp_path):
    for number in range(COUNT):
        data = mutate(seeds_of(name), random.Random(f"test {name} {number}"))
        verdict = judge(name, data, tmp_path, exact=False)
        assert not verdict.failure, (number, verdict.failure)


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_AT_what_once_failed_does_not_fail_again(path, tmp_path):
    assert not judge(path.stem.partition("-")[0], path.read_bytes(), tmp_path, exact=False).failure


@pytest.mark.parametrize(
    ("read", "words"),
    [
        (lambda path: int("x"), "ValueError"),
        # Mapped anew: memory that the process has freed before would not count.
        (lambda path: mmap.mmap(-1, 400 << 20).write(bytes(400 << 20)), "MB"),
    ],
    ids=["error", "memory"],
)
def test_the_judge_notices_what_breaks_the_rule(monkeypatch, tmp_path, read, words):
    monkeypatch.setitem(PARSERS, "cube", replace(PARSERS["cube"], read=read))
    assert words in judge("cube", b"", tmp_path, exact=True).failure


def test_mutation_gives_the_same_inputs_again_and_different_ones():
    def inputs() -> list[bytes]:
        return [mutate([b"a seed of some bytes"], random.Random(number)) for number in range(50)]

    assert inputs() == inputs()
    assert len(set(inputs())) > 40
