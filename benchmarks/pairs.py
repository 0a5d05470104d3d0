"""Pairs of content and style: read from a folder, or cut out of the validation pictures of the training data.

python benchmarks/pairs.py OUT --photos PHOTOS --paintings PAINTINGS [--count 24]

PHOTOS and PAINTINGS are folders or tars as in a recipe. OUT gets artistic/ and photorealistic/ with 00_content.jpg,
00_style.jpg and so on: the files as they are, in the order of their sha256, so that nobody chooses; the photograph
after the last content is the first photorealistic style.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from common import resized
from torch import Tensor

from styleplugin.images.small import read_image
from styleplugin.train.sources import SUFFIXES, read_files


@dataclass(frozen=True)
class Pair:
    """Two picture files."""

    name: str
    """One of its own in the folder, with the kind of model it is for."""
    content: Path
    style: Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--photos", required=True)
    parser.add_argument("--paintings", required=True)
    parser.add_argument("--count", type=int, default=24)
    options = parser.parse_args()
    photos, paintings = (
        sorted((file for file in read_files(source) if file.is_validation), key=lambda file: file.sha256)
        for source in (options.photos, options.paintings)
    )
    count = options.count
    if len(photos) < 2 * count or len(paintings) < count:
        parser.error(f"--count {count}: only {len(photos)} photographs and {len(paintings)} paintings are held out")
    for kind, styles in (("artistic", paintings), ("photorealistic", photos[count:])):
        folder = options.out / kind
        folder.mkdir(parents=True, exist_ok=True)
        for i, pair in enumerate(zip(photos[:count], styles[:count], strict=True)):
            for file, role in zip(pair, ("content", "style"), strict=True):
                (folder / f"{i:02}_{role}{Path(file.name).suffix}").write_bytes(file.data)


def read_pairs(folder: Path, kind: str) -> list[Pair]:
    """Return the pairs of a folder for a kind of model, artistic or photorealistic.

    Args:
        folder: With artistic/ and photorealistic/, of files NAME_content.* and NAME_style.*; instead of these also with
            photos/ and art/, each photograph with each artwork, and pairs/ for photorealistic ones.
        kind: See above.
    """
    named = folder / kind if (folder / kind).is_dir() else folder / "pairs"
    if named.name == kind or kind == "photorealistic":
        contents = {path.stem.removesuffix("_content"): path for path in _pictures(named, "_content")}
        styles = {path.stem.removesuffix("_style"): path for path in _pictures(named, "_style")}
        names = sorted(contents.keys() & styles.keys())
        return [Pair(f"{kind} {name}", contents[name], styles[name]) for name in names]
    return [
        Pair(f"{kind} {content.stem} x {style.stem}", content, style)
        for style in _pictures(folder / "art")
        for content in _pictures(folder / "photos")
    ]


def read_fitted(path: Path, side: int, *, shorter: bool = False) -> Tensor:
    """Read a picture and scale it so that its longer (or shorter) side is `side`, sides multiples of 16."""
    source = read_image(path)
    scale = side / (min if shorter else max)(source.size)
    return resized(source, (round(source.height * scale / 16) * 16, round(source.width * scale / 16) * 16))


def _pictures(folder: Path, ending: str = "") -> list[Path]:
    return sorted(path for path in folder.glob(f"*{ending}.*") if path.suffix.lower() in SUFFIXES)


if __name__ == "__main__":
    main()
