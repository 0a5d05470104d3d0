"""Compiled code in the user's cache folder. What cannot be read or written there only takes time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from styleplugin.errors import OutputError
from styleplugin.files import atomic_write

_DIGEST = hashlib.sha256().digest_size


def kept(key: str, make: Callable[[], bytes]) -> bytes:
    """Return what `make` returns, from the file of an earlier process if there is one.

    A file begins with the SHA-256 of the rest, so that a damaged one is made again; another user's is not trusted.

    Args:
        key: All that the result depends on.
        make: Called if it is not there.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    with suppress(RuntimeError):  # There is no home.
        base = base.expanduser()
    path = base / "styleplugin" / "native" / f"{hashlib.sha256(key.encode()).hexdigest()}.o"
    if not path.is_absolute():
        return make()
    with suppress(OSError):
        content = path.read_bytes()
        digest, data = content[:_DIGEST], content[_DIGEST:]
        if digest == hashlib.sha256(data).digest() and path.stat().st_uid == os.getuid():
            return data
    data = make()
    with suppress(OSError, OutputError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(hashlib.sha256(data).digest() + data)
    return data
