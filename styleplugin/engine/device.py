"""Choosing a device, and what is known about devices."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from styleplugin.errors import ResourceError, UsageError

TILES = {"cpu": 384, "cuda": 2048, "mps": 1024, "xpu": 2048}
"""Side in pixels of the fastest tile of 16-channel maps. On a CPU it is measured: far smaller ones spend
more on their rims, a whole picture leaves the cache."""


def pick_device(name: str) -> torch.device:
    """Return the device for a name; auto takes CUDA, then MPS, then the CPU.

    Raises:
        UsageError: SP106, not a device name.
        ResourceError: SP510, the device is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(
            "SP106",
            f"--device was {name!r}; it must be auto, cpu, cuda, cuda:N, xpu or mps.",
            "For example --device cpu.",
        ) from None
    present = {
        "cpu": 1,
        "cuda": torch.cuda.device_count(),
        "xpu": torch.xpu.device_count(),
        "mps": int(torch.backends.mps.is_available()),
    }
    if (device.index or 0) >= present.get(device.type, 0):
        raise ResourceError("SP510", f"The device {name!r} is not available here.", "Use --device cpu or auto.")
    return device


def free_memory(device: torch.device) -> int:
    """Return the bytes that can be allocated on a device now, as far as it can be told."""
    if device.type in ("cuda", "xpu"):
        backend = getattr(torch, device.type)
        # What torch holds but does not use counts as free.
        cached = backend.memory_reserved(device) - backend.memory_allocated(device)
        return backend.mem_get_info(device)[0] + cached
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return 4 << 30


def keep_freed_memory() -> None:
    """Make the C library keep the buffers that a tile frees for the next tile.

    glibc hands large buffers back at once, and the system clears their pages each time they are taken again. It keeps
    buffers up to the largest one that was ever freed, 32 MiB at most, and twice as much in all: so one is taken here
    and freed, untouched. Elsewhere this does nothing.
    """
    torch.empty(31 << 20, dtype=torch.uint8)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that an allocation failed, on any device."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and ("not enough memory" in text or "out of memory" in text)
