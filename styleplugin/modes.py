"""One guard around every run: inside it the modes that a caller has set in torch do not count.

Autocast, inference mode, grad mode and the default device belong to a thread, so the guard changes nothing for others.
What belongs to the whole process is left alone, since another thread may change it at any time: every tensor is made
with its dtype and its device named, and no result depends on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

_AUTOCASTING = ("cpu", "cuda", "mps", "xpu")

P = ParamSpec("P")
R = TypeVar("R")


@contextmanager
def plain_modes(*, gradients: bool = False) -> Iterator[None]:
    """Leave autocast, inference mode and the caller's default device, and record gradients only where asked.

    It decorates functions as well; generators have `plain_steps`.

    Args:
        gradients: Whether operations are recorded for a backward pass.
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
        yield


def plain_steps(function: Callable[P, Iterator[R]]) -> Callable[P, Iterator[R]]:
    """Run every step of a generator function in `plain_modes`; in between, its caller's modes are back."""

    @wraps(function)
    def steps(*args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        values = function(*args, **kwargs)
        while True:
            with plain_modes():
                try:
                    value = next(values)
                except StopIteration:
                    return
            yield value

    return steps
