"""How steady a stylized clip is, for each way to share statistics over its frames.

python benchmarks/flicker.py [--frames 16] [--size 512x288] [--models cd-wct.x16 cd-adain.x16 pca-photo.vgg]

The clip: a camera that pans over a picture while a bright ball flies through it, with noise. Figures are those of
`styleplugin.metrics.flicker`, relative to the clip's own.
"""

from __future__ import annotations

import argparse

import torch
from common import SAMPLES, label, machine, picture, size_of, table, write
from torch import Tensor

import styleplugin
from styleplugin.metrics import flicker

WAYS = ("per frame", "whole batch", "one frame")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--size", default="512x288")
    parser.add_argument("--models", nargs="+", default=["cd-wct.x16", "cd-adain.x16", "pca-photo.vgg"])
    parser.add_argument("--style", default=str(SAMPLES / "swirls.jpg"))
    options = parser.parse_args()
    clip = pan(options.frames, *size_of(options.size))
    own = flicker(clip)
    rows, data = [], []
    for model in options.models:
        stylizer = styleplugin.load(model)
        style = stylizer.prepare(options.style)
        figures = [
            flicker([result.tensor for result in stylizer.frames(clip, style, statistics=way)]) / own for way in WAYS
        ]
        rows.append([label(model), *(f"{figure:.2f}" for figure in figures)])
        data.append({"model": model, "size": options.size, "own": own} | dict(zip(WAYS, figures, strict=True)))
    print(f"{machine()}\n{options.frames} frames of {options.size}; the clip's own flicker is {own:.4f}\n")
    print(table(["model", *WAYS], rows))
    write("flicker", data)


def pan(count: int, width: int, height: int) -> list[Tensor]:
    """Return frames (1, 3, height, width) in [0, 1]."""
    scene = picture(SAMPLES / "lake.jpg", width + 8 * count, height)
    rows, cols = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    noise = torch.Generator().manual_seed(0)
    frames = []
    for i in range(count):
        frame = scene[..., 8 * i : 8 * i + width].clone()
        place = (i + 0.5) / count
        ball = (rows - height * (1 - place)).square() + (cols - width * place).square() < (height / 6) ** 2
        frame[:, :, ball] = 0.95
        frames.append((frame + 0.02 * torch.randn(frame.shape, generator=noise)).clamp(0, 1))
    return frames


if __name__ == "__main__":
    main()
