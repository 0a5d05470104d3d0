"""A student's way out of its run's folder: the gate it must have passed, and the Hub with model card and pictures."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from styleplugin.errors import UsageError
from styleplugin.files import copy_whole, has_suffix
from styleplugin.kinds import WEIGHTS
from styleplugin.loading import hub
from styleplugin.loading.build import ENCODER, load_model, load_saved_encoder
from styleplugin.methods import optimization, registry
from styleplugin.paths import Written, check_paths
from styleplugin.tensorfile import Weights, read_weights
from styleplugin.values import several

_SPDX = re.compile(r"(mit|apache-2\.0|bsd-[23]-clause|cc0-1\.0|cc-by(-nc)?(-sa)?-4\.0)", re.IGNORECASE)
"""Licenses whose names the Hub knows."""


def publish(
    path: str | Path,
    repo: str,
    *,
    pictures: Sequence[str | Path] = (),
    private: bool = False,
    endpoint: str | None = None,
    timeout_s: float = 600,
) -> str:
    """Upload a student with its model card.

    Args:
        path: A weights file of a training run.
        repo: OWNER/REPO; made if there is none.
        pictures: JPEG or PNG files for the card; by default the newest contact sheet of the run.
        private: Of a new repository.
        endpoint: Another server, for tests.
        timeout_s: Total time allowed.

    Returns:
        The pinned source under which everybody finds the student.

    Raises:
        UsageError: SP145, the student has not passed its quality gate; SP146, a picture is missing or of another type.
        WeightsError: The file cannot be used.
        HubError: The upload failed.

    Example:
        What did not come out of a training run is refused before anything is sent.

        >>> import torch
        >>> from safetensors.torch import save_file
        >>> save_file({"weight": torch.zeros(1, dtype=torch.float32, device="cpu")}, "mine.safetensors")
        >>> publish("mine.safetensors", "me/my-student")
        Traceback (most recent call last):
        styleplugin.errors.WeightsError: mine.safetensors has no styleplugin metadata; format 1 is needed. ...
    """
    weights = read_weights(path, require_metadata=True)
    method = _method(weights)
    check_gate(weights)
    shown = {
        f"{number:02}{Path(p).suffix.lower()}": _picture(p)
        for number, p in enumerate(several(pictures) or _sheet(path))
    }
    name = f"{_plain(weights.card.get('name') or Path(path).stem)}.safetensors"
    card = model_card(weights, method, list(shown), repo=repo, file=name)
    files = {name: Path(path).read_bytes(), "README.md": card.encode(), **shown}
    message = f"Add {name}"
    commit = hub.upload(repo, files, message=message, private=private, endpoint=endpoint, timeout_s=timeout_s)
    return str(hub.HubSource(repo=repo, revision=commit, file=name, sha256=weights.sha256))


def export_student(
    path: str | Path, target: str | Path, *, even_if_failed: bool = False, overwrite: bool = False
) -> Path:
    """Copy a student out of its run's folder.

    Args:
        path: A weights file of a training run.
        target: The copy.
        even_if_failed: Also if it has not passed its quality gate.
        overwrite: Replace another weights file.

    Raises:
        UsageError: SP145, it has not passed.
        WeightsError: The file cannot be used.
        OutputError: SP601 to SP604, the copy cannot be written; SP607, it is the student itself; SP608, another kind of
            file is there.

    Example:
        >>> import torch
        >>> from safetensors.torch import save_file
        >>> save_file({"weight": torch.zeros(1, dtype=torch.float32, device="cpu")}, "last.safetensors")
        >>> export_student("last.safetensors", "student.safetensors", even_if_failed=True).name
        'student.safetensors'
    """
    check_paths([path], [Written(target, WEIGHTS, overwrite)])
    if not even_if_failed:
        check_gate(read_weights(path, require_metadata=True))
    return copy_whole(path, target, WEIGHTS, overwrite=overwrite)


def check_gate(weights: Weights) -> None:
    """Raise UsageError SP145 if a student has not passed the quality gate of its recipe."""
    gate = weights.card.get("gate")
    if gate and gate["passed"]:
        return
    why = "; ".join(gate["failed"]) if gate else "its file holds no verdict"
    raise UsageError(
        "SP145",
        f"{weights.path.name} has not passed its quality gate: {why}.",
        "Train it longer or on more pictures, or set other limits in [gate] of its recipe.",
    )


def model_card(weights: Weights, method: str, pictures: Sequence[str], *, repo: str, file: str) -> str:
    """Return the README of a student: figures, pictures, license, teacher, data, and how to use it."""
    card, license = weights.card, str(weights.metadata.get("license", "unknown"))
    known = _SPDX.fullmatch(license)
    front = hub.front_matter(
        license=license.lower() if known else "other",
        license_name=None if known else "see-below",
        library_name="styleplugin",
        pipeline_tag="image-to-image",
        tags=["style-transfer", "knowledge-distillation", method],
    )
    teacher, data = (_facts(card, key) for key in ("teacher", "data"))
    spec = registry.find(method)
    papers = "; ".join(spec.papers)
    option = f"--encoder SOURCE --method {method}" if "iterative" in spec.capabilities else "--model SOURCE"
    figures = [f"| {_text(key)} | {_text(value)} |" for key, value in sorted(_flat(card["metrics"]).items())]
    parts = [
        front,
        f"# {_text(card.get('name', file))}",
        f"A student for `{method}` ({spec.title.lower()}), trained with [styleplugin]. Paper: {papers}.",
        *(f"![Validation pictures and results]({name})" for name in pictures),
        "## Use",
        f"```\nstyleplugin stylize PHOTO PAINTING -o OUT.png {option}\n```",
        f"SOURCE is `hub:{repo}@COMMIT/{file}#{weights.sha256}`; COMMIT is this repository's commit id.",
        "## Figures",
        f"On validation pictures{_were_held_out(card)}:\n\n| figure | value |\n| --- | --- |\n" + "\n".join(figures),
        "## Teacher and data",
        f"Teacher:\n\n{teacher}\n\nData:\n\n{data}\n\nSteps: {_text(json.dumps(card.get('steps', {})))}",
        "## License",
        _text(license),
    ]
    return "\n\n".join(parts) + "\n"


def _method(weights: Weights) -> str:
    """Return the method of a file that can be used."""
    if weights.metadata.get("architecture") == ENCODER:
        load_saved_encoder(weights)
        return optimization.SPEC.name
    return load_model(weights)[1].method


def _were_held_out(card: dict[str, Any]) -> str:
    """Say whether the figures are from pictures that were never trained on; few pictures are both."""
    parts = [part.get("data") or {} for part in card.get("pairs", {"": card}).values()]
    if any(part.get("held out") is False for part in parts):
        return ", which were too few to hold any out: they were trained on as well"
    return " that were not trained on" if all(part.get("held out") for part in parts) else ""


def _facts(card: dict[str, Any], key: str) -> str:
    """Return entries of a card, of each of its pairs where it has several, as a list."""
    found = card.get(key) or {where: part.get(key) for where, part in card.get("pairs", {}).items()}
    return "\n".join(f"* {_text(name)}: {_text(value)}" for name, value in _flat(found or {}).items()) or "unknown"


def _flat(data: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(data, dict):
        return {prefix.rstrip(" "): data}
    flat: dict[str, Any] = {}
    for key, value in data.items():
        flat |= _flat(value, f"{prefix}{key} ")
    return flat


def _text(value: Any) -> str:
    """Escape what a file says, so that it stays text in a page."""
    words = f"{value:.4g}" if isinstance(value, float) else str(value)
    return re.sub(r"([\\`*_\[\]|#])", r"\\\1", html.escape(" ".join(words.split())))


def _plain(name: str) -> str:
    """Return a name that can be a file name."""
    return re.sub(r"[^\w.-]", "-", name, flags=re.ASCII).lstrip(".-") or "student"


def _sheet(path: str | Path) -> list[Path]:
    sheets = sorted((Path(path).parent / "sheets").glob("*.jpg"), key=lambda sheet: sheet.stat().st_mtime)
    return sheets[-1:]


def _picture(path: str | Path) -> bytes:
    path = Path(path)
    if not has_suffix(path, ".jpg", ".jpeg", ".png") or not path.is_file():
        raise UsageError("SP146", f"{str(path)!r} is no JPEG or PNG file.", "Give pictures that exist.")
    return path.read_bytes()
