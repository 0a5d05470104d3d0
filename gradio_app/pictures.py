"""Pictures on their way from and to the page: uploads, small copies, drawn regions."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

import styleplugin
from gradio_app.limits import MOST_MEGAPIXELS
from styleplugin import Picture, Result
from styleplugin.errors import StylePluginError, UsageError

MAX_DRAWING = 4
"""Largest drawing of regions, in megapixels; the page's own has less than one."""
PREVIEW_PIXELS = 2_000_000
"""Largest pictures that the page itself shows; the files have all pixels."""
COLORS = {"red": (255, 59, 48), "green": (52, 199, 89), "blue": (0, 122, 255), "yellow": (255, 204, 0)}
"""What regions are drawn with: the first is that of style 1, and so on."""
MAX_SENTENCE = 600
"""Longest message; where one is longer, what a visitor sent stands in it."""
_OPAQUE = 32
"""Fainter strokes than this, of 255, do not count."""


def read(path: str | None, what: str, max_megapixels: float = MOST_MEGAPIXELS) -> Picture:
    """Read an upload; the page's own limit has been checked when it came in.

    Raises:
        UsageError: SP168, there is none.
        InputImageError: SP2xx, it cannot be used.
    """
    if not path:
        raise UsageError("SP168", f"Give {what} first.")
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
    return replace(styleplugin.to_picture(image), name=picture.name, warnings=picture.warnings)


def drawn_regions(drawing: dict[str, Any] | None, size: tuple[int, int]) -> list[np.ndarray | None]:
    """Return the region of each color of a drawing, (height, width) in [0, 1]; None for colors that were not used."""
    regions: list[np.ndarray | None] = [None] * len(COLORS)
    # One layer at a time: several are never in memory together.
    for path in (drawing or {}).get("layers") or []:
        layer = np.asarray(Result(read(path, "a drawing", MAX_DRAWING)).image.convert("RGBA"))
        color, is_drawn = _nearest(layer[..., :3]), layer[..., 3] > _OPAQUE
        for i in range(len(COLORS)):
            drawn = is_drawn & (color == i)
            if drawn.any():
                region, before = _resized(drawn, size), regions[i]
                regions[i] = region if before is None else np.maximum(before, region)
    return regions


def check_regions(regions: list[np.ndarray | None], most: int) -> None:
    """Refuse more regions than a page allows: each is a run of its own.

    Raises:
        UsageError: SP163, there are more.
    """
    used = sum(region is not None for region in regions)
    if used > most:
        raise UsageError("SP163", f"The drawing has {used} regions; it may have {most}.", "Use fewer colors.")


def _resized(drawn: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    region = Image.fromarray(drawn).convert("L").resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(region, np.float32) / 255


def _nearest(colors: np.ndarray) -> np.ndarray:
    """Return for each pixel which of `COLORS` is nearest."""
    distances = [
        sum(((colors[..., i].astype(np.int32) - known[i]) ** 2 for i in range(3)), np.int32(0))
        for known in COLORS.values()
    ]
    return np.stack(distances).argmin(0)


def for_page(error: StylePluginError) -> gr.Error:
    """Return an error as the page shows it: its sentence and its code, no trace, no folder of this machine."""
    sentence = re.sub(r"'[^']*[/\\]([^'/\\]*)'", r"'\1'", str(error))
    if len(sentence) > MAX_SENTENCE:
        sentence = sentence[:MAX_SENTENCE] + "..."
    return gr.Error(f"{sentence} ({error.code})", print_exception=False)
