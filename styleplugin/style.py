"""A style without its picture: prepared once, applied to many pictures, mixed with others, saved in a small file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from styleplugin import kinds
from styleplugin.errors import UsageError, WeightsError
from styleplugin.files import has_suffix
from styleplugin.methods.palette import Finish
from styleplugin.methods.stage import StyleCode, mix_codes
from styleplugin.tensorfile import STYLE, Weights, read_weights, shortened, write_weights
from styleplugin.transforms.moments import Moments, mix_moments, normalized_weights

SUFFIX = ".safetensors"
"""A style given as a path that ends so is a style file, everything else a picture."""

_KIND = "style"
_MAX_CHANNELS = 4096
"""More than any encoder has."""
_MAX_SIDE = 1 << 31

CodeShapes = tuple[tuple[tuple[int, ...], ...], ...]


def code_shapes(points: Sequence[Sequence[int]], *, diagonal: bool) -> CodeShapes:
    """Return the shapes of the scatter in a style code.

    Args:
        points: Channels for each stage and transform point.
        diagonal: Whether variances are enough.
    """
    return tuple(tuple(_shape(channels, diagonal) for channels in stage) for stage in points)


def _shape(channels: int, diagonal: bool) -> tuple[int, ...]:
    # Of one channel there is but one value, whatever is kept.
    return (channels,) if diagonal or channels == 1 else (channels, channels)


def _shapes_of(code: StyleCode) -> CodeShapes:
    return tuple(tuple(_shape(m.channels, m.is_diagonal) for m in stage) for stage in code)


@dataclass(frozen=True, eq=False)
class Style:
    """The style code of one model, and what it was made from.

    Example:
        >>> import numpy as np
        >>> import styleplugin
        >>> picture = np.random.default_rng(0).random((64, 64, 3), np.float32)
        >>> styleplugin.load("cd-adain.x16", device="cpu").prepare(picture).save("noise.safetensors")
        >>> style = Style.load("noise.safetensors")
        >>> style.model, style.size
        ('cd-adain.x16', (64, 64))
    """

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
    palette: Mapping[str, Moments] = field(default_factory=dict)
    """What palettes need, by encoder; see `methods.palette`."""

    @property
    def is_degenerate(self) -> bool:
        """Whether the style has one flat color and so no contrast to transfer."""
        return any(moments.is_degenerate for stage in self.code for moments in stage)

    @property
    def positions(self) -> float:
        """Fewest feature positions per channel at any transform point; under 1 the covariance is incomplete."""
        return min(moments.count / moments.channels for stage in self.code for moments in stage)

    @property
    def shapes(self) -> CodeShapes:
        """Shapes of what the code knows of the scatter, for each stage and transform point."""
        return _shapes_of(self.code)

    def check_fits(self, encoders: Sequence[str], model: str, shapes: CodeShapes) -> None:
        """Check that this style can be used with a model.

        Args:
            encoders: The model's.
            model: Its name.
            shapes: What its method needs, see `shapes`.

        Raises:
            UsageError: SP110, the style was prepared with other encoders.
            WeightsError: SP341, it claims to be the model's and has other stages, transform points or channels.
        """
        if tuple(encoders) != self.encoders:
            raise UsageError(
                "SP110",
                f"The style {self.name or 'given'} was prepared with the model {self.model}, not with {model}.",
                f"Use `model={self.model}`, or prepare the style picture again with {model}.",
            )
        self._check_shapes(self.code, shapes, model)

    def code_for(self, finish: Finish) -> StyleCode:
        """Return the style code of what a palette runs.

        Raises:
            UsageError: SP112, the style does not have it.
            WeightsError: SP341, it has other channels.
        """
        if not self.palette.keys() >= set(finish.encoders):
            raise UsageError(
                "SP112",
                f"The style {self.name or 'given'} has no statistics for `palette={finish.palette}`: another version "
                "prepared it.",
                "Prepare the style picture again, or use `palette=off`.",
            )
        code = tuple((self.palette[encoder],) for encoder in finish.encoders)
        self._check_shapes(code, code_shapes(finish.points, diagonal=False), f"the palette {finish.palette}")
        return code

    def _check_shapes(self, code: StyleCode, needed: CodeShapes, what: str) -> None:
        shapes = _shapes_of(code)
        if shapes != needed:
            raise WeightsError(
                "SP341",
                f"The style {self.name or 'given'} has statistics of the shapes {shapes}; {what} needs {needed}.",
                "Its file is damaged; prepare the style picture again.",
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
        check_name(path)
        tensors: dict[str, Tensor] = {}
        counts: list[list[float]] = []
        for i, stage in enumerate((*self.code, *((moments,) for moments in self.palette.values()))):
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
            "palette": list(self.palette),
        }
        write_weights(Path(path), tensors, metadata, overwrite=overwrite, limits=STYLE, kind=kinds.STYLE)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Style:
        """Read a style file.

        Raises:
            WeightsError: SP301 to SP308, not a readable file; SP340, not a style file, or one that contradicts itself.
        """
        weights = read_weights(Path(path), limits=STYLE, require_metadata=True)
        if weights.metadata.get("kind") != _KIND:
            raise _no_style(weights, "it does not say that it is one")
        encoders, (height, width) = weights.required("encoders", list), _size(weights)
        if not all(isinstance(encoder, str) for encoder in encoders):
            raise _no_style(weights, "its encoders have no names")
        code, palette = _read_code(weights), _palette(weights)
        own = len(code) - len(palette)
        if own < 1 or any(len(stage) > 1 for stage in code[own:]):
            raise _no_style(weights, f"the last {len(palette)} of its {len(code)} stages are no palette")
        return cls(
            code[:own],
            weights.required("model", str),
            tuple(encoders),
            weights.required("name", str),
            (height, width),
            palette=dict(zip(palette, (stage[0] for stage in code[own:]), strict=True)),
        )


def check_name(path: str | os.PathLike[str]) -> None:
    """Raise UsageError SP111 if a style file cannot have this name."""
    if not has_suffix(path, SUFFIX):
        raise UsageError(
            "SP111", f"A style file's name ends in {SUFFIX}; the name was {Path(path).name!r}.", "Change the name."
        )


def mix_styles(styles: Iterable[Style] | Style, weights: Sequence[float]) -> Style:
    """Mix styles of one model; weights are scaled to sum to 1, and a style with all the weight is returned as it is.

    Raises:
        UsageError: SP105 for impossible weights, SP110 for styles of different models.

    Example:
        >>> import numpy as np
        >>> import styleplugin
        >>> stylizer = styleplugin.load("cd-adain.x16", device="cpu")
        >>> styles = [stylizer.prepare(np.full((32, 32, 3), value, np.uint8)) for value in (50, 200)]
        >>> mix_styles(styles, [3, 1]).name
        '0.75 style + 0.25 style'
    """
    styles = [styles] if isinstance(styles, Style) else list(styles)
    shares = normalized_weights(weights)
    if len(styles) != len(shares):
        raise UsageError(
            "SP105", f"There are {len(shares)} weights for {len(styles)} styles.", "Give one weight for each style."
        )
    used = [(style, share) for style, share in zip(styles, shares, strict=True) if share > 0]
    first = used[0][0]
    if len(used) == 1:
        return first
    for style, _ in used:
        style.check_fits(first.encoders, first.model, first.shapes)
    code = mix_codes([style.code for style, _ in used], [share for _, share in used])
    palettes = [style.palette for style, _ in used]
    palette = {
        encoder: mix_moments([other[encoder] for other in palettes], [share for _, share in used])
        for encoder in first.palette
        if all(encoder in other for other in palettes)
    }
    name = " + ".join(f"{share:.2g} {style.name or 'style'}" for style, share in used)
    notes = tuple(note for style, _ in used for note in style.warnings)
    return Style(code, first.model, first.encoders, name, (0, 0), notes, palette)


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


def _size(weights: Weights) -> tuple[int, int]:
    size = weights.required("size", list)
    if len(size) != 2 or not all(type(side) is int and 0 <= side <= _MAX_SIDE for side in size):
        raise _no_style(weights, f"its size is {shortened(size)}")
    return size[0], size[1]


def _palette(weights: Weights) -> list[str]:
    """Return the encoders of the stages that palettes need, which come last; files of earlier versions have none."""
    encoders = weights.required("palette", list) if "palette" in weights.metadata else []
    if not all(isinstance(encoder, str) for encoder in encoders) or len(set(encoders)) < len(encoders):
        raise _no_style(weights, f"the encoders of its palette are {shortened(encoders)}")
    return encoders


def _read_code(weights: Weights) -> StyleCode:
    """Return the moments; all sizes are compared before anything is made of them."""
    counts, tensors = _counts(weights), weights.tensors
    places = [f"stage{i}.point{j}" for i, stage in enumerate(counts) for j in range(len(stage))]
    if tensors.keys() != {f"{place}.{part}" for place in places for part in ("mean", "covariance")}:
        raise _no_style(weights, f"its tensors are not those of the {len(places)} transform points that it lists")
    for place in places:
        _check_point(weights, place, tensors[f"{place}.mean"], tensors[f"{place}.covariance"])
    return tuple(
        tuple(
            _unpack(float(count), tensors[f"stage{i}.point{j}.mean"], tensors[f"stage{i}.point{j}.covariance"])
            for j, count in enumerate(stage)
        )
        for i, stage in enumerate(counts)
    )


def _counts(weights: Weights) -> list[list[float]]:
    counts = weights.required("counts", list)
    if not counts or not all(isinstance(stage, list) and stage for stage in counts):
        raise _no_style(weights, f"its counts are {shortened(counts)}; a list for each stage is needed")
    for count in (count for stage in counts for count in stage):
        if type(count) not in (int, float) or not 0 <= count <= STYLE.value:
            raise _no_style(weights, f"a count of positions is {shortened(count)}")
    return counts


def _check_point(weights: Weights, place: str, mean: Tensor, packed: Tensor) -> None:
    channels = mean.numel()
    if mean.dim() != 1 or packed.dim() != 1 or not 0 < channels <= _MAX_CHANNELS:
        raise _no_style(weights, f"{place} has the shapes {tuple(mean.shape)} and {tuple(packed.shape)}")
    if packed.numel() not in (channels, channels * (channels + 1) // 2):
        raise _no_style(weights, f"{place} has {channels} channels and {packed.numel()} covariances")
    # Of a triangle row by row, the diagonal stands where a row begins.
    rows = torch.arange(channels, dtype=torch.int64, device="cpu")
    starts = rows if packed.numel() == channels else rows * channels - rows * (rows - 1) // 2
    if float(packed[starts].min()) < 0:
        raise _no_style(weights, f"{place} has a negative variance")


def _no_style(weights: Weights, why: str) -> WeightsError:
    return WeightsError(
        "SP340",
        f"{weights.path.name} is not a style file of this program: {why}.",
        "Make one with: styleplugin style save PICTURE -o NAME.safetensors",
    )
