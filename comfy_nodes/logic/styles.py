"""Models brought in with room for their work, and styles: measured, mixed, saved, loaded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

import styleplugin
from styleplugin import EngineOptions, Style, Stylizer, errors, options
from styleplugin.methods import default_models

from .batches import masks_of, pictures_of, size_of
from .interface import STYLE_SUFFIX, Host, StyleModel, on_step, say


def embedded_models() -> list[str]:
    """Return the names of the models that came with the pack, the default ones of each method first."""
    return list(dict.fromkeys([*default_models().values(), *(entry.name for entry in styleplugin.list_models())]))


def load_model(host: Host, name: str) -> StyleModel:
    """Load an embedded model, or a file of the model folder."""
    source = name if name in embedded_models() else f"file:{host.path(name)}"
    stylizer = styleplugin.load(source, allow_unknown_model=True, device="cpu")
    return StyleModel(stylizer.info, stylizer.model)


def ready(host: Host, model: StyleModel, size: tuple[int, int], *, frames: int = 1, tile: int = 0) -> Stylizer:
    """Bring a model in, with room for its work; where there is none, with smaller tiles, and say so."""
    side = str(tile or "auto")
    while True:
        try:
            stylizer = Stylizer(model.module, model.info, EngineOptions(device=str(host.device()), tile=side))
            host.prepare(model, stylizer.memory_needed(size, frames=frames))
            return stylizer
        except Exception as error:
            if not host.is_oom(error):
                raise
            host.empty_cache()
            smaller = options.halved_tile(tile or 512)
            if smaller is None:
                raise errors.ResourceError(
                    "SP502",
                    f"{model!r} does not fit in memory with a picture of {size[1]} x {size[0]}.",
                    "Unload other models, or take a smaller picture.",
                ) from error
            tile, side = smaller, str(smaller)
            host.say(f"Out of memory; going on with tiles of {tile}.")


def encode(host: Host, image: Tensor, model: StyleModel, mask: Tensor | None, style_scale: float) -> Style:
    """Measure style pictures; those of a batch count alike."""
    pictures = pictures_of(image, "style")
    size = size_of(image, style_scale)
    stylizer = ready(host, model, size)
    styles = [
        stylizer.prepare(picture, mask=where, style_scale=style_scale, on_step=on_step(host, i, len(pictures)))
        for i, (picture, where) in enumerate(zip(pictures, masks_of(mask, len(pictures)), strict=True))
    ]
    mixed = styleplugin.mix_styles(styles, [1.0] * len(styles))
    say(host, [note for style in styles for note in style.warnings])
    return mixed


def mix(styles: Sequence[Style], weights: Sequence[float]) -> Style:
    """Mix styles of one model."""
    return styleplugin.mix_styles(styles, weights)


def save_style(host: Host, style: Style, prefix: str) -> Path:
    """Write a style file into the output folder."""
    path = host.save_path(prefix, STYLE_SUFFIX)
    style.save(path)
    host.say(f"Saved {path.name}")
    return path


def load_style(host: Host, name: str) -> Style:
    """Read a style file."""
    return Style.load(host.path(name))
