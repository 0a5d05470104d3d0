"""Every option of a run, described once: type, range, default and help text.

The command line is generated from these classes, and the nodes and the web page read their ranges and help from them.

Example:
    >>> from styleplugin import options
    >>> options.bounds_of(options.StylizeOptions, "strength")
    Bounds(low=0, high=1, step=0.05)
    >>> options.choices_of(options.StylizeOptions, "keep_color")
    ('off', 'luminance', 'lab')
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from typing_extensions import Doc

from styleplugin.errors import UsageError
from styleplugin.paths import Reads, source_paths
from styleplugin.values import integers, number, shown, switch


@dataclass(frozen=True)
class Bounds:
    """Closed range of a number, with the step a slider should use."""

    low: float
    high: float
    step: float = 1.0


KeepColor = Literal["off", "luminance", "lab"]
Palette = Literal["auto", "off", "map", "level1", "level2"]
Statistics = Literal["per frame", "whole batch", "one frame"]
Regularization = Literal["soft", "official", "identity"]
StyleLoss = Literal["gram", "wasserstein"]
Start = Literal["stylized", "content", "noise"]
Optimizer = Literal["lbfgs", "adam"]

DEEPEST_STRIDE = 16
"""Pixels of a cell of the deepest features: sides of tiles, and of pictures as networks see them, are multiples."""
MIN_TILE = 64
DEFAULT_MAX_MEGAPIXELS = 256.0
"""Room for the photographs of every telephone, which have up to 200."""


def halved_tile(tile: int) -> int | None:
    """Return the side of a tile to try where there is no memory for this one; None below the smallest.

    Example:
        >>> halved_tile(384), halved_tile(96), halved_tile(64)
        (192, 64, None)
    """
    return max(MIN_TILE, tile // 2 // DEEPEST_STRIDE * DEEPEST_STRIDE) if tile > MIN_TILE else None


def bounds_of(cls: type, name: str) -> Bounds | None:
    """Return the range of a field of an options class, or None if it has none."""
    for part in _annotation_parts(get_type_hints(cls, include_extras=True)[name]):
        if isinstance(part, Bounds):
            return part
    return None


def choices_of(cls: type, name: str) -> tuple[Any, ...]:
    """Return the words that a field of an options class may have, or () if it is not a choice."""
    return _choices(get_type_hints(cls)[name])


def default_of(cls: type, name: str) -> Any:
    """Return the default of a field of an options class."""
    return next(f.default for f in fields(cls) if f.name == name)


def help_of(cls: type, name: str) -> str:
    """Return the help text of a field of an options class."""
    for part in _annotation_parts(get_type_hints(cls, include_extras=True)[name]):
        if isinstance(part, Doc):
            return part.documentation
    raise KeyError(name)


def _annotation_parts(hint: Any) -> list[Any]:
    parts: list[Any] = []
    if get_origin(hint) is Annotated:
        parts += hint.__metadata__
    for inner in get_args(hint):
        parts += _annotation_parts(inner)
    return parts


def _choices(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) is Literal else ()


class _Checked:
    """Checks ranges and choices of a dataclass when it is made, and makes its values plain ones."""

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for f in fields(self):  # type: ignore[arg-type]
            value = getattr(self, f.name)
            if value is not None or f.default is not None:
                # The class is frozen for everybody else.
                object.__setattr__(self, f.name, _checked(f.name, value, hints[f.name], bounds_of(type(self), f.name)))


def _checked(name: str, value: Any, hint: Any, bounds: Bounds | None) -> Any:
    """Return the plain value of a field, or raise UsageError."""
    choices = _choices(hint)
    if choices and not (isinstance(value, str) and value in choices):
        raise UsageError(
            "SP102",
            f"`{name}` was {shown(value)}; it must be one of {', '.join(map(str, choices))}.",
            "Use one of these values.",
        )
    if hint is bool:
        return switch(name, value)
    if get_origin(hint) is tuple:
        return integers(name, value)
    if bounds is not None:
        return number(name, value, bounds.low, bounds.high, whole=float not in (hint, *get_args(hint)))
    return value


@dataclass(frozen=True, kw_only=True)
class StylizeOptions(_Checked):
    """What the picture shall look like; for every method, as far as it has to do with it.

    Example:
        >>> StylizeOptions(strength=0.5, levels=[3, 2]).levels
        (3, 2)
        >>> StylizeOptions(strength=2)
        Traceback (most recent call last):
        styleplugin.errors.UsageError: `strength` was 2; it must be a number from 0 to 1. Give a value in this range.
    """

    strength: Annotated[
        float, Bounds(0, 1, step=0.05), Doc("Style strength: 0 keeps the content, 1 is the full effect.")
    ] = 1.0
    keep_color: Annotated[
        KeepColor,
        Doc(
            "Color preservation: off (the style's colors), luminance (the content's, only light and dark "
            "change), lab (its statistics)."
        ),
    ] = "off"
    keep_luminance: Annotated[
        bool, Doc("Luminance preservation: keep the content's light and dark; only the colors change.")
    ] = False
    smooth: Annotated[
        int,
        Bounds(0, 64),
        Doc(
            "Guided filter radius: edge-aware smoothing that follows the content, in pixels; 0 is off, 8 is "
            "good for photographs."
        ),
    ] = 0
    style_scale: Annotated[
        float,
        Bounds(0.1, 4, step=0.05),
        Doc("Style scale: size of the style picture relative to itself; larger gives larger strokes."),
    ] = 1.0
    trim_style: Annotated[
        bool, Doc("Trim the style pictures: uniform borders (black bars, frames, margins) are left out.")
    ] = False
    palette: Annotated[
        Palette,
        Doc(
            "Palette of AdaIN and KBStyle: takes away what leaks of the content's colors; auto (what suits "
            "the method), off, map (one linear map of the colors), level1 (whitening and coloring at level 1) "
            "or level2 (at levels 2 and 1)."
        ),
    ] = "auto"
    levels: Annotated[
        tuple[int, ...],
        Doc(
            "WCT levels: those to run, deepest first; fewer or shallower levels keep more of the content, 5 "
            "dissolves it."
        ),
    ] = (4, 3, 2, 1)
    grain: Annotated[
        Annotated[float, Bounds(0, 2, step=0.05)] | None,
        Doc(
            "WCT grain: how much noise flat parts get, so that they are painted and not woven like cloth; 0 "
            "is off. By default 1, and 0 for frames that share their statistics: over moving pictures it "
            "would stand still."
        ),
    ] = None
    regularization: Annotated[
        Regularization,
        Doc(
            "WCT regularization: rule for small eigenvalues; soft is reproducible, official and identity "
            "match other programs."
        ),
    ] = "soft"


@dataclass(frozen=True, kw_only=True)
class OptimizeOptions(_Checked):
    """How a picture is optimized; for the method optimization only.

    Example:
        >>> options = OptimizeOptions(steps=50, start="content")
        >>> options.steps, options.optimizer
        (50, 'lbfgs')
    """

    steps: Annotated[int, Bounds(1, 100_000), Doc("Iterations: steps of the optimization, over all scales.")] = 300
    style_loss: Annotated[
        StyleLoss,
        Doc(
            "Style loss: what of the style is compared, gram (Gatys's matrices) or wasserstein (distance of Gaussians)."
        ),
    ] = "gram"
    content_weight: Annotated[
        float, Bounds(0, 1000, step=0.1), Doc("Content weight: how much the shapes of the content count.")
    ] = 1.0
    style_weight: Annotated[float, Bounds(0, 1000, step=0.1), Doc("Style weight: how much the style counts.")] = 10.0
    smoothness_weight: Annotated[
        float,
        Bounds(0, 1000, step=0.1),
        Doc("Total variation weight: how much differences between neighboring pixels cost; more takes away noise."),
    ] = 5.0
    start: Annotated[
        Start, Doc("Initialization: stylized (the result of a feed-forward model: fastest), content or noise.")
    ] = "stylized"
    start_model: Annotated[
        str, Reads(source_paths), Doc("Initialization model: the feed-forward model for the start.")
    ] = "cd-wct.x16"
    scales: Annotated[
        int,
        Bounds(1, 6),
        Doc(
            "Coarse-to-fine scales: sizes to work at, each twice the one before, up to the picture's own; "
            "coarse ones make large strokes cheap."
        ),
    ] = 2
    optimizer: Annotated[Optimizer, Doc("Optimizer: lbfgs (fewest steps) or adam (least memory).")] = "lbfgs"
    step_size: Annotated[
        float, Bounds(0.001, 10, step=0.001), Doc("Learning rate: factor for the optimizer's steps.")
    ] = 1.0
    seed: Annotated[
        int, Bounds(0, (1 << 63) - 1), Doc("Random seed: of the noise that the initialization noise begins with.")
    ] = 0
    encoder: Annotated[
        str,
        Reads(source_paths),
        Doc(
            "Loss network: what sees the picture, the deepest encoder of a model, or an encoder or VGG-19 as "
            "file:PATH or hub:OWNER/REPO@REVISION/FILE."
        ),
    ] = "cd-wct.x16"


@dataclass(frozen=True, kw_only=True)
class FrameOptions(_Checked):
    """How the frames of a shot share their statistics; this decides how steady the picture is over time.

    Example:
        >>> FrameOptions(statistics="one frame", frame=12).frame
        12
    """

    statistics: Annotated[
        Statistics,
        Doc(
            "Shared statistics: where the content's come from, each frame by itself, the whole batch, or one "
            "frame for all; the latter two keep a shot steady."
        ),
    ] = "per frame"
    frame: Annotated[
        int,
        Bounds(0, 1 << 20),
        Doc("Reference frame: the one that gives the statistics, counted from 0; for `one frame` only."),
    ] = 0


@dataclass(frozen=True, kw_only=True)
class EngineOptions(_Checked):
    """Where and in which pieces the work is done; none of it changes the picture.

    Example:
        >>> EngineOptions(tile=512, memory_limit_mb=1000).tile
        '512'
        >>> EngineOptions(tile=500)
        Traceback (most recent call last):
        styleplugin.errors.UsageError: `tile` was '500'; it must be auto, whole, or a multiple of 16 that is at ...
    """

    device: Annotated[str, Doc("Device: auto, cpu, cuda, cuda:1 or mps.")] = "auto"
    tile: Annotated[
        str, Doc("Tile size: side of a tile in pixels (a multiple of 16), auto, or whole for the picture in one piece.")
    ] = "auto"
    memory_limit_mb: Annotated[
        Annotated[int, Bounds(64, 1 << 22)] | None,
        Doc("Memory limit: most memory to plan for beside the program itself, in MB; by default half of what is free."),
    ] = None
    max_megapixels: Annotated[
        float,
        Bounds(0.001, 100_000),
        Doc(
            "Pixel limit: most million pixels of a picture that is read; larger ones are refused before they "
            "are decoded."
        ),
    ] = DEFAULT_MAX_MEGAPIXELS

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "tile", str(self.tile))
        object.__setattr__(self, "device", str(self.device))
        if self.tile in ("auto", "whole"):
            return
        if not self.tile.isdigit() or int(self.tile) < MIN_TILE or int(self.tile) % DEEPEST_STRIDE:
            raise UsageError(
                "SP103",
                f"`tile` was {self.tile!r}; it must be auto, whole, or a multiple of {DEEPEST_STRIDE} "
                f"that is at least {MIN_TILE}.",
                "For example `tile=512`.",
            )


@dataclass(frozen=True, kw_only=True)
class StyleWeight:
    """One style of a mix.

    Example:
        >>> [StyleWeight(style="waves.jpg", weight=0.7), StyleWeight(style="dots.jpg", weight=0.3)][1].weight
        0.3
    """

    style: Annotated[Any, Doc("Path of a picture or style file, or anything `stylize` accepts as a style.")]
    weight: Annotated[float, Doc("Share of this style; the weights of a mix are scaled to sum to 1.")] = field(
        default=1.0
    )
    region: Annotated[
        Any,
        Doc(
            "Where on the content this style applies, as a mask: white is painted. Styles without a region "
            "are mixed where no other region is."
        ),
    ] = None
    mask: Annotated[
        Any, Doc("Which part of the style's picture counts, as a mask: white counts, black (bars, captions) does not.")
    ] = None


def parse_style_weight(text: str) -> StyleWeight:
    """Read `PATH` or `PATH:WEIGHT`, as given to `--style`.

    Raises:
        UsageError: SP104, the weight is negative or not a number.
    """
    path, colon, tail = text.rpartition(":")
    if not colon or not path or "/" in tail or "\\" in tail or ("." in tail and not _is_number(tail)):
        return StyleWeight(style=text)
    if not _is_number(tail) or not math.isfinite(float(tail)) or float(tail) < 0:
        raise UsageError(
            "SP104",
            f"`style` {text!r} has the weight {tail!r}; a weight is a number of at least 0.",
            "Write PATH:WEIGHT, for example painting.jpg:0.7.",
        )
    return StyleWeight(style=path, weight=float(tail))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
