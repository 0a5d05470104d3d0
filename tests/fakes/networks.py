"""Networks of random values."""

from collections.abc import Callable
from typing import TypeVar

import torch

from styleplugin.networks.layers import drawn_from

N = TypeVar("N")


def drawn(make: Callable[[], N], seed: int = 0) -> N:
    """Make networks whose layers are drawn from a seed."""
    with drawn_from(torch.Generator().manual_seed(seed)):
        return make()
