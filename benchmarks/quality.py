"""Reconstruction, dead channels, content and style fidelity, and seams of models, on the sample pictures.

python benchmarks/quality.py [--models cd-wct.x16 pca-photo.vgg file:released.safetensors] [--samples FOLDER]
    [--microast FILE]

Artistic models paint all photographs in the style of all artworks, photorealistic ones the pairs of photographs.

The judge of the style is the same for all models: with the teachers beside the samples that of the training, VGG-19 for
levels 1 to 3 and the released students' embeddings for 4 and 5; without them the deepest encoder of the first model,
which that model was made to please. Contact sheets go to benchmarks/results.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from common import RESULTS, ROOT, label, machine, resized, table, write
from PIL import Image
from torch import Tensor

import styleplugin
from styleplugin import metrics
from styleplugin.images.small import read_image
from styleplugin.importers.microast import import_microast
from styleplugin.models.kbstyle import KBModel
from styleplugin.models.photorealistic import PhotoModel
from styleplugin.stylizer import Stylizer
from styleplugin.train.config import TeacherOptions
from styleplugin.train.prune import dead_fraction
from styleplugin.train.teachers import build_judge

Features = Callable[[Tensor], Sequence[Tensor]]
MICROAST = "MicroAST"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--models",
        nargs="+",
        default=["cd-wct.x16", "cd-adain.x16", "kbstyle.200k", "pca-photo.vgg", "pca-photo.mobilenet"],
    )
    parser.add_argument("--microast", help="its released weights, a file or the folder of a clone: compared as well")
    parser.add_argument("--samples", type=Path, default=ROOT.parent / "shared" / "data" / "samples")
    parser.add_argument("--side", type=int, default=512, help="shorter side for reconstruction, longer for stylizing")
    parser.add_argument("--limit", type=int, help="most photographs and styles to use")
    parser.add_argument("--smooth", type=int, default=0, help="radius of the edge-aware smoothing")
    options = parser.parse_args()
    photos, arts, contents, looks = (
        sorted(options.samples.glob(pattern))[: options.limit]
        for pattern in ("photos/*.jpg", "art/*.jpg", "pairs/*_content.jpg", "pairs/*_style.jpg")
    )
    if not photos or not arts:
        parser.error(f"--samples: {options.samples} has no photos/*.jpg or no art/*.jpg")
    judge, features = find_judge(options.samples.parent / "teachers", options.models[0])
    paint = [fitted(path, options.side, shorter=False) for path in photos]
    painted = [[fitted(path, options.side, shorter=False)] * len(paint) for path in arts]
    graded, grades = ([fitted(path, options.side, shorter=False) for path in paths] for paths in (contents, looks))
    photorealistic = [name for name in options.models if load(name).info.method == "photorealistic"]
    artistic = [name for name in options.models if name not in photorealistic]
    if options.microast:
        artistic.append(MICROAST)
    data = {"machine": machine(), "side": options.side, "judge": judge}
    results = {name: {"pairs": reconstruct(name, photos, options.side)} for name in options.models}
    print(f"Reconstruction in dB and dead channels, {len(photos)} photographs, shorter side {options.side} px\n")
    rows = [
        [
            label(name),
            level,
            f"{pair['psnr']:.1f}",
            f"{pair['worst']:.1f}",
            *(f"{100 * pair[half]:.1f}%" if half in pair else "" for half in ("dead_encoder", "dead_decoder")),
        ]
        for name, model in results.items()
        for level, pair in model["pairs"].items()
    ]
    print(table(["model", "level", "mean", "worst", "dead in encoder", "in decoder"], rows))
    jobs = [
        (artistic, paint, painted, f"{len(photos)} photographs x {len(arts)} artworks"),
        (photorealistic, graded, [grades], f"{len(graded)} pairs of photographs"),
    ]
    for names, pictures, styles, what in jobs:
        if not names or not pictures:
            continue
        print(f"\nStylization, {what}, longer side {options.side} px\nJudge of the style: {judge}\n")
        couples = [(content, style) for row in styles for content, style in zip(pictures, row, strict=True)]
        unchanged = np.mean([metrics.style_distances(features, a, b) for a, b in couples], 0).tolist()
        rows = [["content, unchanged", "1.000", *(f"{d:.3f}" for d in unchanged), "", "", ""]]
        for name in names:
            painter = Rival(options.microast) if name == MICROAST else Painter(name, options.smooth)
            result = stylize(painter, pictures, styles, features)
            save_sheet(result.pop("sheet"), RESULTS / f"sheet-{label(name)}.png")
            results.setdefault(name, {})["style"] = result
            distances = (f"{d:.3f}" for d in result["style_distance"])
            rows.append(
                [
                    label(name),
                    f"{result['content_ssim']:.3f}",
                    *distances,
                    f"{100 * result['clipped']:.1f}%",
                    "" if result["seam"] is None else f"{result['seam']:.1e}",
                    f"{result['checkerboard']:.2f}",
                ]
            )
        levels = (f"style distance {k}" for k in range(1, len(unchanged) + 1))
        figures = ["clipped values", "seam of 128 px tiles, /255", "checkerboard"]
        print(table(["model", "content SSIM", *levels, *figures], rows))
    write("quality", data | {"models": results})


def find_judge(teachers: Path, model: str) -> tuple[str, Features]:
    """Return the judge's name and its features, all levels of a picture."""
    if teachers.is_dir():
        judge = build_judge(TeacherOptions(root=str(teachers)), 5, torch.zeros(1, 3, 32, 32))
        return " + ".join(judge.sources), torch.inference_mode()(judge.features)
    pairs = load(model, device="cpu").model
    return f"encoder of {label(model)}", torch.inference_mode()(pairs.pair(pairs.levels[0]).encoder.features)


