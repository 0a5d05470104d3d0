"""VGG-19 encoders up to relu{level}_1 and their mirrored decoders: the teacher and all its students from one table.

Source: Li et al. 2017 (WCT) and Wang et al. 2020 (Collaborative Distillation); layer tables in their official code.
The widths of the teacher are those of VGG-19, those of the "x16" students a quarter of them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from styleplugin.errors import WeightsError
from styleplugin.networks.layers import Conv3x3, MaxPool2x2, Upsample2x

CONVS = ("1_1", "1_2", "2_1", "2_2", "3_1", "3_2", "3_3", "3_4", "4_1", "4_2", "4_3", "4_4", "5_1")
"""Convolutions in encoder order; block k begins with `k_1`, and a pooling stands before every `k_1` but the first."""

TEACHER_WIDTHS = (64, 64, 128, 128, 256, 256, 256, 256, 512, 512, 512, 512, 512)
STUDENT_WIDTHS = (16, 16, 32, 32, 64, 64, 64, 64, 128, 128, 128, 128, 128)
LEVEL1_STUDENT_WIDTHS = (24,)
"""The level-1 student is wider: with 16 channels its pair would be tiny (Collaborative Distillation's code)."""

_PREPROCESS_WEIGHT = ((0.0, 0.0, 255.0), (0.0, 255.0, 0.0), (255.0, 0.0, 0.0))
_PREPROCESS_BIAS = (-103.939, -116.779, -123.68)


def convs_of_level(level: int) -> tuple[str, ...]:
    """Return the convolutions of an encoder that ends at relu{level}_1."""
    return CONVS[: CONVS.index(f"{level}_1") + 1]


def stride_of_level(level: int) -> int:
    """Return the stride of relu{level}_1 in pixels: 1, 2, 4, 8, 16."""
    return 2 ** (level - 1)


@dataclass(frozen=True, kw_only=True)
class VGGSpec:
    """Rebuilds an encoder or a decoder of one level."""

    level: int
    """1 to 5."""
    widths: tuple[int, ...]
    """Channels after each convolution of the encoder in encoder order; a decoder mirrors them."""
    final_relu: bool = True
    """Decoders: whether the picture passes a last ReLU (WCT: yes, AdaIN: no)."""

    def __post_init__(self) -> None:
        if type(self.level) is not int or not 1 <= self.level <= 5:
            raise WeightsError("SP320", f"The level was {self.level!r}; it must be 1 to 5.")
        object.__setattr__(self, "widths", tuple(self.widths))
        needed = len(convs_of_level(self.level))
        if len(self.widths) != needed or not all(type(w) is int and 0 < w <= 4096 for w in self.widths):
            raise WeightsError(
                "SP321",
                f"Level {self.level} has {needed} convolutions of 1 to 4096 channels; the widths were {self.widths}.",
            )

    @property
    def features(self) -> int:
        """Channels at relu{level}_1."""
        return self.widths[-1]

    @property
    def stride(self) -> int:
        """Pixels per feature cell."""
        return stride_of_level(self.level)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return asdict(self) | {"widths": list(self.widths)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> VGGSpec:
        """Rebuild a spec from `to_dict`'s data."""
        final_relu = data.get("final_relu", True)
        if type(final_relu) is not bool:
            raise ValueError("final_relu is not true or false")
        return cls(level=data["level"], widths=tuple(data["widths"]), final_relu=final_relu)


def teacher_spec(level: int, **changes: Any) -> VGGSpec:
    """Return the spec at the widths of VGG-19."""
    return VGGSpec(level=level, widths=TEACHER_WIDTHS[: len(convs_of_level(level))], **changes)


def student_spec(level: int, **changes: Any) -> VGGSpec:
    """Return the spec of the 16 times smaller student; level 1 has 24 channels."""
    widths = LEVEL1_STUDENT_WIDTHS if level == 1 else STUDENT_WIDTHS[: len(convs_of_level(level))]
    return VGGSpec(level=level, widths=widths, **changes)


class Preprocess(nn.Module):
    """The fixed 1x1 convolution in front: RGB in [0, 1] to BGR in [0, 255] minus the ImageNet mean."""

    weight: Tensor
    bias: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer(
            "weight",
            torch.tensor(_PREPROCESS_WEIGHT, dtype=torch.float32, device="cpu")[:, :, None, None],
            persistent=False,
        )
        self.register_buffer(
            "bias", torch.tensor(_PREPROCESS_BIAS, dtype=torch.float32, device="cpu"), persistent=False
        )

    def forward(self, image: Tensor) -> Tensor:
        """Map (N, 3, H, W) RGB in [0, 1] to the range VGG-19 was trained in."""
        return nn.functional.conv2d(image, self.weight, self.bias)


class Encoder(nn.Module):
    """VGG-19's layers up to relu{level}_1; takes RGB in [0, 1]."""

    def __init__(self, spec: VGGSpec) -> None:
        super().__init__()
        self.spec = spec
        self.preprocess = Preprocess()
        self._order: list[str] = []
        self.pool = MaxPool2x2()
        channels = 3
        for conv, width in zip(convs_of_level(spec.level), spec.widths, strict=True):
            if conv.endswith("_1") and conv != "1_1":
                self._order.append("pool")
            self.add_module(f"conv{conv}", Conv3x3(channels, width))
            self._order.append(f"conv{conv}")
            channels = width

    def layers(self) -> list[nn.Module]:
        """Return the layers in the order they run, the preprocessing first."""
        return [self.preprocess, *(self.get_submodule(name) for name in self._order)]

    def features(self, image: Tensor) -> list[Tensor]:
        """Return relu1_1, relu2_1, ... relu{level}_1 of (N, 3, H, W) in [0, 1]."""
        features, x = [], self.preprocess(image)
        for name in self._order:
            x = self.get_submodule(name)(x)
            if name.startswith("conv") and name.endswith("_1"):
                features.append(x)
        return features

    def forward(self, image: Tensor) -> Tensor:
        """Return relu{level}_1, (N, C, H / stride, W / stride), of (N, 3, H, W) RGB in [0, 1]."""
        return self.features(image)[-1]


class Decoder(nn.Module):
    """The encoder of the same spec reversed: nearest upsampling in place of pooling, RGB out."""

    def __init__(self, spec: VGGSpec) -> None:
        super().__init__()
        self.spec = spec
        self._order: list[str] = []
        self.upsample = Upsample2x()
        convs = convs_of_level(spec.level)
        for index in reversed(range(len(convs))):
            conv = convs[index]
            out = spec.widths[index - 1] if index else 3
            self.add_module(f"conv{conv}", Conv3x3(spec.widths[index], out, relu=bool(index) or spec.final_relu))
            self._order.append(f"conv{conv}")
            if conv.endswith("_1") and index:
                self._order.append("upsample")

    def layers(self) -> list[nn.Module]:
        """Return the layers in the order they run."""
        return [self.get_submodule(name) for name in self._order]

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, h, w) features to a (N, 3, h * stride, w * stride) picture, not clamped."""
        x = features
        for layer in self.layers():
            x = layer(x)
        return x
