"""Several pairs in one file: what is distributed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from styleplugin.errors import UsageError
from styleplugin.kinds import WEIGHTS
from styleplugin.paths import Written, check_paths
from styleplugin.tensorfile import Weights, parsing_metadata, read_weights, write_weights
from styleplugin.values import several


def bundle(
    files: Sequence[str | Path], out: str | Path, license: str, *, name: str = "", overwrite: bool = False
) -> str:
    """Pack the pairs of several files into one, in half precision but for the layers next to the picture.

    The first convolution takes values up to 151 and the last one makes the pixels; they stay in float32.

    Args:
        files: Of one method, each level once: pair.safetensors, or what a cascade has made of several pairs.
        out: Target.
        license: Of the weights.
        name: For the card; by default the name of the target.
        overwrite: Replace another weights file.

    Returns:
        The sha256 of the file.

    Raises:
        UsageError: SP143, the files do not make one model.
        WeightsError: A file cannot be read.
        OutputError: SP601 to SP604, SP607 and SP608, the target.
    """
    files = several(files)
    check_paths(files, [Written(out, WEIGHTS, overwrite)])
    parts = sorted(map(_read, files), key=lambda part: -_levels(part.metadata)[0])
    methods = {part.metadata["method"] for part in parts}
    levels = [level for part in parts for level in _levels(part.metadata)]
    if len(methods) != 1 or len(set(levels)) < len(levels):
        raise UsageError("SP143", f"The pairs have the methods {sorted(methods)} and levels {levels}, not one model.")
    tensors = {key: _on_disk(key, value) for part in parts for key, value in part.tensors.items()}
    cards = {level: card for part in parts for level, card in _cards(part.metadata).items()}
    together = {key: card for part in parts for key, card in part.metadata["card"].items() if key == "cascade"}
    metadata: dict[str, Any] = {
        "architecture": "vgg-pairs",
        "method": methods.pop(),
        "pairs": [pair for part in parts for pair in part.metadata["pairs"]],
        "license": license,
        "card": {
            "name": name or Path(out).stem,
            "pairs": {str(level): card for level, card in cards.items()},
            "metrics": {f"level{level}": card["metrics"] for level, card in cards.items()},
            "gate": join_gates({f"level {level}": card for level, card in cards.items()} | together),
        }
        | together,
    }
    return write_weights(out, tensors, metadata, overwrite=overwrite)


def _read(file: str | Path) -> Weights:
    """Read a file whose metadata say what a bundle needs of it."""
    part = read_weights(file, require_metadata=True)
    with parsing_metadata(part.path.name):
        numbers = _levels(part.metadata)
        if not numbers or not all(type(level) is int for level in numbers):
            raise ValueError("it names no levels")
        if not isinstance(part.metadata["method"], str) or "card" not in part.metadata:
            raise ValueError("it has no method, or no card")
        cards = _cards(part.metadata)
        join_gates({str(level): card for level, card in cards.items() if card["metrics"] is not None})
    return part


def join_gates(cards: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the verdict over all cards, by what to call each; one without a gate has not passed."""
    gates = {where: card["gate"] for where, card in cards.items() if "gate" in card}
    failed = [f"{where}: {reason}" for where, gate in gates.items() for reason in gate["failed"]]
    return {"passed": not failed and len(gates) == len(cards), "failed": failed}


def _cards(metadata: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """Return the card of each level in a file."""
    card = metadata["card"]
    return {level: card["pairs"][str(level)] if "pairs" in card else card for level in _levels(metadata)}


def _levels(metadata: dict[str, Any]) -> list[int]:
    return [pair["level"] for pair in metadata["pairs"]]


def _on_disk(key: str, value: Tensor) -> Tensor:
    return value.float() if ".conv1_1." in key else value.half()
