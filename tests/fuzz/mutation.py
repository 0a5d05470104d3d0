"""The one engine that damages files: from seeds, a few changes at a time, the cheap headers first."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

HEAD = 512
"""Bytes in which half of all changes fall: there stands what a file claims to be."""
_EDGES = (0, 1, 2, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
_WORDS = (
    b"",
    b"0",
    b"-1",
    b"1e999",
    b"-1e39",
    b"1e-50",
    b"nan",
    b"inf",
    b"true",
    b"null",
    b"[]",
    b"{}",
    b'""',
    b"9" * 5000,
    "²".encode(),
    b"\0",
    b"\xff",
    b"[" * 2000,
    b"a." * 300,
)
_WORD = re.compile(rb"[A-Za-z_]+|-?[0-9][0-9.e+-]*")

Change = Callable[[random.Random, bytearray, int], None]


def mutate(seeds: Sequence[bytes], random_numbers: random.Random) -> bytes:
    """Return a seed with one to four changes."""
    data = bytearray(random_numbers.choice(seeds))
    for _ in range(random_numbers.choice((1, 1, 1, 2, 2, 3, 4))):
        end = len(data) if random_numbers.random() < 0.5 else min(len(data), HEAD)
        random_numbers.choice(_CHANGES)(random_numbers, data, random_numbers.randrange(end + 1))
        if random_numbers.random() < 0.05:
            _splice(random_numbers, data, random_numbers.choice(seeds))
    return bytes(data)


def _flip(numbers: random.Random, data: bytearray, place: int) -> None:
    if place < len(data):
        data[place] ^= 1 << numbers.randrange(8)


def _byte(numbers: random.Random, data: bytearray, place: int) -> None:
    data[place : place + 1] = bytes([numbers.randrange(256)])


def _number(numbers: random.Random, data: bytearray, place: int) -> None:
    size = numbers.choice((1, 2, 4, 8))
    value = numbers.choice(_EDGES) % 256**size
    data[place : place + size] = value.to_bytes(size, numbers.choice(("little", "big")))


def _remove(numbers: random.Random, data: bytearray, place: int) -> None:
    del data[place : place + numbers.choice((1, 2, 4, 16, 256))]


def _repeat(numbers: random.Random, data: bytearray, place: int) -> None:
    size = numbers.choice((1, 4, 16, 256))
    data[place:place] = data[place : place + size] * numbers.choice((1, 2, 20))


def _cut(numbers: random.Random, data: bytearray, place: int) -> None:
    del data[place:]


def _insert(numbers: random.Random, data: bytearray, place: int) -> None:
    data[place:place] = numbers.choice(_WORDS)


def _replace_word(numbers: random.Random, data: bytearray, place: int) -> None:
    """Put another value in the place of a word or number, as it stands in texts and JSON headers."""
    found = _WORD.search(data, place)
    if found:
        data[found.start() : found.end()] = numbers.choice(_WORDS)


def _splice(numbers: random.Random, data: bytearray, other: bytes) -> None:
    start = numbers.randrange(len(other) + 1)
    data[numbers.randrange(len(data) + 1) :] = other[start:]


_CHANGES: tuple[Change, ...] = (_flip, _byte, _number, _remove, _repeat, _cut, _insert, _replace_word, _replace_word)
