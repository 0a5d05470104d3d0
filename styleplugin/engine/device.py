"""Choosing a device, and what is known about devices."""

from __future__ import annotations

import torch

from styleplugin.errors import ResourceError, UsageError

TILES = {"cpu": 384, "cuda": 2048, "mps": 1024, "xpu": 2048}
"""Side in pixels of the fastest tile of 16-channel maps. On a CPU it is measured: far smaller ones spend
more on their halos, a whole picture leaves the cache."""


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
            f"`device` was {name!r}; it must be auto, cpu, cuda, cuda:N, xpu or mps.",
            "For example `device=cpu`.",
        ) from None
    present = {
        "cpu": 1,
        "cuda": torch.cuda.device_count(),
        "xpu": torch.xpu.device_count(),
        "mps": int(torch.backends.mps.is_available()),
    }
    if (device.index or 0) >= present.get(device.type, 0):
        raise ResourceError("SP510", f"The device {name!r} is not available here.", "Use `device=cpu` or auto.")
    return device
