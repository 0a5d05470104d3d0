"""One guard around every run: the caller's modes of torch do not count inside it, and where memory or a device ends, so
does the run, with our error.

Autocast, inference mode, grad mode and the default device belong to a thread, so the guard changes nothing for others.
What belongs to the whole process is left alone, since another thread may change it at any time: every tensor is made
with its dtype and its device named, and no result depends on the number of threads. One thing cannot be named with a
product: whether torch may round its factors to fewer bits. So as long as any thread is in the guard, it may not.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from typing import Any, ParamSpec, TypeVar

import torch

from styleplugin.errors import ResourceError, StylePluginError

_AUTOCASTING = ("cpu", "cuda", "mps", "xpu")
_NO_MEMORY = (
    "out of memory",
    # Of torch's own allocator, on Windows and elsewhere.
    "not enough memory",
    "can't allocate memory",
    "cannot allocate memory",
    # Of C++ and of oneDNN, which says no more than this when it cannot allocate.
    "bad_alloc",
    "bad allocation",
    "could not create a primitive",
    "could not create a memory",
    "could not execute a primitive",
    # Of CUDA's libraries.
    "alloc_failed",
)
_DEVICE_FAILED = (
    "cuda error",
    "cuda driver",
    "cublas_status",
    "cudnn_status",
    "cudnn error",
    "cusolver error",
    "hip error",
    "no kernel image is available",
    "mps backend",
    "for the mps device",
    "level_zero error",
    "level zero error",
    "device lost",
)
"""Of a driver that fails, a device that is gone or too old for this torch, and an operation that it does not have."""

_threads_are_in: int | None = None
"""The process in which something was computed with several threads first."""

P = ParamSpec("P")
R = TypeVar("R")


class _FullPrecision:
    """Matrix products and the CPU's convolutions of float32 count all bits, as long as any thread is inside.

    With `torch.set_float32_matmul_precision("medium")`, or what `torch.backends` says since torch 2.9, oneDNN takes
    bfloat16 where the processor multiplies it faster (AMX), and a GPU takes TF32: a hundredth of a picture's range and
    more behind a network and a whitening. cuDNN's convolutions stay as the program wants them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._give_back: list[Callable[[], None]] = []

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._hold()

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            while not self._inside and self._give_back:
                self._give_back.pop()()

    def _hold(self) -> None:
        before = _matmul_precision()
        # None: the program has gone over to `torch.backends` alone.
        if before not in (None, "highest"):
            torch.set_float32_matmul_precision("highest")
            self._give_back.append(partial(_back_to_matmul_precision, before))
        backends: Any = torch.backends
        of_mkldnn: list[Any] = [getattr(backends.mkldnn, name, None) for name in ("matmul", "conv")]
        for products in (*of_mkldnn, backends.cuda.matmul):
            before = getattr(products, "fp32_precision", None)
            if before in ("tf32", "bf16"):
                # What is the same without a precision of its own comes from above, and shall follow it again.
                products.fp32_precision = "none"
                own = "none" if products.fp32_precision == before else before
                products.fp32_precision = "ieee"
                self._give_back.append(partial(_back_to_precision, products, own))


def _matmul_precision() -> str | None:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:
        return None


def _back_to_matmul_precision(before: str) -> None:
    # What another thread has asked for in between stays.
    if _matmul_precision() == "highest":
        torch.set_float32_matmul_precision(before)


def _back_to_precision(products: Any, before: str) -> None:
    if products.fp32_precision == "ieee":
        products.fp32_precision = before


_full_precision = _FullPrecision()


@contextmanager
def guarded(*, gradients: bool = False) -> Iterator[None]:
    """Leave autocast, inference mode, the caller's default device and products of fewer bits; record gradients only
    where asked.

    It decorates functions as well; generators have `guarded_steps`.

    Args:
        gradients: Whether operations are recorded for a backward pass.

    Raises:
        ResourceError: SP502, an allocation failed, of whichever library; SP511, the device failed.
    """
    with ExitStack() as modes:
        # Leaving inference mode switches gradients on.
        modes.enter_context(torch.inference_mode(False))
        modes.enter_context(torch.set_grad_enabled(gradients))
        for kind in _AUTOCASTING:
            if torch.is_autocast_enabled(kind):
                modes.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            modes.enter_context(torch.device("cpu"))
        modes.enter_context(_full_precision)
        _do_without_lost_threads()
        try:
            yield
        except Exception as error:
            if is_out_of_memory(error):
                raise ResourceError(
                    "SP502", "There is not enough memory for this.", "Close other programs, or take smaller pictures."
                ) from error
            if is_device_failure(error):
                first = str(error).partition("\n")[0]
                raise ResourceError(
                    "SP511",
                    f"The device failed: {first}",
                    "Start the program again, with `device=cpu` if it happens again.",
                ) from error
            raise


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that an allocation failed: torch's, oneDNN's, NumPy's, Pillow's, on any device."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return not isinstance(error, StylePluginError) and any(words in text for words in _NO_MEMORY)


def is_device_failure(error: BaseException) -> bool:
    """Whether an exception means that a driver or a device failed, or cannot do what it was asked for."""
    if not isinstance(error, (RuntimeError, NotImplementedError)) or isinstance(error, StylePluginError):
        return False
    text = str(error).lower()
    return any(words in text for words in _DEVICE_FAILED)


def _do_without_lost_threads() -> None:
    """Compute with one thread where several would wait for ever.

    A fork copies none of the threads that torch computes with, but the library that owns them (OpenMP) counts on them.
    """
    global _threads_are_in
    if torch.get_num_threads() == 1:
        return
    if _threads_are_in is None:
        _threads_are_in = os.getpid()
    elif _threads_are_in != os.getpid():
        torch.set_num_threads(1)


def guarded_steps(function: Callable[P, Iterator[R]]) -> Callable[P, Iterator[R]]:
    """Run every step of a generator function in `guarded`; in between, its caller's modes are back."""

    @wraps(function)
    def steps(*args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        values = function(*args, **kwargs)
        while True:
            with guarded():
                try:
                    value = next(values)
                except StopIteration:
                    return
            yield value

    return steps
