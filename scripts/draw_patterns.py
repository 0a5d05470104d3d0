"""Draw patterns to learn styles from, in palettes taken from artworks; on one machine the same every time.

python scripts/draw_patterns.py ARTWORKS OUT      # a folder or tar of artworks with an index.csv, and a new folder
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import os
import shutil
import sys
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from scripts.patterns import dots, grounds, hatching, mosaics, shapes, strokes  # noqa: E402
from scripts.patterns.palettes import Palette, palette_of  # noqa: E402
from styleplugin.errors import UsageError  # noqa: E402
from styleplugin.train.data.decode import decode  # noqa: E402
from styleplugin.train.data.sources import PATTERN, read_files  # noqa: E402

KINDS = {
    "strokes": strokes.DRAWN,
    "hatching": hatching.DRAWN,
    "dots": dots.DRAWN,
    "mosaics": mosaics.DRAWN,
    "flat shapes": shapes.DRAWN,
    "paper and canvas": grounds.DRAWN,
}
"""Techniques by kind; each draws (SIDE, SIDE, 3) pixels in 0..255 from random numbers and a palette."""
COUNT = 240
QUALITY = 92
TAR = "patterns-000.tar"
ORIGIN = {
    "author": "drawn by scripts/draw_patterns.py",
    "license": "CC0-1.0",
    "license_url": "https://creativecommons.org/publicdomain/zero/1.0/",
    "source": "scripts/draw_patterns.py",
}
COLUMNS = ("tar", "file", "kind", "subject_or_technique", "title", *ORIGIN, "sha256")
_SMALL = 48
"""Short side of the artworks in which colors are counted, pixels."""
_GRAY = 8
"""For so many palettes with colors there may be one without."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("artworks")
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=COUNT)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draw_patterns(arguments.artworks, arguments.out, count=arguments.count, seed=arguments.seed)


def draw_patterns(artworks: str | Path, out: Path, *, count: int = COUNT, seed: int = 0) -> None:
    """Draw patterns of all kinds in turn into a tar with an index.

    Args:
        artworks: Where the palettes come from, see `read_files`; only artworks with an open license count.
        out: Folder to make. It appears complete or not at all; where another process was quicker, its own stays.
        count: How many.
        seed: All random numbers follow from it and the number of a pattern.

    Raises:
        UsageError: SP130, there are no such artworks; SP131, none has an open license and colors to draw with.
    """
    palettes = palettes_of(artworks, seed)
    making = out.with_name(f".{out.name}-{os.getpid()}")
    making.mkdir(parents=True)
    try:
        with tarfile.open(making / TAR, "w", format=tarfile.USTAR_FORMAT) as archive:
            rows = [_add(archive, number, palettes[number % len(palettes)], seed) for number in range(count)]
        with (making / "index.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        if not out.exists():
            making.rename(out)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def palettes_of(artworks: str | Path, seed: int) -> list[Palette]:
    """Return the palettes of artworks in a random order."""
    files = (file for file in read_files(artworks) if file.is_open and not file.is_validation)
    found = [palette_of(decode(file.data, file.name, short_side=_SMALL, smallest=1)) for file in files]
    usable = [palette for palette in found if palette.is_usable]
    colored, gray = ([palette for palette in usable if palette.is_gray is is_gray] for is_gray in (False, True))
    chosen = [*colored, *gray[: max(1, len(colored) // _GRAY)]]
    if not chosen:
        raise UsageError(
            "SP131", f"No artwork in {str(artworks)!r} has an open license and colors to draw with.", "Give others."
        )
    return [chosen[number] for number in np.random.default_rng(seed).permutation(len(chosen))]


def kind_of(number: int) -> str:
    """Return the kind of the pattern of a number: all kinds in turn."""
    return list(KINDS)[number % len(KINDS)]


def draw(number: int, palette: Palette, seed: int) -> np.ndarray:
    """Draw the pattern of a number, (SIDE, SIDE, 3) uint8: of each kind all techniques in turn."""
    ways = KINDS[kind_of(number)]
    pixels = ways[number // len(KINDS) % len(ways)](np.random.default_rng((seed, number)), palette)
    return pixels.clip(0, 255).astype(np.uint8)


def _add(archive: tarfile.TarFile, number: int, palette: Palette, seed: int) -> dict[str, str]:
    """Draw a pattern into a tar and return its row of the index."""
    buffer = io.BytesIO()
    Image.fromarray(draw(number, palette, seed)).save(buffer, "JPEG", quality=QUALITY, subsampling=0)
    member = tarfile.TarInfo(f"pat{number:05}.jpg")
    member.size = buffer.tell()
    buffer.seek(0)
    archive.addfile(member, buffer)
    return {
        "tar": TAR,
        "file": member.name,
        "kind": PATTERN,
        "subject_or_technique": kind_of(number),
        "title": f"{kind_of(number)} {number}",
        "sha256": hashlib.sha256(buffer.getvalue()).hexdigest(),
        **ORIGIN,
    }


if __name__ == "__main__":
    main()