def load(name: str, **options) -> Stylizer:
    return styleplugin.load(name, allow_unknown_model=True, **options)


@torch.inference_mode()
def reconstruct(name: str, photos: Sequence[Path], side: int) -> dict[int, dict[str, float]]:
    model = load(name, device="cpu").model
    images = [fitted(path, side, shorter=True) for path in photos]
    if isinstance(model, PhotoModel | KBModel):
        values = [metrics.psnr(model(image).clamp(0, 1), image) for image in images]
        return {model.levels[0]: {"psnr": float(np.mean(values)), "worst": min(values)}}
    square = min(min(image.shape[2:]) for image in images)
    # A channel counts as dead if no photograph wakes it.
    crops = torch.cat([image[..., :square, :square] for image in images])
    results = {}
    for level in sorted(model.levels):
        pair = model.pair(level)
        values = [metrics.psnr(pair(image), image) for image in images]
        results[level] = {
            "psnr": float(np.mean(values)),
            "worst": min(values),
            "dead_encoder": dead_fraction(pair.encoder, crops),
            "dead_decoder": dead_fraction(pair.decoder, pair.encoder(crops)),
        }
    return results


class Painter:
    """A model of this package."""

    def __init__(self, name: str, smooth: int) -> None:
        self._stylizer, self._tiled, self._whole = load(name), load(name, tile=128), load(name, tile="whole")
        self._smooth = smooth

    def paint(self, contents: Sequence[Tensor], style: Tensor) -> list[Tensor]:
        code = self._stylizer.prepare(style)
        return [self._stylizer(content, code, smooth=self._smooth).tensor for content in contents]

    def seam(self, content: Tensor, style: Tensor) -> float | None:
        code = self._stylizer.prepare(style)
        return metrics.seam(self._tiled(content, code).tensor, self._whole(content, code).tensor)


class Rival:
    """MicroAST, for whole pictures."""

    def __init__(self, source: str) -> None:
        self._model = import_microast(source)

    def paint(self, contents: Sequence[Tensor], style: Tensor) -> list[Tensor]:
        return [self._model(content, style).clamp(0, 1) for content in contents]

    def seam(self, content: Tensor, style: Tensor) -> float | None:
        return None


@torch.inference_mode()
def stylize(
    painter: Painter | Rival, contents: Sequence[Tensor], styles: Sequence[Sequence[Tensor]], features: Features
) -> dict:
    """Stylize all contents in each row of styles; one style per content."""
    similarity, distances, clipped, seams, grids, sheet = [], [], [], [], [], [[None, *contents]]
    for row in styles:
        same = all(style is row[0] for style in row)
        sheet.append([row[0] if same else None, *([] if same else row)])
        if not same:
            sheet.append([None])
        outputs = (
            painter.paint(contents, row[0])
            if same
            else [painter.paint([content], style)[0] for content, style in zip(contents, row, strict=True)]
        )
        for content, style, output in zip(contents, row, outputs, strict=True):
            sheet[-1].append(output)
            similarity.append(metrics.ssim(content, output))
            distances.append(metrics.style_distances(features, output, style))
            clipped.append(float(((output <= 0) | (output >= 1)).float().mean()))
            grids.append(metrics.checkerboard(output))
        seams.append(painter.seam(contents[0], row[0]))
    return {
        "content_ssim": float(np.mean(similarity)),
        "style_distance": np.mean(distances, 0).tolist(),
        "clipped": float(np.mean(clipped)),
        "seam": None if None in seams else max(seams),
        "checkerboard": float(np.mean(grids)),
        "sheet": sheet,
    }


def fitted(path: Path, side: int, *, shorter: bool) -> Tensor:
    """Read a picture and scale it so that its shorter (or longer) side is `side`, sides multiples of 16."""
    source = read_image(path)
    scale = side / (min if shorter else max)(source.size)
    return resized(source, (round(source.height * scale / 16) * 16, round(source.width * scale / 16) * 16))


def save_sheet(rows: Sequence[Sequence[Tensor | None]], path: Path, cell: int = 256) -> None:
    """Write a contact sheet: contents in the first row, styles in the first column."""
    sheet = Image.new("RGB", (cell * len(rows[0]), cell * len(rows)), "white")
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            if image is None:
                continue
            pixels = (image[0].clamp(0, 1).permute(1, 2, 0) * 255).round().byte().numpy()
            thumbnail = Image.fromarray(pixels)
            thumbnail.thumbnail((cell - 4, cell - 4))
            left, top = ((cell - side) // 2 for side in thumbnail.size)
            sheet.paste(thumbnail, (j * cell + left, i * cell + top))
    path.parent.mkdir(exist_ok=True)
    sheet.save(path)


if __name__ == "__main__":
    main()
