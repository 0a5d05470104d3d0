"""MobileNet v1 up to its sixth depthwise layer: the teacher of the small photorealistic students.

Source: Howard et al. 2017, "MobileNets"; batch normalization is folded into the convolutions. Differs: pictures are
continued by reflection like everywhere in this package, not by zeros.
"""

from __future__ import annotations

from torch import Tensor, nn

from styleplugin.networks.layers import Conv3x3, Pointwise

_POINTWISE = (64, 128, 128, 256, 256)
_STRIDES = (1, 2, 1, 2, 1, 2)
_TAPS = (2, 4, 6)
FEATURES = (32, 64, 128, 256)
"""Channels of the features, at strides 2, 4, 8 and 16."""


class MobileNet(nn.Module):
    """Features behind the first convolution and behind the depthwise layers 2, 4 and 6; takes RGB in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv0 = Conv3x3(3, FEATURES[0], relu=False, stride=2)
        channels = FEATURES[0]
        for number, stride in enumerate(_STRIDES, 1):
            self.add_module(f"conv{number}_dw", Conv3x3(channels, channels, relu=False, stride=stride, groups=channels))
            if number <= len(_POINTWISE):
                out = _POINTWISE[number - 1]
                self.add_module(f"conv{number}_pw", Pointwise(channels, out))
                channels = out

    def features(self, image: Tensor) -> list[Tensor]:
        """Return the features at strides 2, 4, 8 and 16 of (N, 3, H, W) in [0, 1], sides multiples of 16."""
        x = self.conv0(2 * image - 1).clamp(0, 6)
        features = [x]
        for number in range(1, len(_STRIDES) + 1):
            x = self.get_submodule(f"conv{number}_dw")(x).clamp(0, 6)
            if number in _TAPS:
                features.append(x)
            if number <= len(_POINTWISE):
                x = self.get_submodule(f"conv{number}_pw")(x).clamp(0, 6)
        return features
