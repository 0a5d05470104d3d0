"""Which kinds of picture files there are, and which file names are those of pictures: one rule for everybody."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from PIL import features

from styleplugin.files import PathLike, has_suffix

EXTENSIONS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".mpo", ".jpg", ".jpeg"),
    "PNG": (".png", ".apng"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "AVIF": (".avif", ".avifs"),
    "HEIF": (".heic", ".heif", ".hif", ".heics", ".heifs"),
    "JXL": (".jxl",),
}
"""Of each kind that is read, by Pillow's name."""
PACKAGES = {"AVIF": "pillow", "HEIF": "pillow-heif", "JXL": "pillow-jxl-plugin"}
"""What reads the kinds that not every installation can read."""
_MODULES = {"HEIF": "pillow_heif", "JXL": "pillow_jxl"}
_COMPANION = "._"
"""How the names of the files begin that macOS puts beside others, on disks of other systems."""


def is_readable(kind: str) -> bool:
    """Whether this installation has what a kind of `EXTENSIONS` is read with."""
    if kind == "AVIF":
        return "avif" in features.modules and bool(features.check("avif"))
    return kind not in _MODULES or find_spec(_MODULES[kind]) is not None


def picture_extensions() -> tuple[str, ...]:
    """Return the extensions of the pictures that this installation reads, in lower case, with their dot.

    Example:
        >>> {".jpg", ".png", ".tif"} <= set(picture_extensions())
        True
    """
    kinds = (kind for kind in EXTENSIONS if is_readable(kind))
    return tuple(dict.fromkeys(extension for kind in kinds for extension in EXTENSIONS[kind]))


def is_picture_name(path: PathLike) -> bool:
    """Whether a file counts as a picture where whole folders are read; what a single file holds says its content."""
    return not Path(path).name.startswith(_COMPANION) and has_suffix(path, *picture_extensions())
