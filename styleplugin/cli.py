"""The command line, generated from the option classes. Only this room prints and exits."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from tqdm import tqdm
from tyro.conf import Positional, UseAppendAction, arg
from tyro.extras import SubcommandApp

from styleplugin import __version__
from styleplugin.cli_models import models_app, train_command, train_new
from styleplugin.cli_output import open_streams, say
from styleplugin.cli_parser import command, in_command_words, parsed
from styleplugin.cli_paths import (
    Input,
    ModelSource,
    OtherPicture,
    OutputPicture,
    Region,
    ReportFile,
    Values,
    WeightedStyle,
)
from styleplugin.errors import Cancelled, StylePluginError, StylePluginWarning, UsageError
from styleplugin.kinds import CHECKPOINT, PICTURE, STYLE, TABLE
from styleplugin.options import EngineOptions, Method, OptimizeOptions, StyleWeight, StylizeOptions, parse_style_weight
from styleplugin.paths import Writes, Written

if TYPE_CHECKING:
    from styleplugin.engine.stream import OnStep
    from styleplugin.images.picture import Picture
    from styleplugin.job import Result

# torch is imported inside the commands: --help must not wait for it.

_ABOUT = "Neural style transfer with small distilled models. `styleplugin --version` says which version this is."

app = SubcommandApp()
style_app = SubcommandApp()
style_app.__doc__ = "Styles as small files."
look_app = SubcommandApp()
look_app.__doc__ = "Looks: color tables for other programs."
models_app.__doc__ = "List, check, import and share models."
app.command(style_app, name="style")
app.command(look_app, name="look")
app.command(models_app, name="models")
command(app, "train")(train_command)


_STYLIZE, _ENGINE, _OPTIMIZE = StylizeOptions(), EngineOptions(), OptimizeOptions()


def _preview(output: str) -> Path:
    """Return where previews of a picture go: beside it."""
    path = Path(output)
    return path.with_suffix(f".preview{path.suffix}")


def _preview_written(values: Values) -> list[Written]:
    if values["preview_every"] is None:
        return []
    return [Written(_preview(values["output"]), PICTURE, values["overwrite"])]


@command(app, "stylize", also=_preview_written)
def stylize_command(
    content: Positional[Input],
    style_picture: Positional[WeightedStyle | None] = None,
    /,
    *,
    output: OutputPicture,
    style: UseAppendAction[tuple[WeightedStyle, ...]] = (),
    region: UseAppendAction[tuple[Region, ...]] = (),
    style_mask: UseAppendAction[tuple[Region, ...]] = (),
    method: Method | None = None,
    model: ModelSource | None = None,
    allow_unknown_model: bool = False,
    mask: Input | None = None,
    mask_label: int | None = None,
    picture: StylizeOptions = _STYLIZE,
    optimization: OptimizeOptions = _OPTIMIZE,
    preview_every: int | None = None,
    checkpoint: Annotated[str, Writes(CHECKPOINT, unless="resume")] | None = None,
    resume: bool = False,
    engine: EngineOptions = _ENGINE,
    report: ReportFile | None = None,
    overwrite: bool = False,
    quality: int = 95,
    metadata: bool = True,
    keep_location: bool = False,
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
        allow_unknown_model: Admit a weights file of your own that is not in the list of known models.
        mask: Mask: a picture that says where the style applies: white is stylized, black stays exactly as it is.
        mask_label: Label: the value of the mask that is stylized, where it is a picture of labels.
        preview_every: Preview interval of the optimization: a preview is written beside the output after so many steps.
        checkpoint: Checkpoint of the optimization: a file that holds all that is needed to go on.
        resume: Resume the optimization from the checkpoint.
        report: Report: what the run did (settings, sizes, warnings), as a JSON file.
        overwrite: Replace what exists, each file by one of its kind; a checkpoint only if it is of this very run.
        quality: Quality of JPEG, WebP, AVIF and JPEG XL, 1 to 100.
        metadata: Metadata: keep the content's EXIF and XMP, without location, serial numbers and thumbnail.
        keep_location: Keep in them where the content was taken.
        quiet: Show neither progress nor result.
    """
    from styleplugin.api import stylize
    from styleplugin.files import atomic_write
    from styleplugin.images.small import check_output, check_quality, check_size, read_image

    check_quality(quality)
    parts = [parse_style_weight(text) for text in [*([style_picture] if style_picture else []), *style]]
    if not parts:
        raise UsageError("SP109", "No style was given; one is needed.", "styleplugin stylize PHOTO PAINTING -o OUT.png")
    if len(region) > len(parts):
        raise UsageError(
            "SP129", f"{len(region)} regions were given for {len(parts)} styles.", "Give one --region for each style."
        )
    if len(style_mask) > len(parts):
        raise UsageError(
            "SP129",
            f"{len(style_mask)} style masks were given for {len(parts)} styles.",
            "Give one --style-mask for each style.",
        )
    for i, path in enumerate(region):
        parts[i] = dataclasses.replace(parts[i], region=None if path == "-" else path)
    for i, path in enumerate(style_mask):
        parts[i] = dataclasses.replace(parts[i], mask=None if path == "-" else path)
    check_output(output, overwrite=overwrite)
    if method != "optimization":
        _refuse_optimization(optimization, preview_every=preview_every, checkpoint=checkpoint, resume=resume)
    photo = read_image(content, max_megapixels=engine.max_megapixels)
    check_size(output, photo.size)
    asked: dict[str, Any] = {"model": model, "allow_unknown_model": allow_unknown_model}
    asked |= {"mask": mask, "label": mask_label}
    asked |= _values(picture) | _values(engine)
    stopped = None
    with _progress(quiet) as on_step:
        if method == "optimization":
            asked |= _values(optimization) | {"checkpoint": checkpoint, "resume": resume, "overwrite": overwrite}
            result, stopped = _optimized(photo, parts, _preview(output), preview_every, on_step, **asked)
        else:
            result = stylize(photo, parts, method=method, on_step=on_step, **asked)
    result.save(output, overwrite=overwrite, quality=quality, metadata=metadata, keep_location=keep_location)
    if report:
        with atomic_write(report) as file:
            file.write(result.report.to_json().encode())
    if stopped:
        raise Cancelled(f"{stopped} {output} holds the best picture so far.")
    height, width = result.report.content_size
    _say(f"{output}  {width} x {height}  {result.report.seconds['total']:.1f} s", quiet)


