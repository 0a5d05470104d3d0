"""Encoder-decoder pairs: what a WCT or AdaIN model consists of, whatever its widths."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from styleplugin.errors import WeightsError
from styleplugin.networks.model import StyleModel, build_filled, check_pairing, check_size, pairing_id
from styleplugin.networks.vgg import Decoder, Encoder, VGGSpec
from styleplugin.tensorfile import Weights, parsing_metadata

LEVELS = 5
"""Of VGG-19."""


@dataclass(frozen=True, kw_only=True)
class PairSpec:
    """Rebuilds a pair; both halves have the same level and the same channels where they meet."""

    encoder: VGGSpec
    decoder: VGGSpec

    def __post_init__(self) -> None:
        if (self.encoder.level, self.encoder.features) != (self.decoder.level, self.decoder.features):
            raise WeightsError(
                "SP322",
                f"The encoder has level {self.encoder.level} with {self.encoder.features} channels, the decoder level "
                f"{self.decoder.level} with {self.decoder.features}; a pair needs the same level and channels.",
            )

    @property
    def level(self) -> int:
        """1 to 5."""
        return self.encoder.level

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return {"level": self.level, "encoder": self.encoder.to_dict(), "decoder": self.decoder.to_dict()}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> PairSpec:
        """Rebuild a spec from `to_dict`'s data."""
        return cls(encoder=VGGSpec.from_dict(data["encoder"]), decoder=VGGSpec.from_dict(data["decoder"]))


class Pair(nn.Module):
    """An encoder and the decoder trained for it."""

    def __init__(self, spec: PairSpec) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = Encoder(spec.encoder)
        self.decoder = Decoder(spec.decoder)

    @property
    def level(self) -> int:
        """1 to 5."""
        return self.spec.level

    def forward(self, image: Tensor) -> Tensor:
        """Reconstruct (N, 3, H, W) in [0, 1], sides multiples of the level's stride; not clamped."""
        return self.decoder(self.encoder(image))


class PairModel(StyleModel):
    """The pairs of one model, one for each level, and the method they were trained for.

    Raises:
        WeightsError: SP323, no pair, or two pairs of one level.
    """

    architecture = "vgg-pairs"

    def __init__(self, method: str, pairs: Iterable[Pair]) -> None:
        super().__init__()
        pairs = sorted(pairs, key=lambda pair: pair.level)
        levels = [pair.level for pair in pairs]
        if not levels or len(set(levels)) < len(levels):
            raise WeightsError("SP323", f"The model has pairs of the levels {levels}; one pair of each is needed.")
        self.method = method
        self.pairs = nn.ModuleDict({str(pair.level): pair for pair in pairs})

    @property
    def levels(self) -> tuple[int, ...]:
        """Levels there are, deepest first, the order WCT runs them in."""
        return tuple(sorted(map(int, self.pairs), reverse=True))

    @property
    def min_side(self) -> int:
        """Smallest picture side; reflection needs two cells of the deepest features."""
        return 2 * self.pair(self.levels[0]).spec.encoder.stride

    @property
    def encoder_ids(self) -> tuple[str, ...]:
        """What a style must have been made with: one id per level."""
        return tuple(pairing_id(self.pair(level).encoder) for level in self.levels)

    @property
    def points(self) -> tuple[tuple[int, ...], ...]:
        """Channels at the transform points of each stage, in the order of a style code."""
        return tuple((self.pair(level).spec.encoder.features,) for level in self.levels)

    def pair(self, level: int) -> Pair:
        """Return the pair of a level; KeyError if there is none."""
        pair = self.pairs[str(level)]
        assert isinstance(pair, Pair)
        return pair

    def describe(self) -> dict[str, Any]:
        """Return what a weights file says to rebuild the model, plain JSON data."""
        pairs = [self.pair(level) for level in self.levels]
        return {
            "method": self.method,
            "pairs": [{**pair.spec.to_dict(), "pairing": pairing_id(pair.encoder)} for pair in pairs],
        }

    def forward(self, image: Tensor) -> Tensor:
        """Reconstruct (N, 3, H, W), sides multiples of 16, level by level: what the method gives without a style."""
        for level in self.levels:
            image = self.pair(level)(image)
        return image


def build(weights: Weights) -> PairModel:
    """Build the pairs of a file.

    Raises:
        WeightsError: SP307 malformed metadata; SP310 tensors missing, surplus or of the wrong shape; SP311 too large;
            SP312 an encoder of another model; SP320 to SP323 impossible specs.
    """
    where, metadata = weights.path.name, weights.metadata
    with parsing_metadata(where):
        if len(metadata["pairs"]) > LEVELS:
            raise ValueError(f"more than {LEVELS} pairs")
        specs = [PairSpec.from_dict(data) for data in metadata["pairs"]]
        ids = {data["level"]: data["pairing"] for data in metadata["pairs"]}
    model = build_filled(lambda: PairModel(metadata["method"], blank_pairs(specs, where)), weights.tensors, where)
    for level in model.levels:
        check_pairing(f"level-{level} decoder", pairing_id(model.pair(level).encoder), ids.get(level), where)
    return model


def blank_pairs(specs: list[PairSpec], where: str) -> list[Pair]:
    """Build pairs whose values are zero.

    Raises:
        WeightsError: SP311, more parameters than any model has; nothing was built.
    """
    check_size(sum(_parameters(spec) for spec in specs), where)
    return [Pair(spec) for spec in specs]


def _parameters(spec: PairSpec) -> int:
    encoder = sum(9 * a * b + b for a, b in pairwise((3, *spec.encoder.widths)))
    decoder = sum(9 * a * b + a for a, b in pairwise((3, *spec.decoder.widths)))
    return encoder + decoder
