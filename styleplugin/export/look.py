"""Looks that leave the program: a color table fitted to a stylization, and an account of what it cannot carry."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from styleplugin.engine.stream import OnStep
from styleplugin.errors import MaskError, UsageError
from styleplugin.export.lut_fit import fit_lut
from styleplugin.files import PathLike, has_suffix
from styleplugin.guard import guarded
from styleplugin.images.box import bands
from styleplugin.images.color.conversions import delta_e, rgb_to_lab
from styleplugin.images.looks.cube import write_cube
from styleplugin.images.looks.hald import write_hald
from styleplugin.images.looks.read import CUBE_SUFFIX
from styleplugin.images.looks.table import LUT, check_size
from styleplugin.images.masks import read_mask
from styleplugin.images.picture import from_channels
from styleplugin.images.read import to_picture
from styleplugin.images.sums import total
from styleplugin.images.write import write_image
from styleplugin.kinds import PICTURE, TABLE
from styleplugin.paths import Written, check_paths, paths_among

VISIBLE = 3.0
"""Color difference from which on most people see it."""
MAP_WHITE = 10.0
"""Color difference that is white in an error map."""


@dataclass(frozen=True, kw_only=True)
class LookReport:
    """How far the look is from the stylization it was fitted to, in CIEDE2000 over the picture's pixels."""

    size: int
    """Nodes of an axis."""
    mean: float
    percentile95: float
    visible: float
    """Share of pixels with a difference above 3."""

    def to_json(self) -> str:
        """Return the report as JSON."""
        return json.dumps(asdict(self), indent=2)

    def __str__(self) -> str:
        return (
            f"color difference to the stylization: mean {self.mean:.2f}, 95% under {self.percentile95:.2f}, "
            f"above {VISIBLE:g} in {self.visible:.1%} of the pixels"
        )


@dataclass(frozen=True, eq=False)
class Look:
    """A fitted color table with its errors.

    Example:
        >>> import torch
        >>> from styleplugin import LUT, fit_look
        >>> content = torch.linspace(0, 1, 3 * 32 * 32, dtype=torch.float32, device="cpu").view(1, 3, 32, 32)
        >>> look = fit_look(content, 0.5 * content, size=5, title="dark")
        >>> look.save("dark.cube")
        >>> look.error_map.shape
        torch.Size([1, 1, 32, 32])
    """

    lut: LUT
    report: LookReport
    errors: Tensor
    """(1, 1, H, W), CIEDE2000 between the table's picture and the stylization."""
    inputs: tuple[PathLike, ...] = ()
    """The files it was fitted to, which it never replaces."""

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the table: `.cube`, or a HALD picture with any extension of pictures."""
        is_table = has_suffix(path, CUBE_SUFFIX)
        check_paths(self.inputs, [Written(path, TABLE if is_table else PICTURE, overwrite)])
        write = write_cube if is_table else write_hald
        write(self.lut, path, overwrite=overwrite)

    @property
    def error_map(self) -> Tensor:
        """Where the table differs, (1, 1, H, W) in [0, 1]: white is a difference of 10 or more."""
        return (self.errors / MAP_WHITE).clamp(0, 1)

    def save_error_map(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write `error_map` as a gray picture."""
        check_paths(self.inputs, [Written(path, PICTURE, overwrite)])
        gray = self.error_map.expand(-1, 3, -1, -1)
        write_image(from_channels(gray, bits=8), path, overwrite=overwrite)


@guarded()
def fit_look(
    content: Any,
    stylized: Any,
    *,
    mask: Any = None,
    label: int | None = None,
    size: int = 33,
    title: str = "",
    on_step: OnStep | None = None,
) -> Look:
    """Fit a color table to a stylization.

    A table maps equal colors to equal colors; what a stylization does differently in different places is lost, and the
    report says how much that is.

    Args:
        content: The picture before: path, Pillow image, array, tensor or `Picture`.
        stylized: The same picture after, of the same size; for example `result.picture`.
        mask: What the look is fitted to, as a picture: white counts, black does not. What is transparent never counts.
        label: The value that counts, where the mask is a picture of labels.
        size: Nodes of an axis: 17, 33 or 65.
        title: For the file.
        on_step: Called with (done, total, stage); raise `Cancelled` in it to stop.

    Raises:
        UsageError: SP115, a size that no table has; SP116, the pictures differ in size.
        MaskError: SP223, nothing of the picture counts.

    Example:
        >>> import torch
        >>> content = torch.linspace(0, 1, 3 * 32 * 32, dtype=torch.float32, device="cpu").view(1, 3, 32, 32)
        >>> fit_look(content, 0.5 * content, size=5).report.mean < 1
        True
    """
    size = check_size(size)
    before, after = to_picture(content), to_picture(stylized)
    if before.size != after.size:
        raise UsageError(
            "SP116",
            f"The picture is {before.width} x {before.height}, its stylization {after.width} x {after.height}; "
            "both must have one size.",
            "Give the stylization of this very picture.",
        )
    counted = before.alpha
    if mask is not None:
        where, _ = read_mask(mask, before.size, label=label)
        counted = where if counted is None else where * counted
    if counted is not None and not bool(counted.any()):
        raise MaskError("SP223", "Nothing of the picture counts for a look.", "Show some of it, by alpha and mask.")
    tell = on_step or (lambda done, total, stage: None)
    # Most of the time goes into the table of a small picture, and into the errors of a large one.
    lut = fit_lut(
        before.rgb, after.rgb, size, weights=counted, title=title, on_step=lambda share: tell(share / 2, 1, "fit")
    )
    errors = torch.empty_like(before.rgb[:, :1])
    for rows in bands(before.size):
        a, b = lut.apply(before.rgb[:, :, rows]), after.rgb[:, :, rows].clamp(0, 1)
        errors[:, :, rows] = delta_e(rgb_to_lab(a), rgb_to_lab(b))
        tell(0.5 + 0.5 * rows.stop / before.height, 1, "errors")
    return Look(lut, _report(size, errors, counted), errors, paths_among(content, stylized, mask))


def _report(size: int, errors: Tensor, counted: Tensor | None) -> LookReport:
    """Sum up errors, (1, 1, H, W), each by how much its pixel counts."""
    values, order = errors.flatten().double().sort()
    shares = torch.ones_like(values) if counted is None else counted.flatten().double()[order]
    below = shares.cumsum(0)
    return LookReport(
        size=size,
        mean=float(total(values * shares) / below[-1]),
        percentile95=float(values[int((below < 0.95 * below[-1]).sum())]),
        visible=float(total(shares[values > VISIBLE]) / below[-1]),
    )