def _optimized(
    content: Picture,
    style: Sequence[StyleWeight],
    preview: Path,
    preview_every: int | None,
    on_step: OnStep,
    *,
    model: str | None,
    **options: Any,
) -> tuple[Result, str | None]:
    """Run an optimization; returns its result, and where it was stopped, if the user stopped it."""
    from styleplugin.api import refuse_model
    from styleplugin.optimize import Optimization

    refuse_model(model)
    if preview_every is not None and preview_every < 1:
        raise UsageError("SP101", f"--preview-every was {preview_every}; it must be at least 1.")
    stage = "start"
    run = Optimization(content, style, on_step=lambda done, total, _: on_step(done, total, stage), **options)
    try:
        for progress in run:
            stage = f"loss {progress.losses.total:.4g}"
            if preview_every is not None and progress.step % preview_every == 0 and progress.step < progress.steps:
                run.result().save(preview, overwrite=True, metadata=False)
    except (KeyboardInterrupt, Cancelled):
        if not run.steps_done:
            raise
        run.save()
        return run.result(), f"Stopped after {run.steps_done} of {run.options.steps} steps."
    return run.result(), None


def _refuse_optimization(options: OptimizeOptions, **others: Any) -> None:
    """Raise SP153 for options that only the optimization has."""
    given = [name for name, value in _values(options).items() if value != getattr(_OPTIMIZE, name)]
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
    model: ModelSource | None = None,
    allow_unknown_model: bool = False,
    method: Method | None = None,
    style_scale: float = 1.0,
    mask: Input | None = None,
    mask_label: int | None = None,
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
        allow_unknown_model: Admit a weights file of your own that is not in the list of known models.
        method: Method: wct (the default), adain, kbstyle or photorealistic, where no model is named.
        style_scale: Style scale: size of the style picture relative to itself; larger gives larger strokes.
        mask: Mask: a picture that says which part of the style picture counts: white does, black does not.
        mask_label: Label: the value of the mask that counts, where it is a picture of labels.
        trim_style: Trim the style picture: uniform borders (black bars, frames, margins) are left out.
        overwrite: Replace an existing file.
        quiet: Show neither progress nor result.
    """
    from styleplugin.style import check_name
    from styleplugin.stylizer import choose_model, load

    check_name(output)
    StylizeOptions(style_scale=style_scale)
    stylizer = load(
        model or choose_model(method or "wct", ()), allow_unknown_model=allow_unknown_model, **_values(engine)
    )
    with _progress(quiet) as on_step:
        prepared = stylizer.prepare(
            picture, mask=mask, label=mask_label, style_scale=style_scale, trim_style=trim_style, on_step=on_step
        )
    for note in prepared.warnings:
        warnings.warn(note, StylePluginWarning, stacklevel=1)
    prepared.save(output, overwrite=overwrite)
    _say(f"{output}  {Path(output).stat().st_size / 1000:.0f} kB  for {prepared.model}", quiet)


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
    model: ModelSource | None = None,
    allow_unknown_model: bool = False,
    mask: Input | None = None,
    mask_label: int | None = None,
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
        allow_unknown_model: Admit a weights file of your own that is not in the list of known models.
        mask: Mask: a picture that says what is stylized and what the look is fitted to: white counts, black does not.
        mask_label: Label: the value of the mask that counts, where it is a picture of labels.
        report: Report: how far the look is from the stylization, as a JSON file.
        error_map: Error map: where it differs, as a picture; white is a color difference of 10.
        overwrite: Replace existing files.
        quiet: Show neither progress nor result.
    """
    from styleplugin.api import stylize
    from styleplugin.export import fit_look
    from styleplugin.files import atomic_write, has_suffix
    from styleplugin.images.looks.read import CUBE_SUFFIX
    from styleplugin.images.looks.table import check_size
    from styleplugin.images.small import check_output, read_image

    if not has_suffix(output, CUBE_SUFFIX):
        raise UsageError("SP111", f"A look's name ends in .cube; the name was {output!r}.", "Change the name.")
    check_size(size)
    for other in (hald, error_map):
        if other:
            check_output(other, overwrite=overwrite)
    photo = read_image(content, max_megapixels=engine.max_megapixels)
    with _progress(quiet) as on_step:
        result = stylize(
            photo,
            style_picture,
            mask=mask,
            label=mask_label,
            method=method or (None if model else "photorealistic"),
            model=model,
            allow_unknown_model=allow_unknown_model,
            on_step=on_step,
            **_values(picture),
            **_values(engine),
        )
    title = Path(style_picture).stem
    look = fit_look(photo, result.picture, mask=mask, label=mask_label, size=size, title=title)
    look.save(output, overwrite=overwrite)
    if hald:
        look.save(hald, overwrite=overwrite)
    if error_map:
        look.save_error_map(error_map, overwrite=overwrite)
    if report:
        with atomic_write(report) as file:
            file.write(look.report.to_json().encode())
    _say(f"{output}  {look.report}", quiet)


