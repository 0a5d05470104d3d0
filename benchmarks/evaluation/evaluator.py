"""All figures of one pair; what is known of a content or a style is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from styleplugin.transforms import metrics

from .distances import Statistics, content_distance, shapes, style_distance
from .networks import TEACHERS, read_networks
from .weave import flattest, weave_at

FIGURES = (
    "e_style",
    "e_content",
    "ssim",
    "edge_ssim",
    "color_distance",
    "patch_distance",
    "weave",
    "flat_deviation",
)
"""Of every stylized picture, in the order of the tables; photographs have `halo` besides."""


class Evaluator:
    """Figures of a stylization, by two networks that trained nothing.

    Args:
        device: Where the networks run; the other figures are made on the CPU.
        folder: Of the networks' files.
        memory_mb: Most memory for the features of contents, some 80 MB each at 384 x 512; the oldest are forgotten.
    """

    def __init__(self, device: str = "cpu", *, folder: Path = TEACHERS, memory_mb: float = 1500) -> None:
        self._device = device
        self._networks = read_networks(folder, device)
        self._styles: dict[str, _Style] = {}
        self._contents = _Kept(memory_mb)
        self._flattest: dict[str, np.ndarray] = {}
        self._distances: dict[tuple[str, str, str], dict[str, float]] = {}

    @torch.inference_mode()
    def __call__(self, content: Tensor, style: Tensor, output: Tensor) -> dict[str, float]:
        """Return `FIGURES` by name.

        Args:
            content: (1, 3, H, W) in [0, 1], float32, sides of at least 64.
            style: (1, 3, h, w), likewise.
            output: (1, 3, H, W); what is outside [0, 1] is cut off, as a file would.
        """
        output = output.clamp(0, 1)
        wanted, tiles = self._style(style), self._flat_tiles(content)
        return {
            **self.distances(content, style, output),
            "ssim": metrics.ssim(content, output),
            "edge_ssim": metrics.edge_ssim(content, output),
            "color_distance": metrics.quantile_distance(metrics.color_quantiles(output), wanted.colors),
            "patch_distance": metrics.quantile_distance(metrics.patch_quantiles(output), wanted.patches),
            **weave_at(tiles, output)._asdict(),
        }

    @torch.inference_mode()
    def distances(self, content: Tensor, style: Tensor, output: Tensor) -> dict[str, float]:
        """Return e_style and e_content alone: what a curve needs at every strength. Arguments as for a call."""
        if output.shape != content.shape:
            raise ValueError(f"output {tuple(output.shape)} and content {tuple(content.shape)} need the same size.")
        key = _key(content), _key(style), _key(output)
        if key not in self._distances:
            self._distances[key] = self._measure(content, style, output)
        return self._distances[key]

    def _measure(self, content: Tensor, style: Tensor, output: Tensor) -> dict[str, float]:
        wanted = self._style(style).statistics
        kept = self._contents.get(_key(content), lambda: self._shapes(content))
        of_style, of_content = [], []
        for features, statistics, content_shapes in zip(self._features(output), wanted, kept, strict=True):
            for depth, before, there in zip(features, statistics, content_shapes, strict=True):
                own = Statistics.of(depth)
                of_style.append(style_distance(own, before))
                of_content.append(content_distance(shapes(depth, own), there))
        return {"e_style": float(np.mean(of_style)), "e_content": float(np.mean(of_content))}

    def _features(self, image: Tensor) -> list[list[Tensor]]:
        """Return the features by network and depth."""
        return [network(image.to(self._device).clamp(0, 1)) for network in self._networks]

    def _style(self, style: Tensor) -> _Style:
        key = _key(style)
        if key not in self._styles:
            self._styles[key] = _Style(
                statistics=[[Statistics.of(depth) for depth in depths] for depths in self._features(style)],
                colors=metrics.color_quantiles(style),
                patches=metrics.patch_quantiles(style),
            )
        return self._styles[key]

    def _flat_tiles(self, content: Tensor) -> np.ndarray:
        key = _key(content)
        if key not in self._flattest:
            self._flattest[key] = flattest(content)
        return self._flattest[key]

    def _shapes(self, content: Tensor) -> list[list[Tensor]]:
        return [[shapes(depth, Statistics.of(depth)) for depth in depths] for depths in self._features(content)]


@dataclass(frozen=True)
class _Style:
    """What is compared with a style, without the picture."""

    statistics: list[list[Statistics]]
    """By network and depth."""
    colors: Tensor
    patches: Tensor


class _Kept:
    """Features of the latest contents, as many as fit."""

    def __init__(self, memory_mb: float) -> None:
        self._memory = memory_mb * 1e6
        self._kept: dict[str, list[list[Tensor]]] = {}

    def get(self, key: str, make: Callable[[], list[list[Tensor]]]) -> list[list[Tensor]]:
        made = self._kept.pop(key) if key in self._kept else make()
        self._kept[key] = made
        while len(self._kept) > 1 and sum(map(_bytes, self._kept.values())) > self._memory:
            del self._kept[next(iter(self._kept))]
        return made


def _bytes(features: list[list[Tensor]]) -> int:
    return sum(depth.nbytes for depths in features for depth in depths)


def _key(image: Tensor) -> str:
    """Return what tells pictures apart, wherever they lie in memory."""
    return hashlib.sha256(image.detach().cpu().contiguous().numpy().tobytes()).hexdigest() + str(tuple(image.shape))
