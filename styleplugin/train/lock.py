"""One run per folder: a lock that the system releases when its owner dies, however it dies."""

from __future__ import annotations

import os
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
    import fcntl

    with (folder / "run.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise UsageError(
                "SP142", f"Process {file.read().strip() or '?'} is training in {folder}.", "Choose another folder."
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
