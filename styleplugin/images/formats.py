"""Which kinds of picture files there are, and which file names are those of pictures: one rule for everybody."""

from __future__ import annotations

from pathlib import Path

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
}
"""Of each kind that is read, by Pillow's name."""
_COMPANION = "._"
"""How the names of the files begin that macOS puts beside others, on disks of other systems."""


def picture_extensions() -> tuple[str, ...]:
    """Return the extensions of the pictures that this installation reads, in lower case, with their dot."""
    return tuple(dict.fromkeys(extension for extensions in EXTENSIONS.values() for extension in extensions))


def is_picture_name(path: PathLike) -> bool:
    """Whether a file counts as a picture where whole folders are read; what a single file holds says its content."""
    return not Path(path).name.startswith(_COMPANION) and has_suffix(path, *picture_extensions())
