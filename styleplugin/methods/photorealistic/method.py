"""Photorealistic transfer: whitening and coloring between the blocks of one small network.

Source: Chiu and Gurari 2022, PCA-based knowledge distillation. The maps of the four transform points follow one
another in the decoder, and links from the encoder carry the fine detail around them.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from styleplugin.engine.compile import compile_layers
from styleplugin.engine.feature_map import FeatureMap, JoinedMap, through
from styleplugin.engine.operations import HighFrequencies
from styleplugin.methods.photorealistic.model import PhotoDecoderBlock, PhotoModel
from styleplugin.methods.stage import Method, macs_per_pixel
from styleplugin.networks.layers import Conv3x3, Join
from styleplugin.options import StylizeOptions
from styleplugin.transforms.affine import AffineMap
from styleplugin.transforms.moments import Moments
from styleplugin.transforms.wct import zca_map


class PhotoStage:
    """Encode, then decode block by block, each behind its own map. Four transform points, deepest first."""

    name = "photo"

    def __init__(self, model: PhotoModel, like: Tensor) -> None:
        """Prepare a model for the device and dtype of `like`."""
        self._like = like
        widths = (3, *model.spec.widths)
        self._encoder = [
            compile_layers(block, like, channels=channels)  # type: ignore[arg-type]
            for block, channels in zip(model.encoder.blocks, widths, strict=False)
        ]
        self._decoder = [
            _DecoderBlock(block, inner, outer, like)  # type: ignore[arg-type]
            for block, (outer, inner) in zip(model.decoder.blocks, pairwise(widths), strict=True)
        ]
        self.macs_per_pixel = macs_per_pixel(*self._encoder, *(block.operations for block in reversed(self._decoder)))

    def style_features(self, style: FeatureMap) -> list[FeatureMap]:
        """Describe the features of the four transform points, deepest first."""
        return self._encode(style)[:0:-1]

    def run(self, content: FeatureMap) -> Generator[FeatureMap, AffineMap, FeatureMap]:
        """Yield the features of each transform point, receive the map for them, return the picture."""
        skips = self._encode(content)
        features = skips.pop()
        for block in reversed(self._decoder):
            affine = yield features
            features = block.decode(features, affine, skips.pop())
        return features

    def _encode(self, picture: FeatureMap) -> list[FeatureMap]:
        fields = [picture]
        for block in self._encoder:
            fields.append(through(fields[-1], block))
        return fields


class _DecoderBlock:
    """One block of the decoder on feature maps; the map folds into its first convolution."""

    def __init__(self, block: PhotoDecoderBlock, channels: int, detail: int, like: Tensor) -> None:
        layers = list(block.layers)
        place = next(i for i, layer in enumerate(layers) if isinstance(layer, Join))
        join = layers[place]
        assert isinstance(join, Join)
        self._join = join
        self._before, self._after = layers[:place], layers[place + 1 :]
        self._channels, self._like = channels, like
        self._detail = HighFrequencies(detail, like)
        self.operations = [
            *compile_layers(self._before, like, channels=channels),
            self._detail,
            *compile_layers(self._after, like),
        ]

    def decode(self, features: FeatureMap, affine: AffineMap, skip: FeatureMap) -> FeatureMap:
        """Describe the block's output for features that pass through `affine` first."""
        before, after = (affine, None) if _has_convolution(self._before) else (None, affine)
        if after is not None and self._join.kind == "stack":
            after = _beside_identity(after, self._detail.out_channels)
        x = features
        if self._before:
            x = through(x, compile_layers(self._before, self._like, before, self._channels))
        x = JoinedMap(x, through(skip, [self._detail]), self._join.kind)
        return through(x, compile_layers(self._after, self._like, after))


def _has_convolution(layers: Sequence[nn.Module]) -> bool:
    return any(isinstance(layer, Conv3x3) for layer in layers)


def _beside_identity(affine: AffineMap, channels: int) -> AffineMap:
    """Return a map that leaves further channels behind its own as they are."""
    matrix = torch.block_diag(affine.dense, torch.eye(channels, dtype=affine.dense.dtype, device="cpu"))
    return AffineMap(matrix, torch.cat([affine.bias, affine.bias.new_zeros(channels)]))


class Photorealistic(Method):
    """One stage with four transform points."""

    name = "photorealistic"
    diagonal = False
    adds_up = True

    def __init__(self, model: PhotoModel, like: Tensor) -> None:
        super().__init__([PhotoStage(model, like)])

    def solve(self, point: int, content: Moments, style: Moments, options: StylizeOptions) -> AffineMap:
        """Return the map of `zca_map`."""
        return zca_map(content, style)
