"""Linear algebra in one thread, where torch does it by MKL, which rounds differently with every number of threads."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Let MKL use no other threads for what the calling thread asks of it inside; without MKL this does nothing.

    It is a setting of the thread, and the only one that does not reach others: torch's own number of threads is kept
    for the whole process.
    """
    set_threads = _set_threads()
    if set_threads is None:
        yield
        return
    before = set_threads(1)
    try:
        yield
    finally:
        set_threads(before)


@cache
def _set_threads() -> Callable[[int], int] | None:
    """Return MKL's function that sets the number of threads for the calling thread and returns the number before."""
    if not torch.backends.mkl.is_available():
        return None
    for library in (Path(torch.__file__).parent / "lib").glob("libtorch_cpu.*"):
        try:
            function = ctypes.CDLL(str(library)).MKL_Set_Num_Threads_Local
        except (AttributeError, OSError):  # MKL comes as a library of its own, or hides its functions.
            continue
        function.argtypes, function.restype = [ctypes.c_int], ctypes.c_int
        return function
    return None
