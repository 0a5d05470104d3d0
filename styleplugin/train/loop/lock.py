"""One run per folder: a lock that the system releases when its owner dies, however it dies."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from styleplugin.errors import UsageError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock for the block.

    Raises:
        UsageError: SP142, another process holds it; its id is named.
    """
    with (folder / "run.lock").open("a+") as file:
        try:
            _lock(file.fileno())
        except OSError as error:
            file.seek(0)
            raise UsageError(
                "SP142", f"Process {file.read().strip() or '?'} is training in {folder}.", "Choose another folder."
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _lock(descriptor: int) -> None:
    """Lock an open file until it is closed; OSError if another process has it."""
    if sys.platform == "win32":
        import msvcrt

        # A byte behind the process id, which others must be able to read.
        os.lseek(descriptor, 1 << 20, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
