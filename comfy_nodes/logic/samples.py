"""The sample pictures that came with the pack, and clips made of them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

import styleplugin

from .batches import handed_over
from .interface import Host

SAMPLES = Path(styleplugin.__file__).parent / "samples"
CLIP_FRAMES, CLIP_STEP = 16, 6
"""Frames of a sample clip, and pixels that its camera moves from one to the next."""


def samples() -> list[str]:
    """Return the names of the pictures that came with the pack, and of the clips made of them."""
    names = sorted(path.stem for path in SAMPLES.glob("*.jpg"))
    return [*names, *(f"{name}, {CLIP_FRAMES} frames" for name in names)]


def sample(host: Host, name: str) -> Tensor:
    """Read a sample picture, or let a camera pan over it."""
    name, clip, _ = name.partition(",")
    picture = styleplugin.to_picture(SAMPLES / f"{name}.jpg").rgb.movedim(1, -1)
    if clip:
        width = (picture.shape[2] - CLIP_STEP * (CLIP_FRAMES - 1)) // 16 * 16
        height = picture.shape[1] // 16 * 16
        views = [picture[:, :height, CLIP_STEP * i : CLIP_STEP * i + width] for i in range(CLIP_FRAMES)]
        picture = torch.cat(views)
    return handed_over(host, picture)
