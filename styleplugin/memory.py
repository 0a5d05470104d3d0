"""How much of the computer's memory there is for use."""

from __future__ import annotations

import os
from pathlib import Path

from styleplugin.errors import ResourceError

_SMALL = 64 << 20
"""Bytes that nobody asks about."""


def free_memory() -> int:
    """Return the bytes that can be allocated now, as far as it can be told."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return 4 << 30


def check_room(needed: int, what: str, hint: str) -> None:
    """Find out before memory is taken whether there is so much: a system may give it, and end the process later.

    Args:
        needed: Bytes, the least that will do.
        what: What needs them, as the subject of a sentence.
        hint: What to change.

    Raises:
        ResourceError: SP504.
    """
    if needed <= _SMALL:
        return
    free = free_memory()
    if needed > free:
        raise ResourceError(
            "SP504",
            f"{what} needs at least {needed >> 20} MB of memory; {free >> 20} MB are free.",
            hint,
            {"needed_mb": needed >> 20, "free_mb": free >> 20},
        )
