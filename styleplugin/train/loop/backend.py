"""How torch works while a phase trains: the fastest kernels, and memory that is not given back between steps."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch


@contextmanager
def backend_settings(device: torch.device, *, keep_memory: bool) -> Iterator[None]:
    """Let cuDNN choose its fastest kernels for the block; the crops all have one size.

    Args:
        device: Where the run trains.
        keep_memory: On a CPU, keep freed memory in the process.
    """
    if device.type == "cpu" and keep_memory:
        _keep_freed_memory()
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = device.type == "cuda"
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def _keep_freed_memory() -> None:
    """Ask glibc not to give large freed blocks back to the system.

    Every step frees and allocates the same tensors; paging them in anew each time took more time than a copy of them.
    It stays for the process, which does nothing but train. Elsewhere than on Linux there is nothing to ask.
    """
    trim_threshold, mmap_threshold, size = -1, -3, 1 << 30
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_threshold, size)
        libc.mallopt(trim_threshold, size)