@command(look_app, "apply")
def look_apply(
    content: Positional[Input],
    look: Positional[Input],
    /,
    *,
    output: OutputPicture,
    strength: float = 1.0,
    overwrite: bool = False,
    quality: int = 95,
    max_megapixels: float = _ENGINE.max_megapixels,
    metadata: bool = True,
    keep_location: bool = False,
    quiet: bool = False,
) -> None:
    """Give a picture the colors of a look: a .cube file, a HALD picture, or 8 x 8 squares of 64 x 64.

    Args:
        content: The picture.
        look: The look.
        output: Where the result goes; the extension decides the format.
        strength: Look strength: 0 keeps the picture, 1 is the full look.
        overwrite: Replace an existing output.
        quality: Quality of JPEG, WebP, AVIF and JPEG XL, 1 to 100.
        max_megapixels: Pixel limit: most million pixels of the picture; a larger one is refused.
        metadata: Metadata: keep the content's EXIF and XMP, without location, serial numbers and thumbnail.
        keep_location: Keep in them where the content was taken.
        quiet: Do not show the result.
    """
    import torch

    from styleplugin.images.looks.read import read_lut
    from styleplugin.images.small import check_output, check_quality, read_image, write_image

    StylizeOptions(strength=strength)
    check_quality(quality)
    EngineOptions(max_megapixels=max_megapixels)
    check_output(output, overwrite=overwrite)
    lut, picture = read_lut(look), read_image(content, max_megapixels=max_megapixels)
    for name, notes in (("content", picture.warnings), ("look", lut.warnings)):
        for note in notes:
            warnings.warn(f"{name}: {note}", StylePluginWarning, stacklevel=1)
    rgb = torch.lerp(picture.rgb, lut.apply(picture.rgb), strength)
    write_image(
        dataclasses.replace(picture, rgb=rgb),
        output,
        overwrite=overwrite,
        quality=quality,
        metadata=metadata,
        keep_location=keep_location,
    )
    _say(f"{output}  {picture.width} x {picture.height}", quiet)


