"""Photorealistic students: four encoder blocks, four decoder blocks, and links that carry what pooling loses.

Block k of the encoder makes the features of transform point k + 1; block k of the decoder goes back from them and takes
up the high frequencies of what the encoder's block was given. Both backbones are built from one table.

Source: Chiu and Gurari 2022, "PCA-Based Knowledge Distillation Towards Lightweight and Content-Style Balanced
Photorealistic Style Transfer Models", and the layers of its official code. Differs: the released VGG student's first
1x1 convolution, a random matrix, is part of the first 3x3 convolution here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import Tensor, nn

from styleplugin.errors import WeightsError
from styleplugin.networks.layers import (
    BilinearUpsample2x,
    Conv1x1,
    Conv3x3,
    HighPass,
    Join,
    MaxPool2x2,
)
from styleplugin.networks.model import StyleModel, build_single, pairing_id
from styleplugin.tensorfile import Weights

Backbone = Literal["vgg", "mobilenet"]

WIDTHS: dict[str, tuple[int, ...]] = {"vgg": (10, 20, 58, 64), "mobilenet": (10, 19, 37, 54)}
"""Channels at the four transform points: the global eigenbasis keeps about 85% of the variance with them."""

# Layers of each block; ">" goes to the block's channels. dw: depthwise, pw: 1x1, 2: stride 2.
_ENCODERS: dict[str, tuple[tuple[str, ...], ...]] = {
    "vgg": (
        ("conv>",),
        ("conv", "pool", "conv>"),
        ("conv", "pool", "conv>"),
        ("conv", "conv", "conv", "pool", "conv>"),
    ),
    "mobilenet": (
        ("conv2>",),
        ("dw", "pw>", "dw2"),
        ("pw>", "dw", "pw", "dw2"),
        ("pw>", "dw", "pw", "dw2"),
    ),
}
_DECODERS: dict[str, tuple[tuple[str, ...], ...]] = {
    "vgg": (
        ("stack", "picture>"),
        ("conv>", "up", "add", "conv"),
        ("conv>", "up", "add", "conv"),
        ("conv>", "up", "conv", "conv", "add", "conv"),
    ),
    "mobilenet": (
        ("up", "stack", "picture>"),
        ("up", "conv>", "add", "conv"),
        ("up", "conv>", "add", "conv"),
        ("up", "conv>", "add", "conv"),
    ),
}


@dataclass(frozen=True, kw_only=True)
class PhotoSpec:
    """Rebuilds a photorealistic student."""

    backbone: Backbone
    widths: tuple[int, ...] = ()
    """Channels of the four blocks; empty for those of the paper."""

    def __post_init__(self) -> None:
        if self.backbone not in get_args(Backbone):
            raise WeightsError("SP324", f"The backbone was {self.backbone!r}; it must be vgg or mobilenet.")
        object.__setattr__(self, "widths", tuple(self.widths) or WIDTHS[self.backbone])
        if len(self.widths) != 4 or not all(type(w) is int and 0 < w <= 1024 for w in self.widths):
            raise WeightsError("SP324", f"The blocks' channels were {self.widths}; four of 1 to 1024 are needed.")

    @property
    def stride(self) -> int:
        """Pixels per cell of the deepest features: 8 or 16."""
        return 8 if self.backbone == "vgg" else 16

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return {"backbone": self.backbone, "widths": list(self.widths)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> PhotoSpec:
        """Rebuild a spec from `to_dict`'s data."""
        return cls(backbone=data["backbone"], widths=tuple(data["widths"]))


class PhotoEncoder(nn.Module):
    """Four blocks; takes RGB in [0, 1]."""

    def __init__(self, spec: PhotoSpec) -> None:
        super().__init__()
        self.spec = spec
        self.blocks = nn.ModuleList()
        channels = 3
        for layers, width in zip(_ENCODERS[spec.backbone], spec.widths, strict=True):
            block = nn.Sequential()
            for layer in layers:
                block.append(_layer(layer, channels, width))
                channels = width if layer.endswith(">") else channels
            self.blocks.append(block)

    def features(self, image: Tensor, depth: int = 4) -> list[Tensor]:
        """Return the features of the first transform points of (N, 3, H, W) in [0, 1], sides stride multiples."""
        features = [image]
        for block in self.blocks[:depth]:
            features.append(block(features[-1]))
        return features[1:]


