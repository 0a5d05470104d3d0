"""Other people's files: safetensors, or pickles of plain tensors that PyTorch reads without running code."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styleplugin.checkpoint import TEACHER, Limits, check_values, read_weights
from styleplugin.errors import WeightsError
from styleplugin.files import check_regular_file

_MODEL_KEYS = ("model", "state_dict")


@dataclass(frozen=True, kw_only=True)
class Source:
    """The tensors of a foreign file."""

    tensors: dict[str, Tensor]
    """float32, on the CPU."""
    sha256: str


def read_source(path: str | Path, *, limits: Limits = TEACHER) -> Source:
    """Read a safetensors file, or a `.pth` state dict with `weights_only=True`.

    Args:
        path: The file; a pickle may hold the state dict itself or a dict with it under "model" or "state_dict".
        limits: Most bytes.

    Raises:
        WeightsError: As `read_weights`; SP318, the pickle holds anything but tensors of a state dict.
    """
    path = check_regular_file(path, WeightsError, "SP301")
    if path.suffix == ".safetensors":
        weights = read_weights(path, limits=limits)
        return Source(tensors={name: value.float() for name, value in weights.tensors.items()}, sha256=weights.sha256)
    if path.stat().st_size > limits.file_bytes:
        raise WeightsError("SP304", f"{path.name} is larger than the {limits.file_bytes >> 20} MB that are allowed.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data: Any = torch.load(path, map_location="cpu", weights_only=True)
    # On damaged files the parser raises errors of any kind.
    except Exception as error:
        raise WeightsError(
            "SP318",
            f"{path.name} is not a plain PyTorch state dict ({type(error).__name__}).",
            "Only files of tensors are read; code in a file is never run.",
        ) from error
    for key in _MODEL_KEYS:
        data = data[key] if isinstance(data, dict) and isinstance(data.get(key), dict) else data
    if not isinstance(data, dict) or not all(isinstance(value, Tensor) for value in data.values()):
        raise WeightsError("SP318", f"{path.name} holds other things than the tensors of a state dict.")
    tensors = {str(name): value.float() for name, value in data.items() if value.is_floating_point()}
    check_values(tensors, path.name)
    return Source(tensors=tensors, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
