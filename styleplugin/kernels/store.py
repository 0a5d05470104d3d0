"""Compiled code in the user's cache folder. What cannot be read or written there only takes time.

Whoever can write a file here could have bytes executed. So folders and files are judged by what was opened, not by
their names: they must be the user's own and writable by nobody else, and a file must be a regular one of sensible size.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from styleplugin.errors import OutputError
from styleplugin.files import atomic_write

_DIGEST = hashlib.sha256().digest_size
_MAX_BYTES = 16 << 20
"""The code of a kernel has some kilobytes."""
_FOLDERS = ("styleplugin", "native")
_PRIVATE_FOLDER, _PRIVATE_FILE = 0o700, 0o600
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def kept(key: str, make: Callable[[], bytes]) -> bytes:
    """Return what `make` returns, from the file of an earlier process if there is one.

    A file begins with the SHA-256 of its key and the rest, so that a damaged one, or another key's, is made again.

    Args:
        key: All that the result depends on.
        make: Called if it is not there.
    """
    base = _base()
    if base is None:
        return make()
    name = f"{hashlib.sha256(key.encode()).hexdigest()}.o"
    with suppress(OSError), _opened(base) as folder:
        data = _read(folder, name, key)
        if data is not None:
            return data
    data = make()
    with suppress(OSError, OutputError):
        _make_folders(base)
        with _opened(base), atomic_write(base.joinpath(*_FOLDERS, name)) as file:
            os.fchmod(file.fileno(), _PRIVATE_FILE)
            file.write(_digest(key, data) + data)
    return data


def _base() -> Path | None:
    """Return the folder of all caches; None where it is not known."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    with suppress(RuntimeError):  # There is no home.
        base = base.expanduser()
    return base if base.is_absolute() else None


@contextmanager
def _opened(base: Path) -> Iterator[int]:
    """Open the folder of the store; OSError if it or the one around it is a link or not the user's alone."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    folder = os.open(base, flags)
    try:
        for name in _FOLDERS:
            inner = os.open(name, flags | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
            _check_private(os.fstat(folder))
        yield folder
    finally:
        os.close(folder)


def _make_folders(base: Path) -> None:
    """Make the folders of the store for the user alone, whatever the umask allows; close those that are the user's."""
    base.mkdir(_PRIVATE_FOLDER, parents=True, exist_ok=True)
    folder = base
    for name in _FOLDERS:
        folder = folder / name
        with suppress(FileExistsError):
            folder.mkdir(_PRIVATE_FOLDER)
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if os.fstat(opened).st_mode & _OTHERS_WRITE:
                os.fchmod(opened, _PRIVATE_FOLDER)
        finally:
            os.close(opened)


def _read(folder: int, name: str, key: str) -> bytes | None:
    """Return the data of a file that was kept for this key; None if it cannot be relied on."""
    # Without O_NONBLOCK a FIFO would wait for somebody who writes to it.
    file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    with os.fdopen(file, "rb") as handle:
        found = os.fstat(file)
        _check_private(found)
        if not stat.S_ISREG(found.st_mode) or found.st_size > _MAX_BYTES:
            return None
        content = handle.read(_MAX_BYTES)
    digest, data = content[:_DIGEST], content[_DIGEST:]
    return data if digest == _digest(key, data) else None


def _check_private(found: os.stat_result) -> None:
    if found.st_uid != os.getuid() or found.st_mode & _OTHERS_WRITE:
        raise PermissionError("others can write it")


def _digest(key: str, data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(key.encode()).digest() + data).digest()
