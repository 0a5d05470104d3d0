"""Draw docs/images/photorealistic.jpg: pairs of photographs, the released students' results and ours.

python scripts/make_photo_sheet.py --pairs FOLDER --released VGG.safetensors MOBILENET.safetensors

FOLDER holds 00_content.jpg, 00_style.jpg, ...; the released students are files of `models import pca-distillation`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw

import styleplugin

TARGET = Path(__file__).parents[1] / "docs" / "images" / "photorealistic.jpg"
OURS = ("pca-photo.vgg", "pca-photo.mobilenet")
CELL, GAP, HEAD = (360, 240), 4, 18


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--released", nargs="*", default=[])
    options = parser.parse_args()
    contents = sorted(options.pairs.glob("*_content.jpg"))
    models = [*options.released, *OURS]
    names = ["content", "style", *(f"released {Path(file).stem.split('_')[-1]}" for file in options.released), *OURS]
    stylizers = [styleplugin.load(model, allow_unknown_model=True) for model in models]
    width, height = (side + GAP for side in CELL)
    sheet = Image.new("RGB", (len(names) * width - GAP, HEAD + len(contents) * height - GAP), "white")
    for column, name in enumerate(names):
        ImageDraw.Draw(sheet).text((column * width + 4, 3), name, fill="black")
    for row, content in enumerate(contents):
        style = content.with_name(content.name.replace("content", "style"))
        cells = [Image.open(content), Image.open(style), *(stylizer(content, style).image for stylizer in stylizers)]
        for column, cell in enumerate(cells):
            sheet.paste(fitted(cell), (column * width, HEAD + row * height))
    sheet.save(TARGET, quality=85)


def fitted(image: Image.Image) -> Image.Image:
    """Cut the middle of a picture in the shape of a cell."""
    image = image.convert("RGB")
    scale = max(side / own for side, own in zip(CELL, image.size, strict=True))
    image = image.resize([round(side * scale) for side in image.size], Image.Resampling.LANCZOS)
    left, top = ((own - side) // 2 for side, own in zip(CELL, image.size, strict=True))
    return image.crop((left, top, left + CELL[0], top + CELL[1]))


if __name__ == "__main__":
    main()
