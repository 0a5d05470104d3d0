"""How steady a stylized clip is, for each way to share statistics over its frames.

python benchmarks/flicker.py [--frames 16] [--size 512x288] [--models cd-wct.x16 cd-adain.x16 pca-photo.vgg] [--grain 1]

The clip: a camera that pans over a picture while a bright ball flies through it, with noise. Figures are those of
`styleplugin.transforms.metrics.flicker`, relative to the clip's own; and how much neighbors differ when they are laid
over each other along the camera's way, which shows what does not move with the scene.
"""

from __future__ import annotations

import argparse
from itertools import pairwise

import torch
from common import SAMPLES, label, machine, picture, size_of, table, write
from torch import Tensor

import styleplugin
from styleplugin.transforms.metrics import flicker

WAYS = ("per frame", "whole batch", "one frame")
STEP = 8
"""Pixels that the camera moves from frame to frame."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--size", default="512x288")
    parser.add_argument("--models", nargs="+", default=["cd-wct.x16", "cd-adain.x16", "pca-photo.vgg"])
    parser.add_argument("--style", default=str(SAMPLES / "swirls.jpg"))
    parser.add_argument("--grain", type=float, help="of WCT, in place of the default")
    options = parser.parse_args()
    clip = pan(options.frames, *size_of(options.size))
    own = flicker(clip)
    rows, data = [], []
    for model in options.models:
        stylizer = styleplugin.load(model)
        style = stylizer.prepare(options.style)
        row, found = [label(model)], {}
        for way in WAYS:
            results = stylizer.frames(clip, style, statistics=way, grain=options.grain)
            outputs = [result.tensor for result in results]
            found[way] = {"flicker": flicker(outputs) / own, "unsteadiness": unsteadiness(outputs)}
            row.append(f"{found[way]['flicker']:.2f} / {found[way]['unsteadiness']:.1f}")
        rows.append(row)
        data.append({"model": model, "size": options.size, "own": own, "grain": options.grain} | found)
    print(
        f"{machine()}\n{options.frames} frames of {options.size}: flicker as a multiple of {own:.4f}, the clip's own /"
    )
    print(f"unsteadiness in levels of 8 bits, of which the clip itself has {unsteadiness(clip):.1f}\n")
    print(table(["model", *WAYS], rows))
    write("flicker", data)


def unsteadiness(frames: list[Tensor]) -> float:
    """Return the mean difference of neighbors where they show the same of the scene, in levels of 8 bits."""
    moves = [(a[..., STEP:] - b[..., :-STEP]).abs().mean() for a, b in pairwise(frames)]
    return 255 * float(torch.stack(moves).mean())


def pan(count: int, width: int, height: int) -> list[Tensor]:
    """Return frames (1, 3, height, width) in [0, 1]."""
    scene = picture(SAMPLES / "lake.jpg", width + STEP * count, height)
    rows, cols = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    noise = torch.Generator().manual_seed(0)
    frames = []
    for i in range(count):
        frame = scene[..., STEP * i : STEP * i + width].clone()
        place = (i + 0.5) / count
        ball = (rows - height * (1 - place)).square() + (cols - width * place).square() < (height / 6) ** 2
        frame[:, :, ball] = 0.95
        frames.append((frame + 0.02 * torch.randn(frame.shape, generator=noise)).clamp(0, 1))
    return frames


if __name__ == "__main__":
    main()
