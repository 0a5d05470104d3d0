"""Machine code for the CPU at hand, where there is a compiler for it; elsewhere torch's own operations do the work."""

from __future__ import annotations

import ctypes
import os
import threading
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from styleplugin.kernels.code import Code


SWITCH = "STYLEPLUGIN_NATIVE"
"""Environment variable; 0 leaves everything to torch."""

_kept = threading.local()


@dataclass(frozen=True)
class Target:
    """What matters of a CPU."""

    name: str
    features: str
    lanes: int
    """Values of a vector."""
    rows: int
    """Rows of a matrix that are multiplied together: as many as the registers hold sums of, two vectors each."""

    def narrow(self) -> Target:
        """Return the same CPU with vectors of half the length, and no more rows than that."""
        return replace(self, lanes=self.lanes // 2, rows=min(self.rows, self.lanes // 2))


@cache
def target() -> Target | None:
    """Return the CPU that code is compiled for; None without llvmlite, and for CPUs and systems not known here.

    With `STYLEPLUGIN_NATIVE=0` in the environment of the process it is None too.
    """
    if os.environ.get(SWITCH) == "0":
        return None
    try:
        import llvmlite.binding as llvm
    except (ImportError, OSError):  # Not installed, or not made for this system.
        return None
    if not hasattr(llvm, "create_pass_builder") or openmp() is None:
        return None
    features = llvm.get_host_cpu_features()
    # LLVM halves the vectors of some CPUs on its own account.
    name, text = llvm.get_host_cpu_name(), features.flatten() + ",-prefer-256-bit"
    if features.get("avx512f"):
        return Target(name, text, lanes=16, rows=12)
    if features.get("avx2") and features.get("fma"):
        return Target(name, text, lanes=8, rows=6)
    return None


def fits(like: Tensor, values: int) -> bool:
    """Whether maps like this one can be left to compiled code, where so many values lie next to each other."""
    if like.device.type != "cpu" or like.dtype != torch.float32:
        return False
    cpu = target()
    return cpu is not None and values >= cpu.lanes


def known_target() -> Target:
    """Return the CPU that code is compiled for, where `fits` holds."""
    cpu = target()
    assert cpu is not None
    return cpu


def new_code(cpu: Target) -> Code:
    """Begin a function for this CPU, where `fits` holds."""
    from styleplugin.kernels.code import Code

    return Code(cpu)


def scratch(values: int) -> Tensor:
    """Return memory for so many float32 values to work in; the calling thread's next call gets the same again."""
    memory = getattr(_kept, "memory", None)
    if memory is None or memory.numel() < values:
        memory = _kept.memory = torch.empty(values, dtype=torch.float32, device="cpu")
    return memory


@cache
def openmp() -> Any:
    """Return the library of torch's own threads, which has the interface of GNU's OpenMP on Linux, or None."""
    try:
        library = ctypes.CDLL(None)
        library.GOMP_parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        library.omp_get_thread_num.argtypes = library.omp_get_num_threads.argtypes = []
    except (AttributeError, OSError, TypeError):
        return None
    return library
