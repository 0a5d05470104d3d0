"""The released weights of MicroAST: one safetensors file, or the four files of a user's own clone."""

from __future__ import annotations

import re
from pathlib import Path

from styleplugin.errors import WeightsError
from styleplugin.importers.source import read_source
from styleplugin.models.microast import MicroAST
from styleplugin.registry import load_tensors

_PARTS = ("content_encoder", "style_encoder", "modulator", "decoder")
# Their names and ours; the numbers of convolutions in a Sequential count its other layers as well.
_NAMES = (
    (r"enc1\.10\.", r"residuals.0."),
    (r"enc2\.0\.", r"residuals.1."),
    (r"dec([12])\.", lambda match: f"residuals.{int(match[1]) - 1}."),
    (r"enc1\.(\d+)\.", lambda match: f"convs.{int(match[1]) // 2}."),
    (r"dec3\.(\d+)\.", lambda match: f"convs.{(1, 3, 6, 8, 10).index(int(match[1]))}."),
    (r"weight([12])\.0\.", lambda match: f"scales.{int(match[1]) - 1}."),
    (r"bias([12])\.0\.", lambda match: f"shares.{int(match[1]) - 1}."),
    (r"conv1\.", "first."),
    (r"conv2\.", "second."),
    (r"conv_layer\.", ""),
)


def import_microast(source: str | Path) -> MicroAST:
    """Read MicroAST.

    Args:
        source: A safetensors file with the names of all parts, or a folder that holds `*content_encoder*`,
            `*style_encoder*`, `*modulator*` and `*decoder*` as `.pth.tar` or `.pth`.

    Raises:
        WeightsError: SP301, a file is missing; SP310, its tensors are not MicroAST's; SP318, it is no state dict.
    """
    source = Path(source)
    if source.is_dir():
        tensors = {
            f"{part}.{name}": t for part in _PARTS for name, t in read_source(_part(source, part)).tensors.items()
        }
    else:
        tensors = read_source(source).tensors
    model = MicroAST()
    load_tensors(model, {_our_name(name): value for name, value in tensors.items()}, source.name)
    return model


def _part(folder: Path, part: str) -> Path:
    found = sorted(path for path in folder.rglob(f"{part}*.pth*") if path.is_file())
    if not found:
        raise WeightsError("SP301", f"{folder.name!r} holds no {part}*.pth.", "Give the folder of a complete clone.")
    return found[-1]


def _our_name(name: str) -> str:
    part, _, rest = name.partition(".")
    for pattern, replacement in _NAMES:
        rest = re.sub(rf"(?<![a-z0-9]){pattern}", replacement, rest)  # type: ignore[arg-type]
    return f"{part}.{rest}"
