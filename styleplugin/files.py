"""Safe files: what may be opened, and writing that leaves either the old file or the new one, never a cut one."""

from __future__ import annotations

import os
import re
import secrets
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

from styleplugin.errors import InputImageError, OutputError, StylePluginError
from styleplugin.kinds import Kind

PathLike = str | os.PathLike[str]

_LEFTOVER_AGE_S, _SETTLED_S = 3600, 1
"""Seconds after which a temporary file is a leftover: where its writer may live, and where it certainly does not."""
_ADDRESS = re.compile(r"(?:[a-z][a-z0-9+.-]+:/|data:)", re.IGNORECASE)
"""Begins a URL; the names of drives have one letter."""


def has_suffix(path: PathLike, *suffixes: str) -> bool:
    """Whether a name ends in one of these, in upper or lower case: cameras and old programs write `.JPG` and `.CUBE`.

    Args:
        path: Name or path of a file.
        suffixes: In lower case, with their dot.
    """
    return Path(path).name.lower().endswith(suffixes)


def check_regular_file(path: PathLike, error: type[StylePluginError] = InputImageError, code: str = "SP201") -> Path:
    """Return the path if it leads to a regular file, without opening it (a FIFO would block).

    Args:
        path: File, or link to a file.
        error: Class to raise, so that weights and styles report in their own family.
        code: Code to raise it with.

    Raises:
        StylePluginError: of class `error`; missing, a dangling link, a directory, FIFO, socket or device.
    """
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError) as cause:
        if _ADDRESS.match(str(path)):
            sentence = f"{str(path)[:99]!r} is an address on the network; a file on this machine is needed."
            raise error(code, sentence, "Download it first.") from cause
        if str(path) == "-":
            raise error(code, "Standard input is not read; the path of a file is needed.", "Save it first.") from cause
        raise error(code, f"{str(path)!r} cannot be found or reached; a file is needed.", "Check the path.") from cause
    if not stat.S_ISREG(mode):
        raise error(code, f"{str(path)!r} is {_kind(mode)}; a regular file is needed.", "Give the path of a file.")
    return Path(path)


def check_target(path: PathLike, kind: Kind, *, overwrite: bool) -> Path:
    """Return the path if a file may be written there; meant to be called before long work starts.

    Args:
        path: Where the file shall go.
        kind: What it will be; of what exists, it replaces its own kind only.
        overwrite: Whether it may replace anything.

    Raises:
        OutputError: SP601, the folder is missing or not writable; SP602, the file (or a link of this name, even a
            dangling one) exists and `overwrite` is false; SP603, the path leads to a directory, FIFO, socket or device,
            or holds a NUL; SP608, the file that exists is of another kind.
    """
    target = _check_place(path)
    if not os.path.lexists(target):
        return target
    if not overwrite:
        raise OutputError("SP602", f"{str(path)!r} exists; it is not replaced unless asked.", "Use `overwrite=True`.")
    if target.exists() and not kind.may_replace(target):
        raise OutputError(
            "SP608",
            f"{str(path)!r} is not {kind.name}, and only {kind.name} is replaced by one.",
            "Choose another name, or remove the file first.",
        )
    return target


@contextmanager
def atomic_write(path: PathLike) -> Iterator[BinaryIO]:
    """Open a binary file that appears under its name, whole and on disk, only when the block ends without an error.

    An existing file is replaced at the end; a link is replaced itself, and the file it leads to is not touched.

    Raises:
        OutputError: SP601 or SP603 as in `check_target`; SP604, the system refused to write (disk full, no permission).
    """
    target = _check_place(path)
    _remove_leftovers(target.parent)
    # Not made from the target's name, which may already have the longest length the file system takes.
    temporary = target.with_name(f".styleplugin-{secrets.token_hex(8)}.part")
    try:
        with temporary.open("xb") as handle:
            _hold(handle.fileno())
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(target)
    except OSError as error:
        raise OutputError(
            "SP604",
            f"{str(path)!r} could not be written: {error.strerror or error}.",
            "Free some space, or choose another folder.",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def copy_whole(source: PathLike, target: PathLike, kind: Kind, *, overwrite: bool) -> Path:
    """Copy a file, which appears under its new name whole or not at all; return the target.

    Raises:
        OutputError: SP601 to SP604 and SP608, the target exists or cannot be written.
    """
    path = check_target(target, kind, overwrite=overwrite)
    with atomic_write(path) as file:
        file.write(Path(source).read_bytes())
    return path


@cache
def _remove_leftovers(folder: Path) -> None:
    """Remove temporary files of killed runs; once per folder and process, since a batch writes thousands of files."""
    for leftover in folder.glob(".styleplugin-*.part"):
        with suppress(OSError):
            if _is_abandoned(leftover):
                leftover.unlink()


def _is_abandoned(leftover: Path) -> bool:
    """Whether nobody writes to a temporary file any more."""
    # The clock of another machine, or a wrong one, gives times that lie in the future.
    age = abs(time.time() - leftover.stat().st_mtime)
    if age <= _SETTLED_S:
        return False
    descriptor = os.open(leftover, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))
    try:
        return age > (_SETTLED_S if _hold(descriptor) else _LEFTOVER_AGE_S)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)


def _hold(descriptor: int) -> bool:
    """Lock an open file until it is closed, or its process dies; return whether the system can do that.

    Raises:
        BlockingIOError: Somebody else holds it.
    """
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:  # A file system without locks.
        return False
    return True


def _check_place(path: PathLike) -> Path:
    """Return the path if the system lets a file be written there."""
    target = Path(path)
    try:
        mode = target.stat().st_mode
    except OSError:
        mode = None
    except ValueError as error:
        raise OutputError("SP603", f"{str(path)!r} cannot be a file name.", "Choose another name.") from error
    if mode is not None and not stat.S_ISREG(mode):
        raise OutputError("SP603", f"{str(path)!r} is {_kind(mode)}; a file name is needed.", "Choose another name.")
    if not _is_writable_folder(target.parent):
        raise OutputError(
            "SP601",
            f"{str(path)!r} cannot be written; its folder must exist and be writable.",
            "Create the folder, or choose another one.",
        )
    return target


def _is_writable_folder(folder: Path) -> bool:
    try:
        return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        return False


def _kind(mode: int) -> str:
    return {stat.S_IFDIR: "a directory", stat.S_IFIFO: "a FIFO", stat.S_IFSOCK: "a socket"}.get(
        stat.S_IFMT(mode), "a device"
    )
