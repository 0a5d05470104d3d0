"""MicroAST, the competitor that small arbitrary-style models are measured against; for whole pictures only.

Its weights are read from one safetensors file, or from the four files of a user's own clone.

Source: Wang et al. 2023, "MicroAST: Towards Super-Fast Ultra-Resolution Arbitrary Style Transfer".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styleplugin.errors import WeightsError
from styleplugin.loading.convert.source import read_source
from styleplugin.networks.model import load_tensors
from styleplugin.transforms.adain import adain

# Input and output channels, side of the kernel, stride, groups.
_ENCODER = ((3, 16, 9, 1, 1), (16, 32, 3, 2, 16), (32, 32, 1, 1, 1), (32, 64, 3, 2, 32), (64, 64, 1, 1, 1))
_DECODER = ((64, 32, 3, 1, 32), (32, 32, 1, 1, 1), (32, 16, 3, 1, 16), (16, 16, 1, 1, 1), (16, 3, 9, 1, 1))
_WIDTH = 64

_PARTS = ("content_encoder", "style_encoder", "modulator", "decoder")
# Their names and ours; the numbers of convolutions in a Sequential count its other layers as well.
_NAMES = (
    (r"enc1\.10\.", r"residuals.0."),
    (r"enc2\.0\.", r"residuals.1."),
    (r"dec([12])\.", lambda match: f"residuals.{int(match[1]) - 1}."),
    (r"enc1\.(\d+)\.", lambda match: f"convs.{int(match[1]) // 2}."),
    (r"dec3\.(\d+)\.", lambda match: f"convs.{(1, 3, 6, 8, 10).index(int(match[1]))}."),
    (r"weight([12])\.0\.", lambda match: f"scales.{int(match[1]) - 1}."),
    (r"bias([12])\.0\.", lambda match: f"shares.{int(match[1]) - 1}."),
    (r"conv1\.", "first."),
    (r"conv2\.", "second."),
    (r"conv_layer\.", ""),
)


class MicroConv(nn.Conv2d):
    """A convolution whose input is continued by reflection on all sides: (N, C, H, W)."""

    def __init__(self, in_channels: int, out_channels: int, side: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(in_channels, out_channels, side, stride, groups=groups, dtype=torch.float32, device="cpu")

    def forward(self, input: Tensor) -> Tensor:
        """Convolve."""
        rim = self.kernel_size[0] // 2
        return super().forward(F.pad(input, (rim, rim, rim, rim), mode="reflect"))


class MicroResidual(nn.Module):
    """Two convolutions around a ReLU, added to their input; a style may scale them and add shares of their inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = MicroConv(_WIDTH, _WIDTH, 3), MicroConv(_WIDTH, _WIDTH, 3)

    def forward(self, x: Tensor, scale: Tensor | float = 1.0, share: Tensor | float = 0.0) -> Tensor:
        """Refine (N, 64, h, w); scale and share are (N, 64, 1, 1)."""
        inner = (scale * self.first(x) + share * x).relu()
        return x + scale * self.second(inner) + share * inner


class MicroEncoder(nn.Module):
    """Picture to two maps of features at quarter size."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(MicroConv(*row) for row in _ENCODER)
        self.residuals = nn.ModuleList(MicroResidual() for _ in range(2))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the features behind the first and the second residual block, (N, 64, H / 4, W / 4) each."""
        x = image
        for conv in self.convs:
            x = conv(x).relu()
        first = self.residuals[0](x)
        return [first, self.residuals[1](first)]


class MicroModulator(nn.Module):
    """Features of the style to the numbers that modulate the decoder's convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.scales, self.shares = (
            nn.ModuleList(MicroConv(_WIDTH, _WIDTH, 3, groups=_WIDTH) for _ in range(2)) for _ in range(2)
        )

    def forward(self, styles: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Return scale and share, (N, 64, 1, 1), for each map of features."""
        triples = zip(self.scales, self.shares, styles, strict=True)
        return [tuple(conv(x).mean((2, 3), keepdim=True) for conv in (scale, share)) for scale, share, x in triples]  # type: ignore[misc]


class MicroDecoder(nn.Module):
    """Two modulated residual blocks, each behind AdaIN, and five convolutions back to the picture."""

    def __init__(self) -> None:
        super().__init__()
        self.residuals = nn.ModuleList(MicroResidual() for _ in range(2))
        self.convs = nn.ModuleList(MicroConv(*row) for row in _DECODER)

    def forward(
        self, features: Tensor, styles: Sequence[Tensor], modulation: Sequence[tuple[Tensor, Tensor]]
    ) -> Tensor:
        """Decode the deepest features of a content; not clamped."""
        x = features
        for residual, style, (scale, share) in zip(self.residuals, styles[::-1], modulation[::-1], strict=True):
            x = residual(adain(x, style), scale, share)
        for i, conv in enumerate(self.convs):
            if i in (0, 2):
                x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = conv(x)
            x = x.relu() if i + 1 < len(self.convs) else x
        return x


class MicroAST(nn.Module):
    """The whole of it; 471,987 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.content_encoder, self.style_encoder = MicroEncoder(), MicroEncoder()
        self.modulator, self.decoder = MicroModulator(), MicroDecoder()

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        """Stylize (N, 3, H, W) in [0, 1], sides multiples of 4, with (N, 3, h, w); not clamped."""
        styles = self.style_encoder(style)
        return self.decoder(self.content_encoder(content)[-1], styles, self.modulator(styles))


def import_microast(source: str | Path) -> MicroAST:
    """Read MicroAST.

    Args:
        source: A safetensors file with the names of all parts, or a folder that holds `*content_encoder*`,
            `*style_encoder*`, `*modulator*` and `*decoder*` as `.pth.tar` or `.pth`.

    Raises:
        WeightsError: SP301, a file is missing; SP310, its tensors are not MicroAST's; SP318, it is no state dict.
    """
    source = Path(source)
    if source.is_dir():
        tensors = {
            f"{part}.{name}": t for part in _PARTS for name, t in read_source(_part(source, part)).tensors.items()
        }
    else:
        tensors = read_source(source).tensors
    model = MicroAST()
    load_tensors(model, _our_names(tensors, source.name), source.name)
    return model


def _part(folder: Path, part: str) -> Path:
    found = sorted(path for path in folder.rglob(f"{part}*.pth*") if path.is_file())
    if not found:
        raise WeightsError("SP301", f"{folder.name!r} holds no {part}*.pth.", "Give the folder of a complete clone.")
    return found[-1]


def _our_name(name: str) -> str:
    part, _, rest = name.partition(".")
    for pattern, replacement in _NAMES:
        rest = re.sub(rf"(?<![a-z0-9]){pattern}", replacement, rest)  # type: ignore[arg-type]
    return f"{part}.{rest}"


def _our_names(tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Rename tensors; WeightsError SP310 for a name that is none of MicroAST's, or two for one place."""
    try:
        renamed = {_our_name(name): value for name, value in tensors.items()}
    except ValueError:  # A convolution at a place where there is none.
        renamed = {}
    if len(renamed) < len(tensors):
        raise WeightsError("SP310", f"{where} has tensor names that are not MicroAST's.", "Give the released files.")
    return renamed
