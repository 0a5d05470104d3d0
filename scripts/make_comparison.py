"""Draw a sheet of the pictures that `benchmarks/quality.py` has left: a row for each pair, a column for each model.

python scripts/make_comparison.py PAIRS RESULTS TARGET --kind artistic --models cd-wct.released cd-wct.x16
    [--only "00 x 00" ...] [--one-to-one]

PAIRS is the folder of the pairs, RESULTS what quality.py wrote for it, TARGET for example docs/images/wct.jpg. With
--one-to-one a cell is a piece of the middle, pixel for pixel; else the whole picture, cut to the shape of the cell.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from PIL import Image, ImageDraw

ROOT = Path(__file__).parents[1]
CELL, GAP, HEAD = (300, 200), 4, 18


def main() -> None:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from pairs import read_fitted, read_pairs
    from quality import to_image

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--kind", choices=("artistic", "photorealistic"), default="artistic")
    parser.add_argument("--models", nargs="+", required=True)
    parser.add_argument("--only", nargs="*", help="names of pairs, without the kind")
    parser.add_argument("--one-to-one", action="store_true")
    parser.add_argument("--side", type=int, default=512, help="that quality.py was run with")
    options = parser.parse_args()
    pairs = read_pairs(options.pairs, options.kind)
    if options.only:
        pairs = [pair for pair in pairs if pair.name.removeprefix(f"{options.kind} ") in options.only]
    names = ["content", "style", *options.models]
    width, height = (side + GAP for side in CELL)
    sheet = Image.new("RGB", (len(names) * width - GAP, HEAD + len(pairs) * height - GAP), "white")
    for column, name in enumerate(names):
        ImageDraw.Draw(sheet).text((column * width + 4, 3), name, fill="black")
    for row, pair in enumerate(pairs):
        sources = [to_image(read_fitted(path, options.side)) for path in (pair.content, pair.style)]
        results = [Image.open(options.results / model / f"{pair.name}.png") for model in options.models]
        for column, picture in enumerate([*sources, *results]):
            sheet.paste(fitted(picture, one_to_one=options.one_to_one), (column * width, HEAD + row * height))
    sheet.save(options.target, quality=88)


def fitted(image: Image.Image, *, one_to_one: bool) -> Image.Image:
    """Cut the middle of a picture in the shape of a cell."""
    scale = max(side / own for side, own in zip(CELL, image.size, strict=True))
    if not one_to_one or scale > 1:
        image = image.resize([round(side * scale) for side in image.size], Image.Resampling.LANCZOS)
    left, top = ((own - side) // 2 for side, own in zip(CELL, image.size, strict=True))
    return image.crop((left, top, left + CELL[0], top + CELL[1]))


if __name__ == "__main__":
    main()
