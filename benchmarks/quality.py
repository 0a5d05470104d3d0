"""How good models are, over a folder of pairs: a CSV with a line per model, pair and strength, tables, and sheets.

python benchmarks/quality.py FOLDER [--models cd-wct.x16 pca-photo.vgg file:released.safetensors] [--microast FILE]

FOLDER as `pairs.py` writes it, or with photos/, art/ and pairs/. OUT (benchmarks/results/quality-FOLDER) gets
pictures.csv, reconstruction.csv, tables.md, a contact sheet of each model and its pictures at full strength. Lines
that OUT has already, of the same weights, are not made again.

The judge of the style is the same for all models: VGG-19 for levels 1 to 3 and the released students' embeddings for 4
and 5, the teachers of the training. Models of this package are compared with each of the others where both have the
same style distance, and where both keep the same content: the one that stylizes more is weakened until they agree.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import RESULTS, ROOT, label, machine, table
from compare import Curve, content_at_equal_style, mean_text, style_at_equal_content
from pairs import Pair, read_fitted, read_pairs
from PIL import Image
from torch import Tensor

import styleplugin
from styleplugin import metrics
from styleplugin.errors import StylePluginWarning
from styleplugin.images.small import read_image
from styleplugin.importers.microast import import_microast
from styleplugin.models.kbstyle import KBModel
from styleplugin.models.photorealistic import PhotoModel
from styleplugin.stylizer import Stylizer
from styleplugin.train.config import TeacherOptions
from styleplugin.train.prune import dead_fraction
from styleplugin.train.teachers import Judge, build_judge

MICROAST = "MicroAST"
UNCHANGED = "content, unchanged"
KINDS = ("artistic", "photorealistic")
STYLE = ("relu1_1", "relu2_1", "relu3_1", "level 4", "level 5")
DIGITS = {"content SSIM": 3, "edge SSIM": 3, **dict.fromkeys(STYLE, 3), "colors": 1, "patches": 1, "clipped %": 1}
DIGITS |= {"checkerboard": 2, "cells %": 2}
"""Decimals of each figure of a stylized picture."""
SEAM_TILE = 128
CELL = 256
"""Side of a picture on a contact sheet, in pixels."""


def main() -> None:
    warnings.simplefilter("ignore", StylePluginWarning)  # models from files, which are the point here
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument(
        "--models",
        nargs="+",
        default=["cd-wct.x16", "cd-adain.x16", "kbstyle.200k", "pca-photo.vgg", "pca-photo.mobilenet"],
    )
    parser.add_argument("--microast", help="its released weights, a file or the folder of a clone: compared as well")
    parser.add_argument("--teachers", default=str(ROOT.parent / "shared" / "data" / "teachers"))
    parser.add_argument("--side", type=int, default=512, help="shorter side for reconstruction, longer for stylizing")
    parser.add_argument("--strengths", type=float, nargs="+", default=[1.0, 0.7, 0.4])
    parser.add_argument("--limit", type=int, help="most pairs of each kind")
    parser.add_argument("--smooth", type=int, default=0, help="radius of the edge-aware smoothing")
    options = parser.parse_args()
    out = options.out or RESULTS / f"quality-{options.folder.resolve().name}"
    out.mkdir(parents=True, exist_ok=True)
    strengths = sorted(options.strengths, reverse=True)
    if strengths[0] != 1:
        parser.error("--strengths: 1, full strength, is what models are compared at; add it")
    judge = build_judge(TeacherOptions(root=options.teachers), 5, torch.zeros(1, 3, 32, 32))
    pairs = {kind: read_pairs(options.folder, kind)[: options.limit] for kind in KINDS}
    if not any(pairs.values()):
        parser.error(f"{options.folder} has no pairs; see benchmarks/pairs.py")
    models: list[Model] = [OurModel(name, options.smooth) for name in options.models]
    if options.microast:
        models.append(MicroAST(options.microast))
    pictures, reconstructions = Ledger(out / "pictures.csv"), Ledger(out / "reconstruction.csv")
    text = [machine()]
    chosen = [model for model in models if isinstance(model, OurModel) and any(pairs[kind] for kind in model.kinds)]
    # Both kinds of pairs may have the same contents.
    contents = {pair.content.read_bytes(): pair.content for kind in KINDS for pair in pairs[kind]}
    photos = list(contents.values())
    lines = [line for model in chosen for line in reconstruct(model, photos, options.side, reconstructions)]
    text += [f"\nReconstruction in dB and dead channels, {len(photos)} photographs, shorter side {options.side} px\n"]
    text += [reconstruction_table(lines)]
    for kind in KINDS:
        rivals = [model for model in models if kind in model.kinds]
        if rivals and pairs[kind]:
            print(f"{kind}: {len(pairs[kind])} pairs", flush=True)
            painted: dict[str, list[dict[str, Any]]] = {}
            for model in [Unchanged(), *rivals]:
                painted[model.name] = list(paint(model, pairs[kind], strengths, options.side, judge, pictures, out))
                print(f"  {model.name}", flush=True)
                save_sheet(pairs[kind], out / model.name, out / f"sheet-{kind}-{model.name}.jpg")
            text += [f"\n{kind.capitalize()}, {len(pairs[kind])} pairs, longer side {options.side} px"]
            text += [f"Judge of the style: {' + '.join(judge.sources)}\n"]
            text += tables(rivals, painted, pairs[kind], options.side)
    (out / "tables.md").write_text("\n".join(text) + "\n")
    print("\n".join(text))


class Ledger:
    """A CSV that grows line by line and knows what it has; lines of other figures than today's are an error."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: dict[tuple[str, ...], dict[str, Any]] = {}
        if path.exists():
            with path.open(newline="") as file:
                for line in csv.DictReader(file):
                    numbers = {name: float(value) if value else None for name, value in line.items() if name != "key"}
                    self._lines[tuple(line["key"].split("|"))] = numbers

    def find(self, *key: object) -> dict[str, Any] | None:
        return self._lines.get(tuple(map(str, key)))

    def add(self, *key: object, **figures: float | None) -> dict[str, Any]:
        self._lines[tuple(map(str, key))] = figures
        header = ["key", *figures]
        is_new = not self._path.exists()
        if not is_new and self._path.read_text().splitlines()[0].split(",") != header:
            raise SystemExit(f"{self._path} has other figures than {', '.join(figures)}; give another --out.")
        with self._path.open("a", newline="") as file:
            writer = csv.writer(file)
            if is_new:
                writer.writerow(header)
            writer.writerow(["|".join(map(str, key)), *("" if value is None else value for value in figures.values())])
        return figures


