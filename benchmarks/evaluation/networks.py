"""The two evaluation networks: MobileNet v2 and SqueezeNet 1.0, frozen, as their classifiers were trained.

No recipe names either as teacher or loss network, and none is a starting point: a test reads all recipes and cards.
Normalization and padding are those of the files' metadata, not the reflection of this package: what judges is what has
classified.

Source: Sandler et al. 2018, "MobileNetV2"; Iandola et al. 2016, "SqueezeNet".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from styleplugin.tensorfile import TEACHER, read_weights

TEACHERS = Path(__file__).parents[3] / "shared" / "data" / "teachers"
MOBILENET_FILE = "mobilenet_v2_100_imagenet.safetensors"
SQUEEZENET_FILE = "squeezenet_1_0_imagenet.safetensors"
FILES = (MOBILENET_FILE, SQUEEZENET_FILE)

_EXPANDED = (1, 3, 6, 13)
"""Blocks of MobileNet v2 whose expanded maps are features; strides 2, 4, 8 and 16."""
_STRIDED = (1, 3, 6, 13)
"""Blocks of MobileNet v2 whose depthwise convolution has stride 2."""
_BLOCKS = 17
_FIRES = range(2, 10)
_TAPPED = (2, 4, 8, 9)
_POOLED = (4, 8)
"""Fires of SqueezeNet in front of a pooling; the first pooling is behind conv1."""
_MEANS_BGR = (104.0, 117.0, 123.0)


class Network(Protocol):
    """Features at five depths."""

    def __call__(self, image: Tensor) -> list[Tensor]:
        """Return five (N, C, h, w), shallow to deep, of (N, 3, H, W) in [0, 1]."""
        ...


def read_networks(folder: Path = TEACHERS, device: str | torch.device = "cpu") -> tuple[Network, Network]:
    """Read both networks from the folder of teachers."""
    mobilenet, squeezenet = (
        {
            name: value.to(device, torch.float32)
            for name, value in read_weights(folder / file, limits=TEACHER).tensors.items()
        }
        for file in FILES
    )
    return MobileNetV2(mobilenet), SqueezeNet(squeezenet)


class MobileNetV2:
    """MobileNet v2, 1.0: expanded maps after ReLU6 of blocks 1, 3, 6 and 13, and the last convolution.

    Args:
        weights: `conv0.weight`, `block1.expand.weight`, ..., batch normalization folded.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = weights

    def __call__(self, image: Tensor) -> list[Tensor]:
        """Return five (N, C, h, w) at strides 2 to 32 of (N, 3, H, W) in [0, 1]."""
        x = _relu6(self._conv("conv0", _same(2 * image - 1, stride=2), stride=2))
        features = []
        for number in range(_BLOCKS):
            name, stride, skipped = f"block{number}", 2 if number in _STRIDED else 1, x
            if number:
                x = _relu6(self._conv(f"{name}.expand", x))
            if number in _EXPANDED:
                features.append(x)
            x = _relu6(self._conv(f"{name}.dw", _same(x, stride), stride, groups=x.shape[1]))
            x = self._conv(f"{name}.project", x)
            if x.shape == skipped.shape:
                x = x + skipped
        return [*features, _relu6(self._conv("conv_last", x))]

    def _conv(self, name: str, x: Tensor, stride: int = 1, groups: int = 1) -> Tensor:
        return F.conv2d(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"], stride, groups=groups)


class SqueezeNet:
    """SqueezeNet 1.0: conv1, fire2, fire4, fire8 and fire9, after their ReLU.

    Args:
        weights: `conv1.weight`, `fire2.squeeze1x1.weight`, ...
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = weights

    def __call__(self, image: Tensor) -> list[Tensor]:
        """Return five (N, C, h, w) at strides 2 to 16 of (N, 3, H, W) in [0, 1]."""
        means = torch.tensor(_MEANS_BGR, device=image.device)[:, None, None]
        x = self._conv("conv1", 255 * image.flip(1) - means, stride=2)
        features = [x]
        x = _pool(x)
        for number in _FIRES:
            squeezed = self._conv(f"fire{number}.squeeze1x1", x)
            small = self._conv(f"fire{number}.expand1x1", squeezed)
            x = torch.cat((small, self._conv(f"fire{number}.expand3x3", squeezed, padding=1)), 1)
            if number in _TAPPED:
                features.append(x)
            if number in _POOLED:
                x = _pool(x)
        return features

    def _conv(self, name: str, x: Tensor, stride: int = 1, padding: int = 0) -> Tensor:
        return F.conv2d(x, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"], stride, padding).relu()


def _same(x: Tensor, stride: int) -> Tensor:
    """Pad with zeros as TensorFlow's SAME does for a 3 x 3 kernel: what is odd goes to the bottom and the right."""
    height, width = (max((-(-side // stride) - 1) * stride + 3 - side, 0) for side in x.shape[2:])
    return F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))


def _relu6(x: Tensor) -> Tensor:
    return x.clamp(0, 6)


def _pool(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 3, 2, ceil_mode=True)
