"""A style without its picture: prepared once, applied to many pictures, mixed with others, saved in a small file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from styleplugin import kinds
from styleplugin.checkpoint import STYLE, read_weights, write_weights
from styleplugin.errors import UsageError, WeightsError
from styleplugin.methods.base import StyleCode, mix_codes
from styleplugin.transforms.moments import Moments, normalized_weights

SUFFIX = ".safetensors"
"""A style given as a path that ends so is a style file, everything else a picture."""

_KIND = "style"


@dataclass(frozen=True, eq=False)
class Style:
    """The style code of one model, and what it was made from."""

    code: StyleCode
    model: str
    """Name of the model it was prepared with."""
    encoders: tuple[str, ...]
    """Pairing ids of that model's encoders, in the order of the stages; a style fits every model that has the same."""
    name: str = ""
    """File name of the picture."""
    size: tuple[int, int] = (0, 0)
    """(height, width) of the picture as it was encoded."""
    warnings: tuple[str, ...] = ()

    @property
    def is_degenerate(self) -> bool:
        """Whether the style has one flat color and so no contrast to transfer."""
        return any(moments.is_degenerate for stage in self.code for moments in stage)

    @property
    def positions(self) -> float:
        """Fewest feature positions per channel at any transform point; under 1 the covariance is incomplete."""
        return min(moments.count / moments.channels for stage in self.code for moments in stage)

    def check_fits(self, encoders: Sequence[str], model: str) -> None:
        """Raise UsageError SP110 if this style was prepared with encoders other than a model's."""
        if tuple(encoders) != self.encoders:
            raise UsageError(
                "SP110",
                f"The style {self.name or 'given'} was prepared with the model {self.model}, not with {model}.",
                f"Use `model={self.model}`, or prepare the style picture again with {model}.",
            )

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write a style file: means and covariances in float64, so that it gives the same picture as its source.

        Args:
            path: Name ending in `.safetensors`.
            overwrite: Replace an existing file.

        Raises:
            UsageError: SP111, another extension.
            OutputError: SP601 to SP604 or SP608, the file exists or cannot be written.
        """
        if Path(path).suffix != SUFFIX:
            raise UsageError(
                "SP111", f"A style file's name ends in {SUFFIX}; the name was {Path(path).name!r}.", "Change the name."
            )
        tensors: dict[str, Tensor] = {}
        counts: list[list[float]] = []
        for i, stage in enumerate(self.code):
            counts.append([moments.count for moments in stage])
            for j, moments in enumerate(stage):
                tensors[f"stage{i}.point{j}.mean"] = moments.mean
                tensors[f"stage{i}.point{j}.covariance"] = _pack(moments.covariance(unbiased=False))
        metadata = {
            "kind": _KIND,
            "model": self.model,
            "encoders": list(self.encoders),
            "name": self.name,
            "size": list(self.size),
            "counts": counts,
        }
        write_weights(Path(path), tensors, metadata, overwrite=overwrite, limits=STYLE, kind=kinds.STYLE)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Style:
        """Read a style file.

        Raises:
            WeightsError: SP301 to SP308, not a readable file; SP340, not a style file.
        """
        weights = read_weights(Path(path), limits=STYLE, require_metadata=True)
        metadata, tensors = weights.metadata, weights.tensors
        try:
            if metadata["kind"] != _KIND:
                raise KeyError("kind")
            code = tuple(
                tuple(
                    _unpack(float(count), tensors[f"stage{i}.point{j}.mean"], tensors[f"stage{i}.point{j}.covariance"])
                    for j, count in enumerate(stage)
                )
                for i, stage in enumerate(metadata["counts"])
            )
            height, width = map(int, metadata["size"])
            return cls(
                code,
                str(metadata["model"]),
                tuple(map(str, metadata["encoders"])),
                str(metadata["name"]),
                (height, width),
            )
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise WeightsError(
                "SP340",
                f"{weights.path.name} is not a style file of this program.",
                "Make one with: styleplugin style save PICTURE -o NAME.safetensors",
            ) from error


def mix_styles(styles: Sequence[Style], weights: Sequence[float]) -> Style:
    """Mix styles of one model; weights are scaled to sum to 1, and a style with all the weight is returned as it is.

    Raises:
        UsageError: SP105 for impossible weights, SP110 for styles of different models.
    """
    shares = normalized_weights(weights)
    used = [(style, share) for style, share in zip(styles, shares, strict=True) if share > 0]
    first = used[0][0]
    if len(used) == 1:
        return first
    for style, _ in used:
        style.check_fits(first.encoders, first.model)
    code = mix_codes([style.code for style, _ in used], [share for _, share in used])
    name = " + ".join(f"{share:.2g} {style.name or 'style'}" for style, share in used)
    notes = tuple(note for style, _ in used for note in style.warnings)
    return Style(code, first.model, first.encoders, name, (0, 0), notes)


def _pack(covariance: Tensor) -> Tensor:
    """Return the upper triangle of a symmetric (C, C) matrix row by row; a (C,) diagonal stays."""
    if covariance.dim() == 1:
        return covariance
    return covariance[torch.triu(torch.ones_like(covariance, dtype=torch.bool))]


def _unpack(count: float, mean: Tensor, packed: Tensor) -> Moments:
    channels = mean.numel()
    if packed.numel() == channels and channels > 1:
        covariance = packed
    else:
        upper = torch.zeros(channels, channels, dtype=packed.dtype, device="cpu")
        upper[torch.triu(torch.ones_like(upper, dtype=torch.bool))] = packed
        covariance = upper + upper.triu(1).T
    return Moments(count, mean.double(), covariance.double() * count)
