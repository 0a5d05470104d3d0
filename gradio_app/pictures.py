"""Pictures on their way from and to the page: uploads, small copies, drawn regions."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

import styleplugin
from styleplugin import Picture, Result
from styleplugin.errors import StylePluginError

MAX_MEGAPIXELS = 100
"""Largest picture that is read."""
MAX_DRAWING = 4
"""Largest drawing of regions, in megapixels; the page's own has less than one."""
PREVIEW_PIXELS = 2_000_000
"""Largest pictures that the page itself shows; the files have all pixels."""
COLORS = {"red": (255, 59, 48), "green": (52, 199, 89), "blue": (0, 122, 255), "yellow": (255, 204, 0)}
"""What regions are drawn with: the first is that of style 1, and so on."""
_OPAQUE = 32
"""Fainter strokes than this, of 255, do not count."""


def read(path: str | None, what: str, max_megapixels: float = MAX_MEGAPIXELS) -> Picture:
    """Read an upload, or raise an error for the page if there is none or it cannot be used."""
    if not path:
        raise gr.Error(f"Give {what} first.", print_exception=False)
    return styleplugin.read_image(path, max_megapixels=max_megapixels)


def small(picture: Picture, side: int | None = None) -> Image.Image:
    """Return a picture for the page: at most of this longer side, or of `PREVIEW_PIXELS`; transparent parts white."""
    scale = min(1.0, side / max(picture.size) if side else (PREVIEW_PIXELS / (picture.width * picture.height)) ** 0.5)
    image = Result(picture).image
    if scale < 1:
        image.thumbnail((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))))
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image


def smaller(picture: Picture, side: int) -> Picture:
    """Return a picture with at most this longer side, with its alpha."""
    if max(picture.size) <= side:
        return picture
    image = Result(picture).image
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return replace(styleplugin.to_picture(image), name=picture.name)


def drawn_regions(drawing: dict[str, Any] | None, size: tuple[int, int]) -> list[np.ndarray | None]:
    """Return the region of each color of a drawing, (height, width) in [0, 1]; None for colors that were not used."""
    drawn_on = [read(path, "a drawing", MAX_DRAWING) for path in (drawing or {}).get("layers") or []]
    layers = [np.asarray(Result(layer).image.convert("RGBA")) for layer in drawn_on]
    regions: list[np.ndarray | None] = []
    for i in range(len(COLORS)):
        drawn = [(layer[..., 3] > _OPAQUE) & (_nearest(layer[..., :3]) == i) for layer in layers]
        if not np.any(drawn):
            regions.append(None)
            continue
        region = Image.fromarray(np.any(drawn, 0)).convert("L").resize((size[1], size[0]), Image.Resampling.BILINEAR)
        regions.append(np.asarray(region, np.float32) / 255)
    return regions


def _nearest(colors: np.ndarray) -> np.ndarray:
    """Return for each pixel which of `COLORS` is nearest."""
    known = np.array(list(COLORS.values()), np.int32)
    return ((colors[:, :, None].astype(np.int32) - known) ** 2).sum(-1).argmin(-1)


def for_page(error: StylePluginError) -> gr.Error:
    """Return an error as the page shows it: its sentence and its code, no trace, no folder of this machine."""
    sentence = re.sub(r"'[^']*[/\\]([^'/\\]*)'", r"'\1'", str(error))
    return gr.Error(f"{sentence} ({error.code})", print_exception=False)
