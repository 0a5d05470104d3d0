"""Weights files: safetensors with one metadata key, read within limits and written byte for byte reproducibly.

No code is ever read from a weights file. Every check is made on the bytes of one read, so a file that is replaced
meanwhile cannot pass the checks of another.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from styleplugin.errors import CheckpointError, StylePluginError, WeightsError
from styleplugin.files import atomic_write, check_regular_file, check_target
from styleplugin.kinds import WEIGHTS, Kind

T = TypeVar("T")

METADATA_KEY = "styleplugin"
"""The only metadata key: with two or more, safetensors writes other bytes each time."""
FORMAT = 1
"""Version of our metadata; a newer one is refused."""

MAX_TENSORS = 4096
MAX_NAME = 256
MAX_SIDE = 1 << 31
"""Of a tensor; a tensor with another side of 0 has no bytes that would bound it."""
_LONGEST_QUOTE = 100
_ITEM_BYTES = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8}
_INTEGER_BYTES = {"U8": 1, "I32": 4}

_OTHER_FORMATS = (
    (b"version https://git-lfs", "a Git LFS pointer", "Run `git lfs pull` to fetch the file it stands for."),
    (b"PK\x03\x04", "a zip archive (a PyTorch, TorchScript or NumPy file)", ""),
    (b"\x89HDF", "an HDF5 file", ""),
    (b"\x08", "an ONNX file", ""),
    (b"\x80", "a pickle", ""),
)
_CONVERT = "Convert it to safetensors offline first; styleplugin.loading.convert reads the papers' originals."


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The most that a file of some kind may have."""

    header_bytes: int
    file_bytes: int
    value: float = 1e4
    """Largest absolute value; released networks stay far below (the largest, 255, is their preprocessing)."""
    integers: bool = False
    """Whether integers are read too: quantized originals, for an importer that makes weights of them."""


STUDENT = Limits(header_bytes=1 << 20, file_bytes=64 << 20)
TEACHER = Limits(header_bytes=8 << 20, file_bytes=256 << 20)
STYLE = Limits(header_bytes=1 << 16, file_bytes=16 << 20, value=1e12)
"""Covariances of features, which have no such bound."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What a weights file holds; the values are finite and within the limits."""

    tensors: dict[str, Tensor]
    """On the CPU, in the precision of the file."""
    metadata: dict[str, Any]
    """Our JSON; empty for files of other origin."""
    sha256: str
    path: Path

    @property
    def card(self) -> dict[str, Any]:
        """How the file was made and what it reaches; empty where it does not say."""
        return self.metadata.get("card", {})

    def required(self, key: str, kind: type[T]) -> T:
        """Return a value of the metadata.

        Raises:
            WeightsError: SP307, it is missing or of another type.
        """
        value = self.metadata.get(key)
        if type(value) is not kind:
            raise WeightsError(
                "SP307",
                f"The styleplugin metadata of {self.path.name} has {shortened(value)} as {key}, not "
                f"a value of type {kind.__name__}.",
                "Get the file again, or write it with styleplugin.",
            )
        return value