def run(args: Sequence[str]) -> int:
    """Run one command and return the exit code: 0, or that of the error (see `styleplugin.errors`)."""
    open_streams()
    if list(args) == ["--version"]:
        say(f"styleplugin {__version__}")
        return 0
    _stop_on_sigterm()
    with warnings.catch_warnings():
        warnings.simplefilter("always", StylePluginWarning)
        warnings.showwarning = _show_warning
        try:
            _parse(list(args))()
        except StylePluginError as error:
            return _fail(error)
        except KeyboardInterrupt:
            return _fail(Cancelled())
        except Exception as error:  # the outermost layer: nothing else may reach the user
            say("".join(traceback.format_exception(error)), sys.stderr)
            say(f"styleplugin: unexpected {type(error).__name__}; please report it with the lines above.", sys.stderr)
            return 1
    return 0


def _parse(args: list[str]) -> Callable[[], None]:
    """Return the work that a command line asks for."""
    # A command cannot be a group and take a recipe as well.
    if args[:2] == ["train", "new"]:
        return tyro.cli(parsed(train_new), prog="styleplugin train new", args=args[2:])
    return app.cli(args=args, prog="styleplugin", description=_ABOUT)


def _fail(error: StylePluginError) -> int:
    say(f"styleplugin: {error.code}: {in_command_words(str(error))}", sys.stderr)
    return error.exit_code


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, StylePluginWarning):
        with tqdm.external_write_mode(file=sys.stderr):
            say(f"styleplugin: warning: {in_command_words(str(message))}", sys.stderr)


def _stop_on_sigterm() -> None:
    def stop(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Cancelled("Stopped by a signal.")

    signal.signal(signal.SIGTERM, stop)


def _values(options: Any) -> dict[str, Any]:
    return {f.name: getattr(options, f.name) for f in dataclasses.fields(options)}


def _say(text: str, quiet: bool) -> None:
    if not quiet:
        say(text)


@contextlib.contextmanager
def _progress(quiet: bool) -> Iterator[OnStep]:
    """Show a bar that the engine's `on_step` moves; none where standard error is no terminal."""
    layout = "{desc:16}{bar} {percentage:3.0f}% [{elapsed}<{remaining}]"
    with tqdm(total=1.0, disable=True if quiet else None, leave=False, bar_format=layout) as bar:

        def on_step(done: float, total: float, stage: str) -> None:
            bar.set_description_str(stage, refresh=False)
            bar.update(done / total - bar.n if total else 0)

        yield on_step