class Model:
    """Something that paints."""

    name: str
    kinds: Sequence[str]
    identity: str
    """Of its weights."""
    has_strength = False

    def rivals(self, ours: OurModel) -> bool:
        """Whether one of ours is to be compared with it."""
        return False

    def paint(self, content: Tensor, style: Tensor, strength: float) -> Tensor:
        raise NotImplementedError


class Unchanged(Model):
    """The content as it is: the style distance there is to go."""

    name, kinds, identity = UNCHANGED, KINDS, "content"

    def paint(self, content: Tensor, style: Tensor, strength: float) -> Tensor:
        return content


class OurModel(Model):
    """A model that runs in this package: an embedded one, or a file."""

    has_strength = True

    def __init__(self, source: str, smooth: int) -> None:
        self.source, self.name = source, label(source)
        self.is_embedded = ":" not in source
        self.stylizer = load(source)
        self.tiled, self.whole = load(source, tile=SEAM_TILE), load(source, tile="whole")
        info = self.stylizer.info
        self.kinds = ("photorealistic",) if info.method == "photorealistic" else ("artistic",)
        self.identity = f"{info.sha256[:16]} smooth {smooth}"
        self._smooth = smooth

    def rivals(self, ours: OurModel) -> bool:
        return not self.is_embedded and self.stylizer.info.method == ours.stylizer.info.method

    def paint(self, content: Tensor, style: Tensor, strength: float) -> Tensor:
        return self.stylizer(content, style, strength=strength, smooth=self._smooth).tensor

    def seam(self, content: Tensor, style: Tensor) -> float:
        return metrics.seam(self.tiled(content, style).tensor, self.whole(content, style).tensor)


