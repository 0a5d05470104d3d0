"""How torch works while a phase trains: the fastest kernels, and memory that is not given back between steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from styleplugin.engine.memory import keep_all_freed_memory


@contextmanager
def backend_settings(device: torch.device, *, keep_memory: bool) -> Iterator[None]:
    """Let cuDNN choose its fastest kernels for the block; the crops all have one size.

    Args:
        device: Where the run trains.
        keep_memory: On a CPU, keep freed memory in the process.
    """
    if device.type == "cpu" and keep_memory:
        keep_all_freed_memory()
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = device.type == "cuda"
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
