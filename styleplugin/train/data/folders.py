"""The files of a folder of training pictures, links included, and none of what lies above it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def files_below(root: Path) -> list[Path]:
    """Return the regular files of a folder at any depth, in a fixed order.

    Links are followed to files and to folders, since many collections consist of nothing else; but not to a folder that
    holds `root`, nor to one that was seen already.
    """
    return sorted(_files(root, root.resolve(), set()))


def _files(folder: Path, root: Path, seen: set[Path]) -> Iterator[Path]:
    place = folder.resolve()
    if place in seen:
        return
    seen.add(place)
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        path = folder / entry.name
        if path.is_file():
            yield path
        elif path.is_dir() and not (entry.is_symlink() and root.is_relative_to(path.resolve())):
            yield from _files(path, root, seen)
