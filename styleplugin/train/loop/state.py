"""Checkpoints: everything a phase needs to go on as if it had never stopped, in one file, two of them kept.

The random numbers of a step follow from seed, phase and step (`data.step_generator`), so weights, optimizer and step
are the whole state. A file appears under its name only when it is complete.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from styleplugin.errors import CheckpointError, OutputError, StylePluginWarning, WeightsError
from styleplugin.networks.model import check_shapes
from styleplugin.tensorfile import (
    TEACHER,
    Weights,
    check_identity,
    parsing_metadata,
    read_weights,
    shortened,
    write_weights,
)
from styleplugin.train.loop.average import Average
from styleplugin.train.loop.muon import Muon

VERSION = 1
"""Of the state; raised when the trainer changes so that an old state would go on differently."""
KEPT = 2
MAX_FAILURES = 3
_STATE = ("exp_avg", "exp_avg_sq", "step")


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a phase stands."""

    step: int = 0
    """Steps done."""
    steps: int
    """Steps planned."""
    skipped: tuple[int, ...] = ()
    """Steps left out because of a loss that was not finite."""


class Checkpoints:
    """The checkpoints of one phase.

    Args:
        folder: Where they lie.
        phase: Name of the phase.
        identity: JSON data that must be equal to go on: recipe and data fingerprint.
    """

    def __init__(self, folder: Path, phase: str, identity: dict[str, Any]) -> None:
        self.folder = folder
        self.phase = phase
        self.identity = identity
        self._failures = 0

    def save(
        self,
        progress: Progress,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        average: Average | None = None,
    ) -> None:
        """Write a checkpoint and remove the oldest.

        Raises:
            CheckpointError: SP804, the third failure to write in a row; before that only a warning.
        """
        metadata = {
            "architecture": "training-state",
            "version": VERSION,
            "phase": self.phase,
            "step": progress.step,
            "steps": progress.steps,
            "skipped": list(progress.skipped),
            "identity": self.identity,
        }
        try:
            write_weights(self._path(progress.step), _collect(module, optimizer, average), metadata)
        except OutputError as error:
            self._failures += 1
            if self._failures == MAX_FAILURES:
                raise CheckpointError("SP804", f"{MAX_FAILURES} checkpoints in a row failed: {error}") from error
            warnings.warn(f"The checkpoint of step {progress.step} failed: {error}", StylePluginWarning, stacklevel=2)
            return
        self._failures = 0
        for old in self._paths()[:-KEPT]:
            old.unlink(missing_ok=True)

    def restore(
        self, module: nn.Module, optimizer: torch.optim.Optimizer, average: Average | None = None
    ) -> Progress | None:
        """Fill module, optimizer and averaged weights from the newest whole checkpoint; None if there is no checkpoint.

        Raises:
            CheckpointError: SP801, of another recipe or other data, the keys are named; SP802, of another version;
                SP803, all are damaged.
        """
        paths = self._paths()
        for path in reversed(paths):
            try:
                weights = read_weights(path, limits=TEACHER, require_metadata=True)
                progress = self._progress(weights)
                needed = _needed(weights.tensors, module, optimizer, average)
                check_shapes(needed, weights.tensors, path.name)
            except WeightsError as error:
                warnings.warn(f"A checkpoint is passed over: {error}", StylePluginWarning, stacklevel=2)
                continue
            _distribute(weights.tensors, module, optimizer, average)
            return progress
        if paths:
            raise CheckpointError("SP803", f"All checkpoints of {self.phase} are damaged.", "Start in another folder.")
        return None

    def clear(self) -> None:
        """Remove all checkpoints, once the result of the phase is written."""
        for path in self._paths():
            path.unlink(missing_ok=True)

    def _progress(self, weights: Weights) -> Progress:
        """Return where a checkpoint of this very run stands."""
        metadata, name = weights.metadata, weights.path.name
        if metadata.get("version") != VERSION:
            raise CheckpointError(
                "SP802",
                f"{name} has version {shortened(metadata.get('version'))} of the training state, {VERSION} is needed.",
                "Finish it with the version that began it, or start anew in another folder.",
            )
        with parsing_metadata(name):
            check_identity(metadata["identity"], self.identity)
            step, steps, skipped = metadata["step"], metadata["steps"], tuple(metadata["skipped"])
            if not all(type(number) is int for number in (step, steps, *skipped)) or not 0 <= step <= steps:
                raise ValueError("its numbers of steps are none")
        return Progress(step=step, steps=steps, skipped=skipped)

    def _path(self, step: int) -> Path:
        return self.folder / f"{self.phase}-{step:08}.safetensors"

    def _paths(self) -> list[Path]:
        pattern = re.compile(rf"{self.phase}-\d+\.safetensors")
        return sorted(path for path in self.folder.glob("*.safetensors") if pattern.fullmatch(path.name))


def read_card(path: str | Path) -> dict[str, Any]:
    """Read the card of a phase's result."""
    return read_weights(path, limits=TEACHER).card


def _collect(module: nn.Module, optimizer: torch.optim.Optimizer, average: Average | None) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    if average:
        tensors |= {f"average.{name}": value for name, value in average.values.items()}
    tensors |= {f"weights.{name}": value for name, value in module.state_dict().items()}
    for name, parameter in module.named_parameters():
        tensors |= {f"{key}.{name}": value for key, value in optimizer.state.get(parameter, {}).items()}
    return tensors


def _needed(
    tensors: dict[str, Tensor], module: nn.Module, optimizer: torch.optim.Optimizer, average: Average | None
) -> dict[str, Tensor]:
    """Return tensors of the shapes that a checkpoint must have; the optimizer knows nothing of what never moved."""
    needed = {} if average is None else {f"average.{name}": value for name, value in average.values.items()}
    needed |= {f"weights.{name}": value for name, value in module.state_dict().items()}
    for name, parameter in module.named_parameters():
        keys = _STATE[:1] if isinstance(optimizer, Muon) and parameter.dim() == 4 else _STATE
        if any(f"{key}.{name}" in tensors for key in _STATE):
            needed |= {f"{key}.{name}": parameter.new_empty(()) if key == "step" else parameter for key in keys}
    return needed


@torch.no_grad()
def _distribute(
    tensors: dict[str, Tensor], module: nn.Module, optimizer: torch.optim.Optimizer, average: Average | None
) -> None:
    if average:
        for name, value in average.values.items():
            value.copy_(tensors[f"average.{name}"])
    for name, value in module.state_dict().items():
        value.copy_(tensors[f"weights.{name}"])
    for name, parameter in module.named_parameters():
        state = {key: tensors[f"{key}.{name}"].to(parameter) for key in _STATE if f"{key}.{name}" in tensors}
        if state:
            optimizer.state[parameter] = state
