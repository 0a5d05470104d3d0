"""Averaged weights: what a training with a constant learning rate is good for at any time.

Source: Polyak and Juditsky 1992; with a memory that grows with the steps done, as in Karras et al. 2024 (EDM2).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Average:
    """Follows the weights of a module.

    Args:
        module: In training.
        share: Of the steps done that the average looks back on, above 0 and below 1.
    """

    def __init__(self, module: nn.Module, share: float) -> None:
        self.module = module
        self.share = share
        self.values = {name: value.detach().clone() for name, value in module.named_parameters()}

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Take in the weights after a step, counted from 1."""
        weight = min(1.0, 1 / (self.share * step))
        for name, value in self.module.named_parameters():
            self.values[name].lerp_(value, weight)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Give the module the averaged weights for the block, and its own back afterwards."""
        own = {name: value.detach().clone() for name, value in self.module.named_parameters()}
        self._write(self.values)
        try:
            yield
        finally:
            self._write(own)

    def replace(self) -> None:
        """Give the module the averaged weights for good."""
        self._write(self.values)

    @torch.no_grad()
    def _write(self, values: dict[str, Tensor]) -> None:
        for name, value in self.module.named_parameters():
            value.copy_(values[name])
