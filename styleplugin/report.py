"""What a run did: settings, sizes, times and warnings, as plain data."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field
from typing import Any

from styleplugin.errors import StylePluginWarning

_listener: ContextVar[Callable[[str], None] | None] = ContextVar("_listener", default=None)
_is_silent: ContextVar[bool] = ContextVar("_is_silent", default=False)


@dataclass
class Report:
    """A run's own account of itself; `to_json` is what `--report` writes.

    Example:
        >>> report = Report(settings={"method": "wct"}, content_size=(96, 128))
        >>> '"method": "wct"' in report.to_json()
        True
    """

    settings: dict[str, Any] = field(default_factory=dict)
    """Method, model and every option in use."""
    model_sha256: str = ""
    """Hash of the weights file."""
    palette_sha256: str = ""
    """Hash of the weights file that the option `palette` ran, if it ran one."""
    content_size: tuple[int, int] = (0, 0)
    """(height, width) in pixels."""
    style_sizes: list[tuple[int, int]] = field(default_factory=list)
    """(height, width) of each style picture as encoded; (0, 0) where only a style file was given."""
    device: str = ""
    tile: int = 0
    """Side of a tile in pixels; 0 means the whole picture was one tile."""
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall-clock seconds of each part of the run."""
    warnings: list[str] = field(default_factory=list)

    def warn(self, message: str) -> None:
        """Record a warning here and raise it as `StylePluginWarning`."""
        if message not in self.warnings:
            self.warnings.append(message)
            if not _is_silent.get():
                warnings.warn(message, StylePluginWarning, stacklevel=3)

    def to_json(self) -> str:
        """Return the report as indented JSON text, without `seconds`: equal runs give equal files."""
        account = asdict(self)
        del account["seconds"]
        return json.dumps(account, indent=2, sort_keys=True)


def note(message: str) -> None:
    """Tell the run that this is part of what happened; without a run it is a `StylePluginWarning`."""
    listener = _listener.get()
    if listener is None:
        warnings.warn(message, StylePluginWarning, stacklevel=3)
    else:
        listener(message)


@contextmanager
def noted_by(listener: Callable[[str], None]) -> Iterator[None]:
    """Give what this thread notes to a listener, for example `Report.warn`."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextmanager
def silent_reports() -> Iterator[None]:
    """Let the reports of this thread record without a warning; the filters of `warnings` belong to all threads."""
    token = _is_silent.set(True)
    try:
        yield
    finally:
        _is_silent.reset(token)
