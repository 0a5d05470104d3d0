"""The one rule for everything that writes files: no run destroys what it reads, nor what it was not asked to replace.

A path that is written leads to another file than every path that is read, and than every other that is written. It is
checked before the work begins, whoever asks for it: a command, a call, a node, a training.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from styleplugin.errors import OutputError
from styleplugin.files import PathLike, check_target, has_suffix
from styleplugin.kinds import Kind


@dataclass(frozen=True)
class Written:
    """A file that a run writes."""

    path: PathLike
    kind: Kind
    overwrite: bool = False
    """Whether a file of this kind may be replaced."""


@dataclass(frozen=True)
class Reads:
    """Marks a parameter or a field whose value names what is read."""

    paths: Callable[[str], Iterable[str]] = lambda value: (value,)
    """From the value to paths."""
    metavar: str = "PATH"
    """What help calls the value."""


@dataclass(frozen=True)
class Writes:
    """Marks a parameter whose value is the path of a file that is written."""

    kind: Kind
    unless: str = ""
    """A parameter that, where it is true, says that the file may be replaced: it is gone on with."""


def source_paths(source: str) -> tuple[str, ...]:
    """Return the path that the source of a model names: `file:PATH` or PATH.safetensors; of other sources none."""
    if source.startswith("file:"):
        return (source.removeprefix("file:"),)
    return (source,) if has_suffix(source, ".safetensors") and not source.startswith("hub:") else ()


def paths_among(*values: Any) -> tuple[PathLike, ...]:
    """Return what is a path among pictures, styles and masks as people hand them in, lists of them included."""
    return tuple(_paths_among(values))


def _paths_among(value: Any) -> Iterator[PathLike]:
    if isinstance(value, (str, os.PathLike)):
        yield value
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _paths_among(part)
    elif hasattr(value, "region"):
        yield from _paths_among((value.style, value.region, value.mask))


def check_paths(reads: Iterable[PathLike], writes: Sequence[Written]) -> None:
    """Raise OutputError if a run would destroy a file.

    Args:
        reads: Files and folders that the run reads; missing ones are somebody else's error.
        writes: Files that it writes.

    Raises:
        OutputError: SP607, a written path leads to what is read, or to another that is written; SP601 to SP603 and
            SP608 as `files.check_target`.
    """
    reads = tuple(reads)
    for written in writes:
        for read in reads:
            if leads_to(written.path, read):
                raise OutputError(
                    "SP607",
                    f"{str(written.path)!r} would be written, and leads to {str(read)!r}, which this run reads.",
                    "Choose another name for what is written.",
                )
    for one, other in combinations(writes, 2):
        if _is_same_target(one.path, other.path):
            raise OutputError(
                "SP607",
                f"{str(one.path)!r} would be written twice: as {one.kind.name} and as {other.kind.name}.",
                "Choose a name of its own for each.",
            )
    for written in writes:
        check_target(written.path, written.kind, overwrite=written.overwrite)


def leads_to(written: PathLike, read: PathLike) -> bool:
    """Whether a written path leads to a file that is read, or to one that exists in a folder that is read."""
    if is_same_file(written, read):
        return True
    try:
        if not Path(read).is_dir() or not Path(written).exists():
            return False
        return any(parent.samefile(read) for parent in Path(written).resolve().parents)
    except (OSError, ValueError):
        return False


def is_same_file(path: PathLike, other: PathLike) -> bool:
    """Whether two paths lead to one existing file, by links of both kinds, or by other upper and lower case."""
    try:
        return Path(path).samefile(other)
    except (OSError, ValueError):
        return False


def _is_same_target(path: PathLike, other: PathLike) -> bool:
    """Whether two files would be one, also where neither exists: on many disks upper and lower case are one."""
    if is_same_file(path, other):
        return True
    try:
        one, two = (unicodedata.normalize("NFC", os.path.realpath(name)) for name in (path, other))
    except (OSError, ValueError):
        return False
    # Where one of them exists and the other does not, the disk tells upper case from lower case.
    return one == two or (one.casefold() == two.casefold() and not Path(path).exists() and not Path(other).exists())