class PhotoDecoderBlock(nn.Module):
    """From the features of one transform point to those of the one before, or to the picture."""

    def __init__(self, layers: tuple[str, ...], channels: int, out: int, detail: int) -> None:
        super().__init__()
        self.high_pass = HighPass()
        self.layers = nn.ModuleList()
        for layer in layers:
            self.layers.append(_layer(layer, channels, out))
            channels = channels + detail if layer == "stack" else out if layer.endswith(">") else channels

    def forward(self, features: Tensor, skip: Tensor) -> Tensor:
        """Decode (N, C, h, w) with the encoder block's input, (N, D, H, W)."""
        x = features
        for layer in self.layers:
            x = layer(x, self.high_pass(skip)) if isinstance(layer, Join) else layer(x)
        return x


class PhotoDecoder(nn.Module):
    """Four blocks, mirrored."""

    def __init__(self, spec: PhotoSpec) -> None:
        super().__init__()
        widths = (3, *spec.widths)
        self.blocks = nn.ModuleList(
            PhotoDecoderBlock(layers, widths[k + 1], widths[k], widths[k])
            for k, layers in enumerate(_DECODERS[spec.backbone])
        )

    def decode(self, features: Tensor, skips: list[Tensor], block: int) -> list[Tensor]:
        """Return what each block makes of the features of a block, down to the picture, which is the last.

        Args:
            features: (N, C, h, w) of the encoder's block.
            skips: The image and the features of the blocks before.
            block: 0 to 3.
        """
        maps = [features]
        for k in reversed(range(block + 1)):
            maps.append(self.blocks[k](maps[-1], skips[k]))
        return maps[1:]


class PhotoModel(StyleModel):
    """A photorealistic student."""

    method = "photorealistic"
    architecture = "pca-photo"

    def __init__(self, spec: PhotoSpec) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = PhotoEncoder(spec)
        self.decoder = PhotoDecoder(spec)

    @property
    def levels(self) -> tuple[int, ...]:
        """Transform points, deepest first."""
        return (4, 3, 2, 1)

    @property
    def min_side(self) -> int:
        """Smallest picture side; reflection needs two cells of the deepest features."""
        return 2 * self.spec.stride

    @property
    def encoder_ids(self) -> tuple[str, ...]:
        """What a style must have been made with."""
        return (pairing_id(self.encoder),)

    @property
    def points(self) -> tuple[tuple[int, ...], ...]:
        """Channels at the transform points of each stage, in the order of a style code."""
        return (self.spec.widths[::-1],)

    def describe(self) -> dict[str, Any]:
        """Return what a weights file says to rebuild the model, plain JSON data."""
        return {"method": self.method, "spec": self.spec.to_dict(), "pairing": pairing_id(self.encoder)}

    def forward(self, image: Tensor) -> Tensor:
        """Reconstruct (N, 3, H, W) in [0, 1], sides multiples of the stride; not clamped."""
        features = self.encoder.features(image)
        return self.decoder.decode(features[-1], [image, *features], 3)[-1]


def build(weights: Weights) -> PhotoModel:
    """Build the model of a file; raises as `build_single`."""
    return build_single(weights, PhotoSpec.from_dict, PhotoModel)


def _layer(name: str, channels: int, width: int) -> nn.Module:
    """Make a layer of the tables; `width` is the block's."""
    out = width if name.endswith(">") else channels
    match name.rstrip(">"):
        case "conv":
            return Conv3x3(channels, out)
        case "conv2":
            return Conv3x3(channels, out, stride=2)
        case "picture":
            return Conv3x3(channels, out, relu=False)
        case "dw":
            return Conv3x3(channels, out, groups=channels)
        case "dw2":
            return Conv3x3(channels, out, stride=2, groups=channels)
        case "pw":
            return Conv1x1(channels, out)
        case "pool":
            return MaxPool2x2()
        case "up":
            return BilinearUpsample2x()
        case "add" | "stack" as kind:
            return Join(kind)
    raise ValueError(name)
