"""Arguments that several commands take, or that belong together; on the command line each field is an option.

What several commands say of an argument stands here; what one of them says, in its docstring.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from typing_extensions import Doc
from tyro.conf import UseAppendAction

from styleplugin.cli.paths import Input, ModelSource, Region, WeightedStyle
from styleplugin.errors import UsageError
from styleplugin.kinds import CHECKPOINT
from styleplugin.methods import registry
from styleplugin.options import StyleWeight, parse_style_weight
from styleplugin.paths import Writes

if TYPE_CHECKING:
    Method = str
else:
    # Those of installed packages too.
    Method = Literal[registry.names()]


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """Which model runs."""

    model: ModelSource | None = None
    allow_unknown_model: Annotated[
        bool, Doc("Admit a weights file of your own that is not in the list of known models.")
    ] = False


@dataclass(frozen=True, kw_only=True)
class MaskChoice:
    """What of the picture counts."""

    mask: Input | None = None
    mask_label: int | None = None


@dataclass(frozen=True, kw_only=True)
class FileChoice:
    """How a picture is written."""

    overwrite: bool = False
    quality: Annotated[int, Doc("Quality of JPEG, WebP, AVIF and JPEG XL, 1 to 100.")] = 95


@dataclass(frozen=True, kw_only=True)
class MetadataChoice:
    """What of the content's metadata is kept."""

    metadata: Annotated[
        bool,
        Doc("Metadata: keep the content's EXIF and XMP, without location, serial numbers and thumbnail."),
    ] = True
    keep_location: Annotated[bool, Doc("Keep in them where the content was taken.")] = False


@dataclass(frozen=True, kw_only=True)
class LongRun:
    """How an optimization is watched, and gone on with."""

    preview_every: int | None = None
    checkpoint: Annotated[str, Writes(CHECKPOINT, unless="resume")] | None = None
    resume: bool = False


@dataclass(frozen=True, kw_only=True)
class StyleChoice:
    """Styles to mix, and where each applies."""

    style: UseAppendAction[tuple[WeightedStyle, ...]] = ()
    region: UseAppendAction[tuple[Region, ...]] = ()
    style_mask: UseAppendAction[tuple[Region, ...]] = ()

    def weighted(self, first: str | None) -> list[StyleWeight]:
        """Return the styles, that of the positional argument first, each with its region and mask.

        Raises:
            UsageError: SP104, a weight is no number; SP109, there is no style; SP129, more regions or masks than
                styles.
        """
        styles = [parse_style_weight(text) for text in [*([first] if first else []), *self.style]]
        if not styles:
            raise UsageError(
                "SP109", "No style was given; one is needed.", "styleplugin stylize PHOTO PAINTING -o OUT.png"
            )
        for field, option, masks in (("region", "region", self.region), ("mask", "style mask", self.style_mask)):
            if len(masks) > len(styles):
                raise UsageError(
                    "SP129",
                    f"{len(masks)} {option}s were given for {len(styles)} styles.",
                    f"Give one --{option.replace(' ', '-')} for each style.",
                )
            for i, path in enumerate(masks):
                styles[i] = dataclasses.replace(styles[i], **{field: None if path == "-" else path})
        return styles