def read_weights(path: str | Path, *, limits: Limits = STUDENT, require_metadata: bool = False) -> Weights:
    """Read and check a weights file.

    Args:
        path: A safetensors file.
        limits: Most bytes of header and file, `STUDENT` or `TEACHER`.
        require_metadata: Refuse files without our metadata.

    Raises:
        WeightsError: SP301 no such file, SP302 another format, SP303 damaged, SP304 beyond the limits,
            SP305 not floating point, SP306 not finite or too large, SP307 and SP308 metadata.
    """
    path = check_regular_file(path, WeightsError, "SP301")
    data = _read_once(path, limits)
    header = _scan_header(path, data, limits)
    metadata = _parse_metadata(path, header.pop("__metadata__", {}), require_metadata)
    _check_layout(path, header, len(data) - 8 - int.from_bytes(data[:8], "little"), limits)
    try:
        tensors = safetensors.torch.load(data)
    # Old versions of safetensors answer a tensor without entries with a ValueError.
    except (safetensors.SafetensorError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    check_values(tensors, path.name, limits)
    return Weights(tensors=tensors, metadata=metadata, sha256=hashlib.sha256(data).hexdigest(), path=path)


def write_weights(
    path: str | Path,
    tensors: dict[str, Tensor],
    metadata: dict[str, Any],
    *,
    overwrite: bool = True,
    limits: Limits = STUDENT,
    kind: Kind = WEIGHTS,
) -> str:
    """Write a weights file whole or not at all; equal input gives equal bytes.

    Args:
        path: Target, a name ending in `.safetensors`.
        tensors: Floating point, finite, within the limits.
        metadata: JSON data; `"format"` is added.
        overwrite: Replace an existing file.
        limits: Of the kind of file.
        kind: What the file is; of what exists, it replaces its own kind only.

    Returns:
        The sha256 of the file.

    Raises:
        WeightsError: SP306, a value that `read_weights` would refuse.
        OutputError: SP601 to SP604 or SP608, the file exists or cannot be written.
    """
    path = check_target(path, kind, overwrite=overwrite)
    check_values(tensors, path.name, limits)
    text = json.dumps({**metadata, "format": FORMAT}, sort_keys=True, separators=(",", ":"), allow_nan=False)
    copies = {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()
    }
    data = safetensors.torch.save(copies, {METADATA_KEY: text})
    with atomic_write(path) as file:
        file.write(data)
    return hashlib.sha256(data).hexdigest()


@contextmanager
def parsing_metadata(where: str) -> Iterator[None]:
    """Turn what missing keys and wrong types raise, while metadata is read, into one error.

    Args:
        where: Name of the file.

    Raises:
        WeightsError: SP307.
    """
    try:
        yield
    except StylePluginError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise WeightsError(
            "SP307",
            f"The styleplugin metadata of {where} is incomplete or malformed "
            f"({type(error).__name__}: {str(error)[:_LONGEST_QUOTE]}).",
            "Get the file again, or write it with styleplugin.",
        ) from error


def shortened(value: Any) -> str:
    """Return what a file says, cut to what a sentence can quote."""
    text = repr(value)
    return text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}..."


def check_values(tensors: dict[str, Tensor], where: str, limits: Limits = STUDENT) -> None:
    """Raise WeightsError SP306 if a value is not finite or beyond the limit, naming its tensor."""
    for name, value in tensors.items():
        # Not `abs().max()`, which needs the tensor's memory again.
        ends = value.detach().aminmax() if value.numel() else ()
        largest = max((abs(float(end)) for end in ends), default=0.0)
        if not largest <= limits.value:
            raise WeightsError(
                "SP306",
                f"The tensor {name} of {where} holds the value {largest:g}; weights must be finite "
                f"and at most {limits.value:g} in size.",
                "The file is damaged or its training diverged; use another one.",
                {"tensor": name},
            )


