"""`stylize`, and `style save`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg
from tyro.extras import SubcommandApp

from styleplugin.cli.arguments import FileChoice, LongRun, MaskChoice, MetadataChoice, Method, ModelChoice, StyleChoice
from styleplugin.cli.output import progress, say_unless
from styleplugin.cli.parser import command
from styleplugin.cli.paths import Input, OutputPicture, ReportFile, Values, WeightedStyle
from styleplugin.cli.values import fields_of
from styleplugin.errors import Cancelled, StylePluginWarning, UsageError
from styleplugin.kinds import PICTURE, STYLE
from styleplugin.methods import registry
from styleplugin.options import EngineOptions, OptimizeOptions, StyleWeight, StylizeOptions
from styleplugin.paths import Writes, Written

if TYPE_CHECKING:
    from styleplugin.engine.stream import OnStep
    from styleplugin.images.picture import Picture
    from styleplugin.job import Result


style_app = SubcommandApp()
style_app.__doc__ = "Styles as small files."


_STYLIZE, _ENGINE, _OPTIMIZE = StylizeOptions(), EngineOptions(), OptimizeOptions()


def _preview(output: str) -> Path:
    """Return where previews of a picture go: beside it."""
    path = Path(output)
    return path.with_suffix(f".preview{path.suffix}")


def preview_written(values: Values) -> list[Written]:
    """Return what `stylize` writes beside the files that its options name."""
    if values["preview_every"] is None:
        return []
    return [Written(_preview(values["output"]), PICTURE, values["overwrite"])]


def stylize_command(
    content: Positional[Input],
    style_picture: Positional[WeightedStyle | None] = None,
    /,
    *,
    output: OutputPicture,
    styles: StyleChoice,
    method: Method | None = None,
    model: ModelChoice,
    mask: MaskChoice,
    picture: StylizeOptions = _STYLIZE,
    optimization: OptimizeOptions = _OPTIMIZE,
    long_run: LongRun,
    engine: EngineOptions = _ENGINE,
    report: ReportFile | None = None,
    file: FileChoice,
    kept: MetadataChoice,
    quiet: bool = False,
) -> None:
    """Stylize a picture: CONTENT in the style of one or several pictures or style files.

    Args:
        content: The picture to stylize.
        style_picture: The style: a picture, or a style file made by `style save`.
        output: Where the result goes; the extension decides the format (.png, .jpg, .webp, .tif, .bmp, .avif, .jxl).
        style: Style with its mixing weight, PATH:WEIGHT; give it several times to mix styles.
        region: Region mask: a picture that says where the first style goes; give it again for the second, and so on,
            and `-` for a style without a region: these are mixed everywhere else.
        style_mask: Style mask: a picture that says which part of the first style picture counts: white does, black
            (bars, frames, captions) does not; give it again for the second, and so on, and `-` for none.
        method: Method: wct (the default), adain, kbstyle, photorealistic or optimization.
        model: Model: name or source, cd-wct.x16, file:PATH, hub:OWNER/REPO@REVISION/FILE.
        mask: Mask: a picture that says where the style applies: white is stylized, black stays exactly as it is.
        mask_label: Label: the value of the mask that is stylized, where it is a picture of labels.
        preview_every: Preview interval of the optimization: a preview is written beside the output after so many steps.
        checkpoint: Checkpoint of the optimization: a file that holds all that is needed to go on.
        resume: Resume the optimization from the checkpoint.
        report: Report: what the run did (settings, sizes, warnings), as a JSON file.
        overwrite: Replace what exists, each file by one of its kind; a checkpoint only if it is of this very run.
        quiet: Show neither progress nor result.
    """
    from styleplugin.api import stylize
    from styleplugin.files import atomic_write
    from styleplugin.images.read import read_image
    from styleplugin.images.write import check_output, check_quality, check_size

    check_quality(file.quality)
    parts = styles.weighted(style_picture)
    check_output(output, overwrite=file.overwrite)
    is_iterative = "iterative" in registry.find(method).capabilities
    if not is_iterative:
        _refuse_optimization(optimization, **fields_of(long_run))
    photo = read_image(content, max_megapixels=engine.max_megapixels)
    check_size(output, photo.size)
    asked = fields_of(model) | {"mask": mask.mask, "label": mask.mask_label} | fields_of(picture) | fields_of(engine)
    stopped = None
    with progress(quiet) as on_step:
        if is_iterative:
            asked |= fields_of(optimization) | {"overwrite": file.overwrite}
            result, stopped = _optimized(photo, parts, _preview(output), long_run, on_step, **asked)
        else:
            result = stylize(photo, parts, method=method, on_step=on_step, **asked)
    result.save(output, **fields_of(file), **fields_of(kept))
    if report:
        with atomic_write(report) as written:
            written.write(result.report.to_json().encode())
    if stopped:
        raise Cancelled(f"{stopped} {output} holds the best picture so far.")
    height, width = result.report.content_size
    say_unless(f"{output}  {width} x {height}  {result.report.seconds['total']:.1f} s", quiet)


def _optimized(
    content: Picture,
    style: Sequence[StyleWeight],
    preview: Path,
    long_run: LongRun,
    on_step: OnStep,
    *,
    model: str | None,
    **options: Any,
) -> tuple[Result, str | None]:
    """Run an optimization; returns its result, and where it was stopped, if the user stopped it."""
    from styleplugin.methods.optimization.run import Optimization, refuse_model

    refuse_model(model)
    every = long_run.preview_every
    if every is not None and every < 1:
        raise UsageError("SP101", f"--preview-every was {every}; it must be at least 1.")
    stage = "start"
    run = Optimization(
        content,
        style,
        on_step=lambda done, total, _: on_step(done, total, stage),
        checkpoint=long_run.checkpoint,
        resume=long_run.resume,
        **options,
    )
    try:
        for progress in run:
            stage = f"loss {progress.losses.total:.4g}"
            if every is not None and progress.step % every == 0 and progress.step < progress.steps:
                run.result().save(preview, overwrite=True, metadata=False)
    except (KeyboardInterrupt, Cancelled):
        if not run.steps_done:
            raise
        run.save()
        return run.result(), f"Stopped after {run.steps_done} of {run.options.steps} steps."
    return run.result(), None


def _refuse_optimization(options: OptimizeOptions, **others: Any) -> None:
    """Raise SP153 for options that only the optimization has."""
    given = [name for name, value in fields_of(options).items() if value != getattr(_OPTIMIZE, name)]
    given += [name for name, value in others.items() if value not in (None, False)]
    if given:
        names = ", ".join("--" + name.replace("_", "-") for name in given)
        raise UsageError("SP153", f"{names} is for --method optimization only.", "Add --method optimization.")


@command(style_app, "save")
def style_save(
    picture: Positional[Input],
    /,
    *,
    output: Annotated[str, arg(aliases=["-o"]), Writes(STYLE)],
    model: ModelChoice,
    method: Method | None = None,
    style_scale: float = 1.0,
    mask: MaskChoice,
    trim_style: bool = False,
    engine: EngineOptions = _ENGINE,
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Measure a style picture and save it as a small style file that needs no picture any more.

    Args:
        picture: The style picture.
        output: Name of the style file, ending in .safetensors.
        model: Model: the one the style is for; it fits every model with the same encoders.
        method: Method: wct (the default), adain, kbstyle or photorealistic, where no model is named.
        style_scale: Style scale: size of the style picture relative to itself; larger gives larger strokes.
        mask: Mask: a picture that says which part of the style picture counts: white does, black does not.
        mask_label: Label: the value of the mask that counts, where it is a picture of labels.
        trim_style: Trim the style picture: uniform borders (black bars, frames, margins) are left out.
        overwrite: Replace an existing file.
        quiet: Show neither progress nor result.
    """
    from styleplugin.api import choose_model
    from styleplugin.style import check_name
    from styleplugin.stylizer import load

    check_name(output)
    StylizeOptions(style_scale=style_scale)
    stylizer = load(
        model.model or choose_model(method, ()),
        allow_unknown_model=model.allow_unknown_model,
        **fields_of(engine),
    )
    with progress(quiet) as on_step:
        prepared = stylizer.prepare(
            picture,
            mask=mask.mask,
            label=mask.mask_label,
            style_scale=style_scale,
            trim_style=trim_style,
            on_step=on_step,
        )
    for note in prepared.warnings:
        warnings.warn(note, StylePluginWarning, stacklevel=1)
    prepared.save(output, overwrite=overwrite)
    say_unless(f"{output}  {Path(output).stat().st_size / 1000:.0f} kB  for {prepared.model}", quiet)
