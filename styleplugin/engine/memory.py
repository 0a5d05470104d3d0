"""Memory: how much there is, and the reuse of what is freed."""

from __future__ import annotations

import ctypes
import math
import mmap
import weakref
from contextlib import suppress

import numpy as np
import torch
from torch import Tensor

from styleplugin import memory

_LARGE = 32 << 20
"""Bytes from which on glibc never keeps a buffer that is freed, unless it is told to."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# Numbers of glibc's mallopt.


def free_memory(device: torch.device) -> int:
    """Return the bytes that can be allocated on a device now, as far as it can be told."""
    if device.type in ("cuda", "xpu"):
        backend = getattr(torch, device.type)
        # What torch holds but does not use counts as free.
        cached = backend.memory_reserved(device) - backend.memory_allocated(device)
        return backend.mem_get_info(device)[0] + cached
    return memory.free_memory()


def keep_freed_memory() -> None:
    """Make the C library keep the buffers that a tile frees for the next tile.

    glibc hands large buffers back at once, and the system clears their pages each time they are taken again. It keeps
    buffers up to the largest one that was ever freed, 32 MiB at most, and twice as much in all: so one is taken here
    and freed, untouched. Elsewhere this does nothing.
    """
    torch.empty(_LARGE - (1 << 20), dtype=torch.uint8, device="cpu")


def keep_all_freed_memory() -> None:
    """Make the C library keep buffers of up to 1 GiB, for the life of the process: for one that does nothing but train.

    Every step frees and allocates the same tensors; paging them in anew each time took more time than a copy of them.
    Elsewhere than with glibc this does nothing.
    """
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_TRIM_THRESHOLD, 1 << 30)


class Arena:
    """Gives maps memory, that of maps which are gone where it fits.

    A large buffer is new memory for a CPU's system, which clears it page by page as it is written first. One arena
    serves one run, so nothing is held on to afterwards.
    """

    def __init__(self) -> None:
        self._free: list[np.ndarray] = []

    def empty(self, shape: tuple[int, int, int, int], like: Tensor) -> Tensor:
        """Allocate an (N, C, H, W) map of `like`'s dtype and device, channels-last and not initialized."""
        size = math.prod(shape) * like.element_size()
        if like.device.type != "cpu" or size < _LARGE:
            return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last)
        fitting = [memory for memory in self._free if memory.size >= size]
        if fitting:
            pages = min(fitting, key=np.size)
            self._free = [free for free in self._free if free is not pages]
        else:
            self._free.clear()
            pages = _pages(size)
        # The map and all its views hold this array; once it is gone, the memory is free.
        held = pages[:size]
        weakref.finalize(held, self._free_again, pages)
        n, channels, height, width = shape
        return torch.from_numpy(held).view(like.dtype).view(n, height, width, channels).permute(0, 3, 1, 2)

    def _free_again(self, pages: np.ndarray) -> None:
        self._free.append(pages)


def _pages(size: int) -> np.ndarray:
    """Take new memory, in huge pages where Linux has them on request: there are fewer of them to hand out."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.empty(size, np.uint8)
    try:
        pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise MemoryError(f"{size >> 20} MB cannot be allocated.") from error
    with suppress(OSError):  # A kernel without huge pages refuses the advice.
        pages.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(pages, np.uint8)
