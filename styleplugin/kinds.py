"""What a file holds, judged by its content: a result may only replace one of its own kind."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_HEAD = 4096
_MAX_TEXT = 64 << 20
_MAX_HEADER = 8 << 20

_PICTURE = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n|RIFF.{4}WEBP|II[*+]\0|MM\0[*+]|GIF8|BM.{4}\0\0\0\0"
    rb"|.{4}ftyp(?:avi|hei|hev|mif|msf)|\xff\x0a|\0\0\0\x0cJXL |P[1-7]\s",
    re.DOTALL,
)
_TABLE = re.compile(r"^\s*LUT_[13]D_SIZE\s", re.MULTILINE)
_RECIPE = re.compile(r"^(?:kind|name)\s*=", re.MULTILINE)


@dataclass(frozen=True)
class Kind:
    """A kind of file that this program writes."""

    name: str
    """For messages: "a picture"."""
    holds: Callable[[Path], bool]
    """Whether an existing file is of this kind; may raise OSError or ValueError where it is not."""

    def may_replace(self, path: Path) -> bool:
        """Whether a file of this kind may take the place of a regular file: of one of its kind, or of an empty one."""
        try:
            return path.stat().st_size == 0 or self.holds(path)
        except (OSError, ValueError, RecursionError):
            return False


def _head(path: Path, size: int = _HEAD) -> bytes:
    with path.open("rb") as file:
        return file.read(size)


def _text(path: Path) -> str:
    return _head(path, _MAX_TEXT).decode()


def _tensor_metadata(path: Path) -> dict[str, Any]:
    """Return our metadata of a safetensors file, {} where there is none.

    Raises:
        ValueError: It is no safetensors file.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > _MAX_HEADER:
            raise ValueError("no header")
        header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise ValueError("no header")
    metadata = (header.get("__metadata__") or {}).get("styleplugin", "{}")
    return json.loads(metadata)


def _holds_weights(path: Path) -> bool:
    return not _holds_style(path) and not _holds_optimization(path)


def _holds_style(path: Path) -> bool:
    return _tensor_metadata(path).get("kind") == "style"


def _holds_optimization(path: Path) -> bool:
    return _tensor_metadata(path).get("architecture") == OPTIMIZATION_STATE


OPTIMIZATION_STATE = "optimization-state"
"""The architecture that the checkpoint of an optimization names."""

PICTURE = Kind("a picture", lambda path: bool(_PICTURE.match(_head(path))))
JSON = Kind("a JSON file", lambda path: isinstance(json.loads(_text(path)), (dict, list)))
TABLE = Kind("a color table", lambda path: bool(_TABLE.search(_head(path).decode("utf-8", "ignore"))))
RECIPE = Kind("a recipe", lambda path: bool(_RECIPE.search(_text(path))))
WEIGHTS = Kind("a weights file", _holds_weights)
STYLE = Kind("a style file", _holds_style)
CHECKPOINT = Kind("a checkpoint of an optimization", _holds_optimization)
