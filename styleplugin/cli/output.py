"""What a command prints. Printing never fails work that is done, whatever the terminal, pipe or disk behind it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from tqdm import tqdm

from styleplugin.errors import OutputError

if TYPE_CHECKING:
    from styleplugin.engine.stream import OnStep


def open_streams() -> None:
    """Open standard streams that the caller closed (`2>&-`): the next file would take the place of one otherwise."""
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, open(descriptor, "w" if descriptor else "r", closefd=False))  # noqa: SIM115


def say(text: str, stream: TextIO | None = None) -> None:
    """Print a line about work that is done or goes on; where it cannot be printed, that is no error."""
    _print(text, stream)


def answer(text: str) -> None:
    """Print a line that is itself what was asked for.

    Raises:
        OutputError: SP604, the system refused to write it.
    """
    error = _print(text, None)
    if error is not None and not isinstance(error, BrokenPipeError):
        raise OutputError("SP604", f"The answer could not be printed: {error.strerror or error}.", "Free some space.")


def _print(text: str, stream: TextIO | None) -> OSError | None:
    stream = stream or sys.stdout
    if stream is None:
        return None
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        # A name that the console cannot show is spelled out.
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        stream.flush()
    except OSError as error:
        _silence(stream)
        return error
    return None


def _silence(stream: TextIO) -> None:
    """Lead a stream that cannot be written nowhere, so that Python does not try again, and fail, at the end."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def say_unless(text: str, quiet: bool) -> None:
    """Print, where the user has not asked for silence."""
    if not quiet:
        say(text)


@contextmanager
def progress(quiet: bool) -> Iterator[OnStep]:
    """Show a bar that the engine's `on_step` moves; none where standard error is no terminal."""
    layout = "{desc:16}{bar} {percentage:3.0f}% [{elapsed}<{remaining}]"
    with tqdm(total=1.0, disable=True if quiet else None, leave=False, bar_format=layout) as bar:

        def on_step(done: float, total: float, stage: str) -> None:
            bar.set_description_str(stage, refresh=False)
            bar.update(done / total - bar.n if total else 0)

        yield on_step