class MicroAST(Model):
    """MicroAST, for whole pictures; it has no strength."""

    name, kinds = MICROAST, ("artistic",)

    def __init__(self, source: str) -> None:
        self._model = import_microast(source)
        values = torch.cat([value.flatten() for value in self._model.state_dict().values()])
        self.identity = hashlib.sha256(values.numpy().tobytes()).hexdigest()[:16]

    def rivals(self, ours: OurModel) -> bool:
        return True

    def paint(self, content: Tensor, style: Tensor, strength: float) -> Tensor:
        return self._model(content, style).clamp(0, 1)


def load(source: str, **options) -> Stylizer:
    return styleplugin.load(source, allow_unknown_model=True, **options)


@torch.inference_mode()
def paint(
    model: Model, pairs: Sequence[Pair], strengths: Sequence[float], side: int, judge: Judge, ledger: Ledger, out: Path
) -> Iterator[dict[str, Any]]:
    """Stylize all pairs, or read what is known of them; keep the pictures of full strength."""
    folder = out / model.name
    folder.mkdir(exist_ok=True)
    for pair in pairs:
        file = folder / f"{pair.name}.png"
        own = strengths if model.has_strength else strengths[:1]
        known = {s: ledger.find(model.name, model.identity, pair.name, s, side) for s in own}
        missing = [s for s, line in known.items() if line is None or (s == 1 and not file.exists())]
        if missing:
            content, style = read_fitted(pair.content, side), read_fitted(pair.style, side)
            wanted = judge.features(style)
            for strength in missing:
                output = model.paint(content, style, strength)
                if strength == 1:
                    to_image(output).save(file)
                distances = metrics.statistics_distances(judge.features(output), wanted)
                known[strength] = ledger.add(
                    *(model.name, model.identity, pair.name, strength, side),
                    **{
                        "content SSIM": metrics.ssim(content, output),
                        "edge SSIM": metrics.edge_ssim(content, output),
                        **dict(zip(STYLE, distances, strict=True)),
                        "colors": metrics.color_distance(output, style),
                        "patches": metrics.patch_distance(output, style),
                        "clipped %": 100 * float(((output <= 0) | (output >= 1)).float().mean()),
                        "checkerboard": metrics.checkerboard(output),
                        "cells %": metrics.cells(output),
                    },
                )
        for strength, line in known.items():
            assert line is not None
            yield line | {"strength": strength}


@torch.inference_mode()
def reconstruct(model: OurModel, photos: Sequence[Path], side: int, ledger: Ledger) -> Iterator[dict[str, Any]]:
    """Return PSNR without a style, and the share of dead channels, for each level."""
    network = load(model.source, device="cpu").model
    whole = isinstance(network, PhotoModel | KBModel)
    images: list[Tensor] = []
    for level in network.levels[:1] if whole else sorted(network.levels):
        key = (model.name, model.identity, level, side, len(photos))
        line = ledger.find(*key)
        if line is None:
            images = images or [read_fitted(path, side, shorter=True) for path in photos]
            half = network if whole else network.pair(level)
            values = [metrics.psnr(half(image).clamp(0, 1), image) for image in images]
            figures = {"psnr": float(np.mean(values)), "worst": min(values), "encoder": None, "decoder": None}
            if not whole:
                # A channel counts as dead if no photograph wakes it.
                square = min(min(image.shape[2:]) for image in images)
                crops = torch.cat([image[..., :square, :square] for image in images[:24]])
                figures["encoder"] = 100 * dead_fraction(half.encoder, crops)
                figures["decoder"] = 100 * dead_fraction(half.decoder, half.encoder(crops))
            line = ledger.add(*key, **figures)
        yield line | {"name": model.name, "level": level}


def reconstruction_table(lines: Sequence[dict[str, Any]]) -> str:
    def text(value: float | None, ending: str) -> str:
        return "" if value is None else f"{value:.1f}{ending}"

    return table(
        ["model", "level", "mean", "worst", "dead in encoder", "in decoder"],
        [
            [line["name"], line["level"], text(line["psnr"], ""), text(line["worst"], "")]
            + [text(line[half], "%") for half in ("encoder", "decoder")]
            for line in lines
        ],
    )