def check_identity(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Raise CheckpointError SP801 if two nested dicts differ, naming the keys."""
    a, b = _flatten(found), _flatten(expected)
    keys = sorted(key for key in a.keys() | b.keys() if a.get(key) != b.get(key))
    if keys:
        raise CheckpointError(
            "SP801",
            f"The run was started with other settings: {', '.join(keys)}.",
            "Resume with what it was started with, or start anew under another name.",
            {"keys": keys},
        )


def _flatten(data: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in data.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _read_once(path: Path, limits: Limits) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(limits.file_bytes + 1)
    except OSError as error:
        raise WeightsError("SP301", f"The weights file {path} cannot be read: {error.strerror}.") from error
    if len(data) > limits.file_bytes:
        raise WeightsError("SP304", f"{path.name} is larger than the {limits.file_bytes >> 20} MB that are allowed.")
    return data


def _scan_header(path: Path, data: bytes, limits: Limits) -> dict[str, Any]:
    # A safetensors header starts with "{" at byte 8. Look there first: a header of 640 bytes begins like a pickle.
    if data[8:9] != b"{":
        _refuse_other_format(path, data)
    length = int.from_bytes(data[:8], "little")
    if length > limits.header_bytes:
        raise WeightsError(
            "SP304",
            f"The header of {path.name} claims {length} bytes; at most {limits.header_bytes} are allowed.",
            "The file is damaged or not a weights file.",
        )
    if len(data) < 8 + length:
        raise _damaged(path, "it is cut short")
    try:
        header = _parse_json(data[8 : 8 + length].decode())
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"its header is not valid JSON ({error})") from error
    if len(header) > MAX_TENSORS + 1:
        raise WeightsError("SP304", f"{path.name} holds {len(header)} tensors; at most {MAX_TENSORS} are allowed.")
    return header


def _refuse_other_format(path: Path, data: bytes) -> None:
    if len(data) < 10:
        raise _damaged(path, "it is cut short" if data else "it is empty")
    for magic, kind, hint in _OTHER_FORMATS:
        if data.startswith(magic):
            raise WeightsError("SP302", f"{path.name} is {kind}; weights must be safetensors.", hint or _CONVERT)
    raise WeightsError("SP302", f"{path.name} is not a safetensors file.", _CONVERT)


def _parse_json(text: str) -> Any:
    """Parse strict JSON: duplicated names and non-finite numbers are errors, `1e999` too."""
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("a name occurs twice")
    return result


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large a number")
    return number


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is not a JSON number")


def _parse_metadata(path: Path, strings: Any, required: bool) -> dict[str, Any]:
    if not isinstance(strings, dict) or not all(isinstance(value, str) for value in strings.values()):
        raise _damaged(path, "its metadata values are not strings")
    if METADATA_KEY not in strings:
        if required:
            raise WeightsError(
                "SP307",
                f"{path.name} has no styleplugin metadata; format {FORMAT} is needed.",
                "Convert it with styleplugin.loading.convert or train it with styleplugin.",
            )
        return {}
    try:
        metadata = _parse_json(strings[METADATA_KEY])
    except (ValueError, RecursionError) as error:
        raise WeightsError("SP307", f"The styleplugin metadata of {path.name} is not valid JSON ({error}).") from error
    version = metadata.get("format") if isinstance(metadata, dict) else None
    if type(version) is not int or version < 1:
        raise WeightsError("SP307", f"The metadata of {path.name} names no format; format {FORMAT} is needed.")
    if version > FORMAT:
        raise WeightsError(
            "SP308",
            f"{path.name} has format {shortened(version)}; this version of styleplugin reads up to format {FORMAT}.",
            "Update styleplugin.",
        )
    if not isinstance(metadata.get("card", {}), dict):
        raise WeightsError("SP307", f"The card in the metadata of {path.name} is {shortened(metadata['card'])}.")
    return metadata


def _check_layout(path: Path, header: dict[str, Any], data_bytes: int, limits: Limits) -> None:
    """Check names, types, shapes, and that the tensors fill the data without gap or overlap, in order."""
    position = 0
    item_bytes = _ITEM_BYTES | (_INTEGER_BYTES if limits.integers else {})
    for name, entry in header.items():
        if not 0 < len(name) <= MAX_NAME or not name.isprintable():
            raise _damaged(path, f"a tensor name is empty, unprintable or longer than {MAX_NAME} characters")
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise _damaged(path, f"the header entry of {name} is malformed")
        dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        if not isinstance(dtype, str) or dtype not in item_bytes:
            raise WeightsError(
                "SP305",
                f"The tensor {name} of {path.name} has the type {shortened(dtype)}; "
                f"weights must be one of {', '.join(item_bytes)}.",
                "Convert the file to a floating-point type first.",
                {"tensor": name},
            )
        if not _are_sizes(shape) or not _are_sizes(offsets) or len(offsets) != 2 or len(shape) > 8:
            raise _damaged(path, f"shape or place of {name} is malformed")
        if offsets != [position, position + math.prod(shape) * item_bytes[dtype]]:
            raise _damaged(path, f"{name} is not where its size and the tensors before it put it")
        position = offsets[1]
    if position != data_bytes:
        raise _damaged(path, f"its tensors need {position} bytes, {data_bytes} are there")


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value <= MAX_SIDE for value in values)


def _damaged(path: Path, why: str) -> WeightsError:
    return WeightsError("SP303", f"{path.name} is not a whole safetensors file: {why}.", "Get the file again.")
