"""Reconstruction, dead channels, content and style fidelity, and seams of models, on the sample pictures.

python benchmarks/quality.py [--models cd-wct.x16 cd-adain.x16 file:released.safetensors] [--samples ../shared/data/samples]

The judge of the style is one for all models: VGG-19's layers and the released embeddings, as in training, where the shared
teachers are; its levels 1 to 3 are true VGG-19.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from common import RESULTS, ROOT, machine, resized, table, write
from PIL import Image
from torch import Tensor

import styleplugin
from styleplugin import metrics
from styleplugin.images.small import read_image
from styleplugin.stylizer import Stylizer
from styleplugin.train.config import TeacherOptions
from styleplugin.train.prune import dead_fraction
from styleplugin.train.teachers import build_judge


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["cd-wct.x16", "cd-adain.x16"])
    parser.add_argument("--samples", type=Path, default=ROOT.parent / "shared" / "data" / "samples")
    parser.add_argument("--side", type=int, default=512, help="shorter side for reconstruction, longer for stylizing")
    options = parser.parse_args()
    photos, arts = (sorted((options.samples / kind).glob("*.jpg")) for kind in ("photos", "art"))
    judge = build_judge(TeacherOptions(root=str(options.samples.parent / "teachers")), 5, torch.zeros(1, 3, 32, 32))
    data: dict[str, dict] = {}
    for name in options.models:
        data[name] = {
            "pairs": reconstruct(name, photos, options.side),
            "style": stylize(name, photos, arts, options.side, judge.features),
        }
    write("quality", {"machine": machine(), "side": options.side, "models": data})
    print(
        f"Reconstruction of {len(photos)} photographs, shorter side {options.side} px, in dB; share of dead channels\n"
    )
    rows = [
        [
            name,
            level,
            f"{pair['psnr']:.1f}",
            f"{pair['worst']:.1f}",
            f"{100 * pair['dead_encoder']:.1f}%",
            f"{100 * pair['dead_decoder']:.1f}%",
        ]
        for name, model in data.items()
        for level, pair in model["pairs"].items()
    ]
    print(table(["model", "level", "mean", "worst", "dead in encoder", "in decoder"], rows))
    print(f"\nStylization, {len(photos)} photographs x {len(arts)} styles, longer side {options.side} px\n")
    rows = [
        [
            name,
            f"{m['style']['content_ssim']:.3f}",
            *(f"{d:.4f}" for d in m["style"]["style_distance"]),
            f"{m['style']['seam']:.3f}",
        ]
        for name, m in data.items()
    ]
    print(table(["model", "content SSIM", *(f"style distance {k}" for k in range(1, 6)), "seam at tiles of 128"], rows))


def load(name: str, **options) -> Stylizer:
    return styleplugin.load(name, allow_unknown_model=True, **options)


@torch.inference_mode()
def reconstruct(name: str, photos: Sequence[Path], side: int) -> dict[int, dict[str, float]]:
    model = load(name, device="cpu").model
    images = [fitted(path, side, shorter=True) for path in photos]
    results = {}
    for level in sorted(model.levels):
        pair = model.pair(level)
        values = [metrics.psnr(pair(image), image) for image in images]
        crops = torch.cat([image[..., :256, :256] for image in images])
        results[level] = {
            "psnr": float(np.mean(values)),
            "worst": min(values),
            "dead_encoder": dead_fraction(pair.encoder, crops),
            "dead_decoder": dead_fraction(pair.decoder, pair.encoder(crops)),
        }
    return results


@torch.inference_mode()
def stylize(
    name: str, photos: Sequence[Path], arts: Sequence[Path], side: int, features: Callable[[Tensor], Sequence[Tensor]]
) -> dict:
    whole, tiled = load(name), load(name, tile=128)
    contents, styles = ([fitted(path, side, shorter=False) for path in paths] for paths in (photos, arts))
    codes = [whole.prepare(style) for style in styles]
    similarity, distances, seams, sheet = [], [], [], [[None, *contents]]
    for style, code in zip(styles, codes, strict=True):
        row: list[Tensor | None] = [style]
        for content in contents:
            output = whole(content, code).tensor
            row.append(output)
            similarity.append(metrics.ssim(content, output))
            distances.append(metrics.style_distances(features, output, style))
        plain, cut = metrics.seam_ratio(row[1], 128), metrics.seam_ratio(tiled(contents[0], code).tensor, 128)
        seams.append(cut / plain)
        sheet.append(row)
    save_sheet(sheet, RESULTS / f"sheet-{Path(name.removeprefix('file:')).stem}.png")
    return {
        "content_ssim": float(np.mean(similarity)),
        "style_distance": np.mean(distances, 0).tolist(),
        "seam": float(np.mean(seams)),
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
            sheet.paste(thumbnail, (j * cell + 2, i * cell + 2))
    path.parent.mkdir(exist_ok=True)
    sheet.save(path)


if __name__ == "__main__":
    main()