def tables(
    models: Sequence[Model], painted: dict[str, list[dict[str, Any]]], pairs: Sequence[Pair], side: int
) -> list[str]:
    """Return the tables of one kind of models: figures, seams, comparisons."""
    ours = [model for model in models if isinstance(model, OurModel)]
    text = [style_table(painted)]
    text += [f"\nSeams of {SEAM_TILE} px tiles, the largest of three pairs, in levels of 8 bits\n"]
    text += [seam_table(ours, pairs[:3], side)]
    couples = [(mine.name, other.name) for mine in ours if mine.is_embedded for other in models if other.rivals(mine)]
    if couples:
        text += ["\nOurs minus the other: mean and 95% bootstrap interval over the pairs\n"]
        text += [comparison_table(painted, couples)]
    return text


def style_table(painted: dict[str, list[dict[str, Any]]]) -> str:
    rows = []
    for name, lines in painted.items():
        full = [line for line in lines if line["strength"] == 1]
        content, style = (mean_text([figure(line) for line in full]) for figure in (content_ssim, style_distance))
        means = [f"{np.mean([line[figure] for line in full]):.{digits}f}" for figure, digits in DIGITS.items()]
        rows.append([name, content, style, *means[1:]])
    return table(["model", "content SSIM ±", "style distance ±", *list(DIGITS)[1:]], rows)


def comparison_table(painted: dict[str, list[dict[str, Any]]], couples: Sequence[tuple[str, str]]) -> str:
    rows = []
    for couple in couples:
        curves = [curve(painted[name]) for name in couple]
        results = content_at_equal_style(*curves), style_at_equal_content(*curves)
        rows.append([*couple, *("not reached" if result is None else str(result) for result in results)])
    return table(["ours", "other", "content SSIM at equal style", "style distance at equal content"], rows)


def seam_table(models: Sequence[OurModel], pairs: Sequence[Pair], side: int) -> str:
    rows = []
    for model in models:
        pictures = [(read_fitted(pair.content, side), read_fitted(pair.style, side)) for pair in pairs]
        rows.append([model.name, f"{max(model.seam(content, style) for content, style in pictures):.1e}"])
    return table(["model", "seam"], rows)


def curve(lines: Sequence[dict[str, Any]]) -> Curve:
    """Arrange lines by strength, the full one first."""
    strengths = sorted({line["strength"] for line in lines}, reverse=True)
    rows = [[line for line in lines if line["strength"] == strength] for strength in strengths]
    return Curve(
        content=np.array([[content_ssim(line) for line in row] for row in rows]),
        style=np.array([[style_distance(line) for line in row] for row in rows]),
    )


def content_ssim(line: dict[str, Any]) -> float:
    return line["content SSIM"]


def style_distance(line: dict[str, Any]) -> float:
    """Return the mean of the five levels' distances."""
    return float(np.mean([line[figure] for figure in STYLE]))


def save_sheet(pairs: Sequence[Pair], folder: Path, path: Path, columns: int = 4) -> None:
    """Write a contact sheet: content, style and result of each pair, pairs in columns."""
    columns = min(columns, len(pairs))
    rows = -(-len(pairs) // columns)
    sheet = Image.new("RGB", (CELL * 3 * columns, CELL * rows), "white")
    for i, pair in enumerate(pairs):
        pictures = [to_image(read_image(file).rgb) for file in (pair.content, pair.style, folder / f"{pair.name}.png")]
        for j, picture in enumerate(pictures):
            picture.thumbnail((CELL - 4, CELL - 4))
            left, top = CELL * (3 * (i % columns) + j), CELL * (i // columns)
            sheet.paste(picture, (left + (CELL - picture.width) // 2, top + (CELL - picture.height) // 2))
    sheet.save(path, quality=90)


def to_image(tensor: Tensor) -> Image.Image:
    return Image.fromarray((tensor[0].clamp(0, 1).permute(1, 2, 0) * 255).round().byte().numpy())


if __name__ == "__main__":
    main()
