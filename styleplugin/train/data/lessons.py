"""Lessons: pairs of crops with the picture that a painter has made of them, for students that learn from pictures.

A picture costs as much as a step of training, so each is made once, kept in a file with what the loss network sees in
its style, and seen again many times. New ones come while the training goes on, so that nothing waits for all of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from styleplugin.tensorfile import TEACHER, read_weights, write_weights
from styleplugin.train.data.augment import random_crops
from styleplugin.train.data.pictures import Pictures, step_generator
from styleplugin.train.networks.teachers import LossNetwork
from styleplugin.train.recipe.options import RunRecipe
from styleplugin.transforms.losses import joined, statistics_of

CHUNK = 64
"""Lessons that are made and kept together."""
REPEATS = 4
"""How often, on average, the lessons there are have been seen when new ones come."""
AT_ONCE = 8
"""Pictures that a painter paints together."""
_LIMITS = replace(TEACHER, integers=True)


@dataclass(frozen=True, kw_only=True)
class Painter:
    """A model whose pictures teach."""

    name: str
    sha256: str
    """Of its file."""
    paint: Callable[[Tensor, Tensor], Tensor]
    """From (N, 3, H, W) contents and as many styles, in [0, 1], sides multiples of 16, to the stylized contents."""


class Lessons:
    """The lessons of a run.

    Args:
        recipe: Says how crops are cut.
        painter: Makes the pictures.
        loss_network: Measures the styles; on the device where the painter works.
        contents: To cut crops from.
        styles: Likewise.
        folder: Where the pictures are kept, in a folder named by all that they depend on.
    """

    def __init__(
        self,
        recipe: RunRecipe,
        painter: Painter,
        loss_network: LossNetwork,
        contents: Pictures,
        styles: Pictures,
        folder: Path,
    ) -> None:
        self.recipe, self.painter, self.loss_network = recipe, painter, loss_network
        self.contents, self.styles = contents, styles
        self.device = contents.pixels.device
        data = recipe.data
        known = [
            loss_network.sources,
            painter.sha256,
            contents.fingerprint,
            styles.fingerprint,
            recipe.seed,
            data.crop,
            data.largest,
            data.vary,
        ]
        self.folder = folder / f"lessons-{hashlib.sha256(json.dumps(known).encode()).hexdigest()[:12]}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._chunk = lru_cache(maxsize=None)(self._make_or_read)

    def batch(self, count: int, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw contents, styles and pictures, (N, 3, crop, crop) each, and the styles' statistics by the loss network.

        A pure function of the step. Contents are flipped with their pictures, styles are not.

        Args:
            count: How many, N.
            step: Of the phase; the more steps were done, the more lessons there are, up to the recipe's number.
            generator: On the CPU.
        """
        chunks = 1 + min(step * count // (CHUNK * REPEATS), max(1, self.recipe.lessons // CHUNK) - 1)
        numbers = torch.randint(chunks * CHUNK, (count,), generator=generator, dtype=torch.int64, device="cpu").tolist()
        rows = [[part[n % CHUNK] for part in self._chunk(n // CHUNK)] for n in numbers]
        flips = torch.rand(count, generator=generator, dtype=torch.float32, device="cpu") < 0.5
        content, style, picture, statistics = (torch.stack(parts) for parts in zip(*rows, strict=True))
        flips = flips[:, None, None, None]
        return {
            "content": _to_float(torch.where(flips, content.flip(3), content), self.device),
            "style": _to_float(style, self.device),
            "picture": _to_float(torch.where(flips, picture.flip(3), picture), self.device),
            "statistics": statistics.to(self.device),
        }

    def _make_or_read(self, chunk: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return contents, styles and pictures of a chunk, (64, 3, crop, crop) uint8, and statistics, on the CPU."""
        generator = step_generator(self.recipe.seed, "lessons", chunk)
        content, style = (
            random_crops(pictures, CHUNK, self.recipe.data, generator) for pictures in (self.contents, self.styles)
        )
        path = self.folder / f"{chunk:05}.safetensors"
        if not path.exists():
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
                painted = self.painter.paint(content, style).float()
                measured = self._measured(style)
            tensors = {"pictures": _to_bytes(painted), "statistics": measured.float().cpu()}
            write_weights(path, tensors, {"architecture": "lessons"})
        kept = read_weights(path, limits=_LIMITS).tensors
        return _to_bytes(content), _to_bytes(style), kept["pictures"], kept["statistics"]

    @torch.no_grad()
    def _measured(self, style: Tensor) -> Tensor:
        parts = style.split(AT_ONCE)
        return torch.cat([joined(statistics_of(self.loss_network.features(part))) for part in parts])


def _to_bytes(images: Tensor) -> Tensor:
    return (images * 255).round().to(torch.uint8).cpu().contiguous()


def _to_float(images: Tensor, device: torch.device) -> Tensor:
    return (images.to(device).float() / 255).contiguous(memory_format=torch.channels_last)
