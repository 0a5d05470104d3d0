"""KBStyle: two tiny encoders, AdaIN with modulators at two depths, and a mirrored decoder, in under 200,000 bytes.

Only the abstract of the paper could be read (Chen, Huang, Wang, Wu and Zeng, IEEE Transactions on Image Processing 33,
2024, doi 10.1109/TIP.2023.3335828); this is a design of our own within the published constraints: the size of the file,
the time for a picture, symmetric halves, little downsampling. AdaIN after Huang and Belongie 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from styleplugin.errors import WeightsError
from styleplugin.networks.layers import Conv3x3, Linear, ResidualBlock, Upsample2x
from styleplugin.networks.model import StyleModel, build_single, pairing_id
from styleplugin.tensorfile import Weights
from styleplugin.transforms.adain import affine
from styleplugin.transforms.statistics import mean_and_deviation


@dataclass(frozen=True, kw_only=True)
class KBSpec:
    """Rebuilds a model."""

    widths: tuple[int, int, int] = (8, 16, 40)
    """Channels at full, half and quarter size."""
    blocks: int = 3
    """Residual blocks at quarter size, in each encoder and in the decoder."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))
        if len(self.widths) != 3 or not all(type(w) is int and 0 < w <= 1024 for w in self.widths):
            raise WeightsError("SP326", f"The channels were {self.widths}; three of 1 to 1024 are needed.")
        if type(self.blocks) is not int or not 0 < self.blocks <= 16:
            raise WeightsError("SP326", f"There were {self.blocks} residual blocks; 1 to 16 are possible.")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return {"widths": list(self.widths), "blocks": self.blocks}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> KBSpec:
        """Rebuild a spec from `to_dict`'s data."""
        return cls(widths=tuple(data["widths"]), blocks=data["blocks"])


class KBEncoder(nn.Module):
    """Picture to features at half and at quarter size; content and style have one each."""

    def __init__(self, spec: KBSpec) -> None:
        super().__init__()
        full, half, quarter = spec.widths
        self.shallow = nn.Sequential(Conv3x3(3, full), Conv3x3(full, half, stride=2))
        self.deep = nn.Sequential(
            Conv3x3(half, quarter, stride=2), *(ResidualBlock(quarter) for _ in range(spec.blocks))
        )

    def stages(self, image: Tensor) -> list[Tensor]:
        """Return the features behind each convolution, and behind the blocks, of (N, 3, H, W) in [0, 1].

        Shapes: (N, a, H, W), (N, b, H / 2, W / 2), (N, c, H / 4, W / 4) twice.
        """
        convs, blocks = [*self.shallow, self.deep[0]], self.deep[1:]
        features = [image]
        for conv in convs:
            features.append(conv(features[-1]))
        return [*features[1:], blocks(features[-1])]


class KBDecoder(nn.Module):
    """The mirror of an encoder: what follows the first transform point, and what follows the second."""

    def __init__(self, spec: KBSpec) -> None:
        super().__init__()
        full, half, quarter = spec.widths
        self.deep = nn.Sequential(
            *(ResidualBlock(quarter) for _ in range(spec.blocks)), Upsample2x(), Conv3x3(quarter, half)
        )
        self.shallow = nn.Sequential(Upsample2x(), Conv3x3(half, full), Conv3x3(full, 3, relu=False))


class Modulator(nn.Module):
    """Turns a style's means and deviations into those that the content's features get; the identity at first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mean = Linear(channels, channels)
        self.deviation = Linear(channels, channels)
        for linear in (self.mean, self.deviation):
            nn.init.zeros_(linear.weight)
            # Not `nn.init.eye_`, which takes a second on the meta device: it loads torch's whole compiler.
            linear.weight.data.diagonal().fill_(1)
            nn.init.zeros_(linear.get_parameter("bias"))

    def forward(self, mean: Tensor, deviation: Tensor) -> tuple[Tensor, Tensor]:
        """Return the new means and scales, (..., C) each."""
        return self.mean(mean), self.deviation(deviation)


@dataclass(frozen=True, eq=False)
class KBTrace:
    """What a model computed for a batch: the knowledge that is distilled."""

    contents: list[Tensor]
    """Features of the content at the four stages of its encoder; see `KBEncoder.stages`."""
    styles: list[Tensor]
    """The same of the style."""
    mirrors: list[Tensor]
    """What the decoder has where it mirrors these stages, of the same shapes."""
    output: Tensor
    """(N, 3, H, W), not clamped."""


class KBModel(StyleModel):
    """Content encoder, style encoder, modulators and decoder, with transform points at quarter and at half size."""

    method = "kbstyle"
    architecture = "kbstyle"
    levels = (2, 1)
    """Transform points, deepest first."""
    min_side = 8
    """Smallest picture side; reflection needs two cells of the deepest features."""

    def __init__(self, spec: KBSpec) -> None:
        super().__init__()
        self.spec = spec
        self.content_encoder, self.style_encoder = KBEncoder(spec), KBEncoder(spec)
        self.modulators = nn.ModuleList([Modulator(spec.widths[2]), Modulator(spec.widths[1])])
        self.decoder = KBDecoder(spec)

    @property
    def encoder_ids(self) -> tuple[str, ...]:
        """What a style must have been made with."""
        return (pairing_id(self.style_encoder),)

    @property
    def points(self) -> tuple[tuple[int, ...], ...]:
        """Channels at the transform points of each stage, in the order of a style code."""
        return (self.spec.widths[:0:-1],)

    def describe(self) -> dict[str, Any]:
        """Return what a weights file says to rebuild the model, plain JSON data."""
        return {"method": self.method, "spec": self.spec.to_dict(), "pairing": self.encoder_ids[0]}

    def forward(self, content: Tensor, style: Tensor | None = None) -> Tensor:
        """Stylize (N, 3, H, W) in [0, 1], sides multiples of 4, with (N, 3, h, w) or with itself; not clamped."""
        return self.trace(content, content if style is None else style).output

    def trace(self, content: Tensor, style: Tensor) -> KBTrace:
        """Stylize as `forward` does, and return what was computed on the way."""
        contents, styles = self.content_encoder.stages(content), self.style_encoder.stages(style)
        deepest = self.adapt(0, contents[3], styles[3])
        *blocks, upsample, conv = self.decoder.deep
        refined = nn.Sequential(*blocks)(deepest)
        middle = self.adapt(1, conv(upsample(refined)), styles[1])
        upsample, conv, last = self.decoder.shallow
        full = conv(upsample(middle))
        return KBTrace(contents, styles, [full, middle, refined, deepest], last(full))

    def adapt(self, point: int, features: Tensor, style: Tensor) -> Tensor:
        """Give features (N, C, H, W) the modulated statistics of a style's (N, C, h, w), picture by picture."""
        wanted_mean, wanted_scale = self.modulators[point](*statistics(style))
        mean, deviation = statistics(features)
        scale = wanted_scale / deviation
        return affine(features, scale, wanted_mean - scale * mean)


def build(weights: Weights) -> KBModel:
    """Build the model of a file; raises as `build_single`."""
    return build_single(weights, KBSpec.from_dict, KBModel)


def statistics(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and deviation over the positions of (N, C, H, W), each (N, C), biased, float32 at least."""
    return mean_and_deviation(features, correction=0)
