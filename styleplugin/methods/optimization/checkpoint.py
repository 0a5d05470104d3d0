"""The checkpoint of an optimization: a file for all that is needed to go on exactly."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from styleplugin.engine.feature_map import extended_size
from styleplugin.errors import WeightsError
from styleplugin.kinds import CHECKPOINT, OPTIMIZATION_STATE
from styleplugin.methods.optimization.descent import Descent, check_state
from styleplugin.methods.optimization.scales import Scale
from styleplugin.options import Optimizer
from styleplugin.tensorfile import Limits, check_identity, parsing_metadata, read_weights, write_weights

_LIMITS = Limits(header_bytes=1 << 20, file_bytes=1 << 34, value=float("inf"))


class Saved(NamedTuple):
    """What a checkpoint holds: a state of `Descent`, and the number of the scale it belongs to."""

    number: int
    tensors: dict[str, Tensor]
    data: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The file of a run, in the format safetensors."""

    path: Path
    identity: dict[str, Any]
    """What must be the same to go on, as JSON data."""
    scales: Sequence[Scale]
    optimizer: Optimizer

    def write(self, number: int, descent: Descent) -> None:
        """Write the state of the scale that is running.

        Raises:
            OutputError: SP601 to SP604, it cannot be written.
        """
        tensors, data = descent.state()
        metadata = {"architecture": OPTIMIZATION_STATE, "scale": number, "descent": data, "identity": self.identity}
        write_weights(self.path, tensors, metadata, limits=_LIMITS, kind=CHECKPOINT)

    def read(self) -> Saved | None:
        """Return what is there, which must be of this run; None if there is nothing.

        Raises:
            CheckpointError: SP801, it is of another run; WeightsError: SP301 to SP310, it is damaged.
        """
        if not self.path.exists() or not self.path.stat().st_size:
            return None
        saved = read_weights(self.path, limits=_LIMITS, require_metadata=True)
        name = saved.path.name
        with parsing_metadata(name):
            check_identity(saved.metadata["identity"], self.identity)
            number, data = saved.metadata["scale"], saved.metadata["descent"]
            if type(number) is not int or number not in range(len(self.scales)):
                raise ValueError(f"it has no scale {number!r}")
        if ("optimizer.count" in saved.tensors) != (self.optimizer == "adam"):
            raise WeightsError(
                "SP310", f"{name} does not hold the state of the optimizer {self.optimizer}.", "Start anew."
            )
        scale = self.scales[number]
        check_state(saved.tensors, data, shape=(1, 3, *extended_size(scale.size)), steps=scale.steps, where=name)
        return Saved(number, saved.tensors, data)


def fingerprint(values: Tensor) -> str:
    """Return 16 hex digits that stand for a tensor of any shape, by its values."""
    return hashlib.sha256(values.detach().cpu().contiguous().numpy().tobytes()).hexdigest()[:16]
