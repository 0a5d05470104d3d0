"""One run per folder: a lock that the system releases when its owner dies, however it dies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from styleplugin.errors import UsageError

LOCK, OWNER = "run.lock", "run.pid"
"""Files in the folder: what is locked, and the process that did."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock for the block.

    Raises:
        UsageError: SP142, another process holds it; its id is named; SP144, nobody can.
    """
    lock, owner = FileLock(folder / LOCK, timeout=0), folder / OWNER
    try:
        lock.acquire()
        owner.write_text(str(os.getpid()))
    except Timeout as error:
        process = owner.read_text().strip() if owner.exists() else "?"
        raise UsageError("SP142", f"Process {process} is training in {folder}.", "Choose another folder.") from error
    except OSError as error:
        lock.release()
        raise UsageError(
            "SP144", f"The folder {str(folder)!r} cannot be locked: {error.strerror}.", "Choose another folder."
        ) from error
    try:
        yield
    finally:
        lock.release()
