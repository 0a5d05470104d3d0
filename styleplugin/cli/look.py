"""`look export` and `look apply`."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg
from tyro.extras import SubcommandApp

from styleplugin.cli.arguments import FileChoice, MaskChoice, MetadataChoice, Method, ModelChoice
from styleplugin.cli.output import progress, say_unless
from styleplugin.cli.parser import command
from styleplugin.cli.paths import Input, OtherPicture, OutputPicture, ReportFile
from styleplugin.cli.values import fields_of
from styleplugin.errors import StylePluginWarning, UsageError
from styleplugin.kinds import TABLE
from styleplugin.methods import registry
from styleplugin.options import EngineOptions, StylizeOptions
from styleplugin.paths import Writes

_STYLIZE, _ENGINE = StylizeOptions(), EngineOptions()

look_app = SubcommandApp()
look_app.__doc__ = "Looks: color tables for other programs."


@command(look_app, "export")
def look_export(
    content: Positional[Input],
    style_picture: Positional[Input],
    /,
    *,
    output: Annotated[str, arg(aliases=["-o"]), Writes(TABLE)],
    size: int = 33,
    hald: OtherPicture | None = None,
    method: Method | None = None,
    model: ModelChoice,
    mask: MaskChoice,
    picture: StylizeOptions = _STYLIZE,
    engine: EngineOptions = _ENGINE,
    report: ReportFile | None = None,
    error_map: OtherPicture | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Stylize a picture and save the change of its colors as a look for Resolve, Premiere, OBS, ffmpeg.

    Args:
        content: A typical picture of what the look is for.
        style_picture: A picture with the look, or a style file.
        output: Name of the color table, ending in .cube.
        size: Table size: nodes of an axis, usually 17, 33 or 65.
        hald: HALD picture of the look (.png), for photo programs.
        method: Method: photorealistic (the default), kbstyle, adain or wct.
        model: Model: name or source.
        mask: Mask: a picture that says what is stylized and what the look is fitted to: white counts, black does not.
        mask_label: Label: the value of the mask that counts, where it is a picture of labels.
        report: Report: how far the look is from the stylization, as a JSON file.
        error_map: Error map: where it differs, as a picture; white is a color difference of 10.
        overwrite: Replace existing files.
        quiet: Show neither progress nor result.
    """
    from styleplugin.api import stylize
    from styleplugin.export.look import fit_look
    from styleplugin.files import atomic_write, has_suffix
    from styleplugin.images.looks.read import CUBE_SUFFIX
    from styleplugin.images.looks.table import check_size
    from styleplugin.images.read import read_image
    from styleplugin.images.write import check_output

    if not has_suffix(output, CUBE_SUFFIX):
        raise UsageError("SP111", f"A look's name ends in .cube; the name was {output!r}.", "Change the name.")
    check_size(size)
    for other in (hald, error_map):
        if other:
            check_output(other, overwrite=overwrite)
    photo = read_image(content, max_megapixels=engine.max_megapixels)
    with progress(quiet) as on_step:
        result = stylize(
            photo,
            style_picture,
            mask=mask.mask,
            label=mask.mask_label,
            method=method or (None if model.model else registry.names("looks")[0]),
            on_step=on_step,
            **fields_of(model),
            **fields_of(picture),
            **fields_of(engine),
        )
    title = Path(style_picture).stem
    look = fit_look(photo, result.picture, mask=mask.mask, label=mask.mask_label, size=size, title=title)
    look.save(output, overwrite=overwrite)
    if hald:
        look.save(hald, overwrite=overwrite)
    if error_map:
        look.save_error_map(error_map, overwrite=overwrite)
    if report:
        with atomic_write(report) as written:
            written.write(look.report.to_json().encode())
    say_unless(f"{output}  {look.report}", quiet)


@command(look_app, "apply")
def look_apply(
    content: Positional[Input],
    look: Positional[Input],
    /,
    *,
    output: OutputPicture,
    strength: float = 1.0,
    file: FileChoice,
    max_megapixels: float = _ENGINE.max_megapixels,
    kept: MetadataChoice,
    quiet: bool = False,
) -> None:
    """Give a picture the colors of a look: a .cube file, a HALD picture, or 8 x 8 squares of 64 x 64.

    Args:
        content: The picture.
        look: The look.
        output: Where the result goes; the extension decides the format.
        strength: Look strength: 0 keeps the picture, 1 is the full look.
        overwrite: Replace an existing output.
        max_megapixels: Pixel limit: most million pixels of the picture; a larger one is refused.
        quiet: Do not show the result.
    """
    import torch

    from styleplugin.images.looks.read import read_lut
    from styleplugin.images.read import read_image
    from styleplugin.images.write import check_output, check_quality, write_image

    StylizeOptions(strength=strength)
    check_quality(file.quality)
    EngineOptions(max_megapixels=max_megapixels)
    check_output(output, overwrite=file.overwrite)
    lut, picture = read_lut(look), read_image(content, max_megapixels=max_megapixels)
    for name, notes in (("content", picture.warnings), ("look", lut.warnings)):
        for note in notes:
            warnings.warn(f"{name}: {note}", StylePluginWarning, stacklevel=1)
    rgb = torch.lerp(picture.rgb, lut.apply(picture.rgb), strength)
    write_image(dataclasses.replace(picture, rgb=rgb), output, **fields_of(file), **fields_of(kept))
    say_unless(f"{output}  {picture.width} x {picture.height}", quiet)
