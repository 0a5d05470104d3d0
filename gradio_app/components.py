"""Gradio's components for files, with our reader in place of theirs.

They are changed one by one: a class of our own would let Gradio write a file beside its source.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

from gradio.components.base import server
from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder
from starlette.exceptions import HTTPException

from gradio_app.limits import Limits
from styleplugin.errors import UsageError

MAX_DRAWING_BYTES = 16_000_000
"""Longest layer of a drawing, as a file."""
MAX_WAITING = 64
"""So many drawings may lie between the browser's sending them and its asking for the picture."""


def reading_paths(component: Any) -> Any:
    """Let an image or file be handed on as it was uploaded; Gradio's own way opens or copies it."""
    component.preprocess = lambda payload: None if payload is None else payload.path
    return component


class Drawings:
    """The layers that browsers have sent for a picture editor, until they are used.

    Args:
        limits: How many layers a drawing may have.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._layers: OrderedDict[str, dict[int, str]] = OrderedDict()
        self._lock = threading.Lock()

    def attach(self, editor: Any) -> Any:
        """Let a picture editor send its drawings here; its event gets {"layers": [path, ...]}, nothing is opened."""
        editor.drawings = self
        editor.accept_blobs = server(lambda data: self.accept(data))
        editor.preprocess = lambda payload: payload and {"layers": [layer.path for layer in payload.layers]}
        return editor

    def accept(self, data: Any) -> None:
        """Keep one layer; the photo below it and the sum of both are not needed."""
        try:
            kind, index, name = (data.data[key] for key in ("type", "index", "id"))
            content = data.files[0][1]
            number = int(index) if kind == "layer" else 0
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
            raise HTTPException(400, "This is no layer of a drawing. (SP162)") from error
        if kind != "layer":
            return
        if not 0 <= number < self._limits.max_layers or len(content) > MAX_DRAWING_BYTES or len(name) > 64:
            raise HTTPException(413, f"A drawing has at most {self._limits.max_layers} layers of 16 MB. (SP163)")
        path = save_bytes_to_cache(content, f"layer-{number}.png", get_upload_folder())
        with self._lock:
            self._layers.setdefault(name, {})[number] = path
            while len(self._layers) > MAX_WAITING:
                self._layers.popitem(last=False)

    def take(self, name: str) -> list[dict[str, str]]:
        """Return the layers that were sent under a name, and forget them."""
        with self._lock:
            layers = self._layers.pop(name, {})
        return [{"path": layers[number]} for number in sorted(layers)]


class Folder:
    """A folder of this machine whose pictures may be chosen; nothing outside is shown or read, no link is followed.

    Args:
        root: The folder.
    """

    def __init__(self, root: str) -> None:
        self._root = Path(root).resolve()

    def attach(self, explorer: Any) -> Any:
        """Let a file explorer show this folder."""
        listing = explorer.ls

        def ls(subdirectory: Any = None) -> Any:
            try:
                place = self.path_of(subdirectory)
            except UsageError as error:
                raise HTTPException(403, f"{error} ({error.code})") from error
            return [entry for entry in listing(subdirectory) or [] if not (place / entry["name"]).is_symlink()]

        explorer.folder = self
        explorer.ls = server(ls)
        explorer.preprocess = lambda payload: str(self.path_of(payload.root[0])) if payload and payload.root else None
        return explorer

    def path_of(self, parts: Any) -> Path:
        """Return the path of a file or folder inside.

        Args:
            parts: Names from the folder downwards; None or none for the folder itself.

        Raises:
            UsageError: SP160, it is outside, behind a link, or not there.
        """
        if parts is not None and not (isinstance(parts, list) and all(map(_is_name, parts))):
            raise _outside()
        path = self._root.joinpath(*(parts or []))
        try:
            # Where nothing is a link, a path leads to itself.
            if path.resolve(strict=True) != path:
                raise _outside()
        except (OSError, ValueError, RuntimeError) as error:
            raise _outside() from error
        return path


def _is_name(part: Any) -> bool:
    return isinstance(part, str) and part not in ("", ".", "..") and not set(part) & {"/", "\\", "\0", os.sep}


def _outside() -> UsageError:
    return UsageError("SP160", "This is no file of the folder that the page was started with.", "Choose another.")
