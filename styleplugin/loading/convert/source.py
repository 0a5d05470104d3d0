"""Other people's files: safetensors, or pickles of plain tensors that PyTorch reads without running code."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from styleplugin.errors import WeightsError
from styleplugin.files import check_regular_file, has_suffix
from styleplugin.loading.convert.pickles import check_pickle
from styleplugin.tensorfile import MAX_NAME, MAX_TENSORS, TEACHER, Limits, check_values, read_weights

_MODEL_KEYS = ("model", "state_dict")
_ARCHIVE = b"PK\x03\x04"
_PICKLES = 5
"""In front of the values of a file that is no archive: its magic number, version, system, data and storages."""


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
    if has_suffix(path, ".safetensors"):
        weights = read_weights(path, limits=limits)
        return Source(tensors={name: value.float() for name, value in weights.tensors.items()}, sha256=weights.sha256)
    if path.stat().st_size > limits.file_bytes:
        raise WeightsError("SP304", f"{path.name} is larger than the {limits.file_bytes >> 20} MB that are allowed.")
    data = _unpickled(path)
    for key in _MODEL_KEYS:
        data = data[key] if isinstance(data, dict) and isinstance(data.get(key), dict) else data
    if not isinstance(data, dict) or len(data) > MAX_TENSORS or not all(map(_is_entry, data, data.values())):
        raise WeightsError("SP318", f"{path.name} holds other things than the tensors of a state dict.")
    if sum(value.numel() * value.element_size() for value in data.values()) > path.stat().st_size:
        raise WeightsError("SP318", f"The tensors of {path.name} claim to be larger than the file.")
    tensors = {name: value.float() for name, value in data.items() if value.is_floating_point()}
    check_values(tensors, path.name)
    return Source(tensors=tensors, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def _unpickled(path: Path) -> Any:
    try:
        _check_pickles(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    # On damaged files the parser raises errors of any kind.
    except Exception as error:
        raise WeightsError(
            "SP318",
            f"{path.name} is not a plain PyTorch state dict ({type(error).__name__}).",
            "Only files of tensors are read; code in a file is never run.",
        ) from error


def _check_pickles(path: Path) -> None:
    """Raise ValueError for a file that grows when it is read: PyTorch stores, and never compresses."""
    with path.open("rb") as file:
        # What PyTorch looks at, too; behind other beginnings there may be an archive that it does not read.
        if file.read(len(_ARCHIVE)) != _ARCHIVE:
            file.seek(0)
            for _ in range(_PICKLES):
                check_pickle(file)
            return
    with zipfile.ZipFile(path) as archive:
        records = archive.infolist()
        if any(record.compress_type != zipfile.ZIP_STORED for record in records):
            raise ValueError("a record is compressed")
        if sum(record.file_size for record in records) > path.stat().st_size:
            raise ValueError("its records claim to be larger than the file")
        for record in records:
            if record.filename.endswith(".pkl"):
                with archive.open(record) as pickle:
                    check_pickle(pickle)


def _is_entry(name: Any, value: Any) -> bool:
    """Whether this belongs to a state dict: a name, and a tensor that holds its values itself."""
    return (
        isinstance(name, str)
        and 0 < len(name) <= MAX_NAME
        and type(value) in (Tensor, nn.Parameter)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not (value.is_nested or value.is_quantized)
    )
