"""Styles to try with one click; what they make of our own photo is computed once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr

import styleplugin
from gradio_app import events
from gradio_app.controls import shown
from gradio_app.pictures import for_page
from gradio_app.running.event import PROGRESS
from styleplugin.errors import UsageError

SAMPLES = Path(styleplugin.__file__).resolve().parent / "samples"
PHOTO = SAMPLES / "lake.jpg"
STYLES = {name: SAMPLES / f"{name}.jpg" for name in ("swirls", "waves", "dots")}
_known: dict[tuple[str, str], Any] = {}
"""Finished results for our photo, by style and model."""


def example(
    content: str | None,
    model: str,
    event: gr.SelectData,
    request: gr.Request,
    progress: Any = PROGRESS,
) -> Iterator[Any]:
    """Paint with an example style: the user's photo, or ours if there is none."""
    # The browser names the picture, so it may be anything.
    if not isinstance(event.index, int) or not 0 <= event.index < len(STYLES):
        raise for_page(UsageError("SP102", f"There is no example style {shown(event.index)}.", "Click one of them."))
    name, style = list(STYLES.items())[event.index]
    photo = content or str(PHOTO)
    # Taking back the mark lets the same style be clicked again.
    marks = [gr.update(selected_index=None), photo, str(style)]
    # By content: a photo of somebody else may have the same name.
    is_ours = Path(photo).read_bytes() == PHOTO.read_bytes()
    if is_ours and (name, model) in _known:
        yield *marks, *_known[name, model]
        return
    for outputs in events.paint(photo, str(style), model, request=request, progress=progress):
        if is_ours and isinstance(outputs[1], str):
            _known[name, model] = _kept(*outputs)
        yield *marks, *outputs
        marks = [gr.skip()] * len(marks)


def _kept(pair: Any, file: str, line: str) -> Any:
    """Return a result whose file stays as long as the page runs."""
    kept = Path(_folder().name) / str(len(_known)) / Path(file).name
    kept.parent.mkdir(exist_ok=True)
    kept.write_bytes(Path(file).read_bytes())
    return pair, str(kept), line


@cache
def _folder() -> TemporaryDirectory[str]:
    """Return the folder of the results, which goes when the page ends."""
    return TemporaryDirectory(prefix="styleplugin-example-")
