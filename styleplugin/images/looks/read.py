"""Reading a look from whatever file holds it."""

from __future__ import annotations

import dataclasses

from styleplugin.files import PathLike, has_suffix
from styleplugin.images.looks.cube import read_cube
from styleplugin.images.looks.hald import read_hald
from styleplugin.images.looks.judge import log_notes
from styleplugin.images.looks.table import LUT

CUBE_SUFFIX = ".cube"


def read_lut(path: PathLike) -> LUT:
    """Read a `.cube` file, or a picture that holds a table (any other extension); what was noticed is in `warnings`.

    Raises:
        InputImageError: SP201, there is no such file; SP2xx, it cannot be read; SP240, it is no look.

    Example:
        >>> from pathlib import Path
        >>> rows = [f"{red} {green} {blue}" for blue in (0, 1) for green in (0, 1) for red in (0, 1)]
        >>> _ = Path("plain.cube").write_text("LUT_3D_SIZE 2\\n" + "\\n".join(rows))
        >>> read_lut("plain.cube").size
        2
    """
    lut = read_cube(path) if has_suffix(path, CUBE_SUFFIX) else read_hald(path)
    return dataclasses.replace(lut, warnings=(*lut.warnings, *log_notes(lut)))
