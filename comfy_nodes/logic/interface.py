"""What the nodes need of the program they run in, and what passes between it and them: models, files, progress."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image

from styleplugin import errors

MODEL_SUFFIX = ".safetensors"
STYLE_SUFFIX = ".style.safetensors"
"""Ends the name of a style file, so that loaders tell them from models."""
LOOK_SUFFIX = ".cube"

OnStep = Callable[[float, float, str], None]


class Progress(Protocol):
    """The bar on a running node."""

    def update(self, share: float, preview: Image.Image | None = None) -> None:
        """Move the bar to a share in [0, 1], and show a small picture on the node."""
        ...


class Host(Protocol):
    """All that the nodes need of the program they run in."""

    def device(self) -> torch.device:
        """Return where to compute."""
        ...

    def output_device(self) -> torch.device:
        """Return where results are handed over."""
        ...

    def output_dtype(self) -> torch.dtype:
        """Return the type of pictures: float32, unless the host says otherwise."""
        ...

    def prepare(self, model: StyleModel, activation_bytes: int) -> None:
        """Bring a model's weights in and make room for its work."""
        ...

    def make_room(self, activation_bytes: int) -> None:
        """Make room for work without a model."""
        ...

    def progress(self) -> Progress:
        """Return a new bar for the running node."""
        ...

    def check_interrupt(self) -> None:
        """Raise the host's own exception if the user has pressed Cancel."""
        ...

    def say(self, text: str) -> None:
        """Write a line on the running node, where it stays after the end."""
        ...

    def is_oom(self, error: BaseException) -> bool:
        """Whether an exception means that memory ran out."""
        ...

    def empty_cache(self) -> None:
        """Give memory back that is held but not used."""
        ...

    def files(self, suffix: str) -> list[str]:
        """Return the names of the model files, style files or looks that a loader lists."""
        ...

    def path(self, name: str) -> Path:
        """Return the file of a listed name; FileNotFoundError with a helpful text if it is gone."""
        ...

    def fingerprint(self, name: str) -> object:
        """Return what changes when a listed file changes; never raises."""
        ...

    def save_path(self, prefix: str, suffix: str) -> Path:
        """Return a new numbered file in the output folder."""
        ...


@dataclass(eq=False, repr=False)
class StyleModel:
    """A model on its way through a graph."""

    info: Any
    """The core's `ModelInfo`."""
    module: Any
    """The core's `StyleModel`."""
    patcher: Any = None
    """What the host manages its memory with; attached by the host."""
    path: Path | None = None
    """The file of a student that was trained or downloaded here."""

    def __repr__(self) -> str:
        return f"<style model {self.info.name}, {self.info.method}>"


def has_suffix(name: str, suffix: str) -> bool:
    """Whether a file is of a kind; cameras and old programs write `.CUBE`."""
    return name.lower().endswith(suffix)


def check_inside(root: str | os.PathLike[str], path: Path) -> Path:
    """Return the path if it lies in a folder and its name is one that every system takes.

    Raises:
        OutputError: SP603, it leads out of the folder, by a link too, or has characters that no name should have.
    """
    try:
        inside = path.resolve().is_relative_to(Path(root).resolve())
    except (OSError, ValueError):
        inside = False
    if inside and path.name.isprintable():
        return path
    raise errors.OutputError(
        "SP603", f"{path.name!r} cannot name a file in the output folder.", "Use a name such as looks/sunset."
    )


def on_step(host: Host, place: int = 0, parts: int = 1, bar: Progress | None = None) -> OnStep:
    """Return what the core calls after every tile: it hears Cancel and moves the bar."""

    def step(done: float, total: float, stage: str) -> None:
        host.check_interrupt()
        if bar is not None and total:
            bar.update((place + done / total) / parts)

    return step


def say(host: Host, notes: Sequence[str]) -> None:
    """Write notes on the running node, each once."""
    if notes:
        host.say("\n".join(dict.fromkeys(notes)))
