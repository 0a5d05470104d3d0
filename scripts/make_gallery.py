"""Draw docs/images/gallery.jpg: our sample styles on our sample content, by every method that paints.

python scripts/make_gallery.py
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

import styleplugin

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "styleplugin" / "samples"
GALLERY = ROOT / "docs" / "images" / "gallery.jpg"
STYLES = ("swirls", "waves", "dots")
METHODS: dict[str, dict] = {"wct": {}, "adain": {}, "kbstyle": {}, "optimization": {"steps": 150}}
CELL, GAP = 400, 6


def main() -> None:
    content = SAMPLES / "lake.jpg"
    columns = [[thumbnail(Image.open(content))] + [None] * len(METHODS)]
    for name in STYLES:
        style = SAMPLES / f"{name}.jpg"
        results = [styleplugin.stylize(content, style, method=m, **options).image for m, options in METHODS.items()]
        columns.append([thumbnail(Image.open(style)), *map(thumbnail, results)])
    rows = range(1 + len(METHODS))
    heights = [max(cell.height for column in columns if (cell := column[row])) for row in rows]
    sheet = Image.new("RGB", (len(columns) * (CELL + GAP) - GAP, sum(heights) + (len(heights) - 1) * GAP), "white")
    for i, column in enumerate(columns):
        top = 0
        for cell, height in zip(column, heights, strict=True):
            if cell:
                sheet.paste(cell, (i * (CELL + GAP) + (CELL - cell.width) // 2, top))
            top += height + GAP
    sheet.save(GALLERY, quality=88)


def thumbnail(image: Image.Image) -> Image.Image:
    image = image.convert("RGB")
    image.thumbnail((CELL, CELL))
    return image


if __name__ == "__main__":
    main()
