"""What comes in from outside, checked before anything is opened: uploads, drawings, settings."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

import styleplugin
from gradio_app.controls import check_setting, shown
from gradio_app.limits import Limits
from gradio_app.pictures import MAX_DRAWING
from styleplugin.errors import ImageTooLargeError, InputImageError, UsageError

MAX_LINE = 100_000
"""Longest text that comes back from the page itself."""


class Admission:
    """Checks the inputs of one request; what it returns holds no path that was not checked.

    Args:
        limits: What a request may ask for.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pixels = 0

    def admit(self, components: Sequence[Any], values: Any) -> list[Any]:
        """Return the values of a function's inputs, in the form that our components read.

        Args:
            components: The inputs.
            values: What was sent for them.

        Raises:
            UsageError: SP101, SP102 or SP161, a value that its setting cannot have; SP162, too few values; SP163, too
                many layers.
            InputImageError: SP160, a file that was not uploaded; SP201 to SP206, no picture.
            ImageTooLargeError: SP205, one picture has too many pixels; SP164, all of them together.
        """
        given = len(values) if isinstance(values, (list, tuple)) else 0
        if given < len(components):
            raise UsageError(
                "SP162", f"{given} values were sent; this function takes {len(components)}.", "See Use via API."
            )
        return [self._admitted(component, value) for component, value in zip(components, values, strict=False)]

    def _admitted(self, component: Any, value: Any) -> Any:
        if isinstance(component, gr.Markdown):
            return _text("" if value is None else value)
        for kind, check in self._checks().items():
            if isinstance(component, kind):
                return None if value is None else check(component, value)
        check_setting(component.label or "The value", component, value)
        return value

    def _checks(self) -> dict[type, Callable[[Any, Any], Any]]:
        return {
            gr.Image: self._file,
            gr.File: self._file,
            gr.Gallery: self._gallery,
            gr.ImageEditor: self._drawing,
            gr.FileExplorer: self._chosen,
        }

    def _file(self, component: Any, value: Any, megapixels: float | None = None) -> dict[str, Any]:
        if not isinstance(value, dict) or not isinstance(value.get("path"), str):
            raise UsageError(
                "SP161", f"{component.label} was {shown(value)}; it must be an uploaded file.", "Upload it."
            )
        path = uploaded(value["path"])
        self._count(path, megapixels or self._limits.max_megapixels)
        return {"path": path, "meta": {"_type": "gradio.FileData"}}

    def _gallery(self, component: Any, value: Any) -> list[dict[str, Any]]:
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise UsageError("SP161", f"{component.label} was {shown(value)}; it must be a list of pictures.")
        return [{"image": self._file(component, item.get("image")), "caption": None} for item in value]

    def _drawing(self, editor: Any, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise UsageError("SP161", f"{editor.label} was {shown(value)}; it must be a drawing.", "See Use via API.")
        name, layers = value.get("id"), value.get("layers") or []
        if isinstance(name, str):
            layers = editor.drawings.take(name)
        if not isinstance(layers, list):
            raise UsageError("SP161", f"The layers were {shown(layers)}; they must be a list of uploaded files.")
        if len(layers) > self._limits.max_layers:
            raise UsageError(
                "SP163",
                f"The drawing has {len(layers)} layers; it may have {self._limits.max_layers}.",
                "Draw on fewer layers.",
            )
        others = [value.get(part) for part in ("background", "composite") if value.get(part) is not None]
        for other in others:
            self._file(editor, other)
        drawn = [self._file(editor, layer, MAX_DRAWING) for layer in layers]
        return {"background": None, "layers": drawn, "composite": None}

    def _chosen(self, explorer: Any, value: Any) -> Any:
        if not isinstance(value, list) or len(value) > 1:
            raise UsageError("SP161", f"{explorer.label} was {shown(value)}; it must be one file of the folder.")
        for parts in value:
            self._count(str(explorer.folder.path_of(parts)), self._limits.max_megapixels)
        return value

    def _count(self, path: str, megapixels: float) -> None:
        """Count the pixels that a file says it has; what is no picture ends here."""
        height, width = styleplugin.picture_size(path, max_megapixels=megapixels)
        self._pixels += width * height
        if self._pixels > self._limits.max_request_megapixels * 1e6:
            raise ImageTooLargeError(
                "SP164",
                f"The pictures of this request have more than {self._limits.max_request_megapixels:,} megapixels "
                "together.",
                "Give fewer or smaller pictures.",
            )


def uploaded(path: str) -> str:
    """Return the path of an upload.

    Raises:
        InputImageError: SP160, it does not lie in the folder of uploads: with one sentence, whether it is there or not.
    """
    folder = os.path.abspath(get_upload_folder())  # noqa: PTH100 - links are followed below
    try:
        # The name is judged before the disk is asked, so that no answer depends on what lies elsewhere.
        if not Path(os.path.abspath(path)).is_relative_to(folder):  # noqa: PTH100
            raise _not_uploaded()
        resolved = Path(path).resolve(strict=True)
        if not resolved.is_relative_to(Path(folder).resolve()) or not resolved.is_file():
            raise _not_uploaded()
    except (OSError, ValueError, RuntimeError) as error:
        raise _not_uploaded() from error
    return str(resolved)


def _not_uploaded() -> InputImageError:
    return InputImageError(
        "SP160", "This file was not uploaded to this page, or it has been removed since.", "Upload it again."
    )


def _text(value: Any) -> str:
    """Check text that the page itself shows."""
    if not isinstance(value, str) or len(value) > MAX_LINE:
        raise UsageError("SP161", f"A text was {shown(value)}; it must be text of at most {MAX_LINE:,} characters.")
    return value
