"""What models do that needs no judge: reconstruction, dead channels, seams of tiles, grids. Prints tables in markdown.

python benchmarks/reconstruction.py [--models cd-wct.x16 file:PATH ...] [--limit 30]

Reconstruction is the PSNR of a pair's output without a style, over the photographs of the selection pairs. A channel
counts as dead if no photograph wakes it. Checkerboard and cells are those of `styleplugin.transforms.metrics`, of the
stylized pictures; the seam is the largest that tiles of 128 px leave in three of them.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from common import label, machine, table
from evaluation import Pair, pairs, photo_pairs, read
from torch import Tensor

import styleplugin
from styleplugin.errors import StylePluginWarning
from styleplugin.methods.kbstyle.model import KBModel
from styleplugin.methods.photorealistic.model import PhotoModel
from styleplugin.stylizer import Stylizer
from styleplugin.train.pruning.filters import dead_fraction
from styleplugin.transforms import metrics

MODELS = ("cd-wct.x16", "cd-adain.x16", "kbstyle.200k", "pca-photo.vgg", "pca-photo.mobilenet")
SEAM_TILE, SEAM_PAIRS = 128, 3
STRIDE = 16
"""Networks by themselves take sides that are multiples of this."""


def main() -> None:
    warnings.simplefilter("ignore", StylePluginWarning)  # models from files, which are the point here
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--limit", type=int, default=30, help="most pairs")
    options = parser.parse_args()
    photos = [_cut(read(pair.content)) for pair in pairs("selection")[: options.limit]]
    rows = [row for name in options.models for row in reconstruct(name, photos)]
    print(f"{machine()}; {len(photos)} photographs\n\nReconstruction in dB and dead channels\n")
    print(table(["model", "level", "mean", "worst", "dead in encoder", "in decoder"], rows))
    print("\nGrids of the stylized pictures\n")
    rows = [[label(name), *grids(name, options.limit)] for name in options.models]
    print(table(["model", "checkerboard", "cells %", f"seam of {SEAM_TILE} px tiles, levels of 8 bits"], rows))


@torch.inference_mode()
def reconstruct(name: str, photos: Sequence[Tensor]) -> Iterator[list[str]]:
    """Yield a row for each level; a model that is one network has one."""
    network = _load(name).model
    if isinstance(network, PhotoModel | KBModel):
        yield [label(name), str(network.levels[0]), *_decibels(network, photos), "", ""]
        return
    # Crops of one size make a batch.
    side = min(min(photo.shape[2:]) for photo in photos)
    crops = torch.cat([photo[..., :side, :side] for photo in photos])
    for level in sorted(network.levels):
        pair = network.pair(level)
        dead = dead_fraction(pair.encoder, crops), dead_fraction(pair.decoder, pair.encoder(crops))
        yield [label(name), str(level), *_decibels(pair, photos), *(f"{100 * share:.1f}%" for share in dead)]


def grids(name: str, limit: int) -> list[str]:
    """Return checkerboard, cells and seam of a model's pictures."""
    stylizer, tiled, whole = _load(name), _load(name, tile=SEAM_TILE), _load(name, tile="whole")
    chosen = (photo_pairs if stylizer.info.method == "photorealistic" else pairs)("selection")[:limit]
    outputs = [_paint(stylizer, pair) for pair in chosen]
    seams = [metrics.seam(_paint(tiled, pair), _paint(whole, pair)) for pair in chosen[:SEAM_PAIRS]]
    return [
        f"{np.mean([metrics.checkerboard(output) for output in outputs]):.2f}",
        f"{np.mean([metrics.cells(output) for output in outputs]):.2f}",
        f"{max(seams):.1e}",
    ]


def _load(name: str, **options: object) -> Stylizer:
    return styleplugin.load(name, device="cpu", allow_unknown_model=True, **options)


def _paint(stylizer: Stylizer, pair: Pair) -> Tensor:
    return stylizer(pair.content, pair.style).tensor


def _decibels(network: torch.nn.Module, photos: Sequence[Tensor]) -> tuple[str, str]:
    values = [metrics.psnr(network(photo), photo) for photo in photos]
    return f"{np.mean(values):.1f}", f"{min(values):.1f}"


def _cut(photo: Tensor) -> Tensor:
    height, width = (side // STRIDE * STRIDE for side in photo.shape[2:])
    return photo[..., :height, :width]


if __name__ == "__main__":
    main()
