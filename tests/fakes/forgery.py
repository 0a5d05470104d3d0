"""Files of ours that say something else than they did."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from styleplugin.tensorfile import METADATA_KEY

Forgery = Callable[[dict[str, Any], dict[str, torch.Tensor]], None]
"""Changes metadata and tensors."""


def forge(path: Path, change: Forgery) -> None:
    """Write a file again, changed."""
    with safetensors.safe_open(path, "pt") as file:
        metadata = json.loads(file.metadata()[METADATA_KEY])
    tensors = safetensors.torch.load(path.read_bytes())
    change(metadata, tensors)
    path.write_bytes(safetensors.torch.save(tensors, {METADATA_KEY: json.dumps(metadata)}))


def without(key: str) -> Forgery:
    """Leave a key of the metadata out."""
    return lambda metadata, tensors: metadata.__delitem__(key)


def saying(key: str, value: Any) -> Forgery:
    """Give a key of the metadata, with dots for nested ones, another value."""

    def change(metadata: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        *path, last = key.split(".")
        for name in path:
            metadata = metadata[name]
        metadata[last] = value

    return change


def holding(name: str, *shape: int) -> Forgery:
    """Put a tensor in, or in the place of one."""
    return lambda metadata, tensors: tensors.__setitem__(name, torch.ones(shape))


def lacking(name: str) -> Forgery:
    """Leave a tensor out."""
    return lambda metadata, tensors: tensors.__delitem__(name)
