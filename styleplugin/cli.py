"""The command line, generated from the option classes. Only this room prints and exits."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tqdm import tqdm
from tyro.conf import OmitArgPrefixes, Positional, UseAppendAction, arg
from tyro.extras import SubcommandApp

from styleplugin.errors import Cancelled, StylePluginError, StylePluginWarning, UsageError
from styleplugin.options import EngineOptions, Method, OptimizeOptions, StyleWeight, StylizeOptions, parse_style_weight

if TYPE_CHECKING:
    from styleplugin.engine.stream import OnStep
    from styleplugin.job import Result

# torch is imported inside the commands: --help must not wait for it.

app = SubcommandApp()
style_app = SubcommandApp()
models_app = SubcommandApp()
import_app = SubcommandApp()
look_app = SubcommandApp()
app.command(style_app, name="style")
app.command(look_app, name="look")
app.command(models_app, name="models")
models_app.command(import_app, name="import")

Output = Annotated[str, arg(aliases=["-o"])]

_STYLIZE, _ENGINE, _OPTIMIZE = StylizeOptions(), EngineOptions(), OptimizeOptions()


@app.command(name="stylize")
def stylize_command(
    content: Positional[str],
    style_picture: Positional[str | None] = None,
    /,
    *,
    output: Output,
    style: UseAppendAction[tuple[str, ...]] = (),
    region: UseAppendAction[tuple[str, ...]] = (),
    method: Method | None = None,
    model: str | None = None,
    allow_unknown_model: bool = False,
    mask: str | None = None,
    options: OmitArgPrefixes[StylizeOptions] = _STYLIZE,
    optimize: OmitArgPrefixes[OptimizeOptions] = _OPTIMIZE,
    preview_every: int | None = None,
    checkpoint: str | None = None,
    resume: bool = False,
    engine: OmitArgPrefixes[EngineOptions] = _ENGINE,
    report: str | None = None,
    overwrite: bool = False,
    quality: int = 95,
    quiet: bool = False,
) -> None:
    """Stylize a picture: CONTENT in the style of one or several pictures or style files.

    Args:
        content: The picture to stylize.
        style_picture: The style: a picture, or a style file made by `style save`.
        output: Where the result goes; the extension decides the format (.png, .jpg, .webp, .tif, .bmp).
        style: A style with its weight, PATH:WEIGHT; give it several times to mix styles.
        region: A picture that says where the first style goes; give it again for the second, and so on, and `-` for a
            style without a region: these are mixed everywhere else.
        method: wct (the default), adain, kbstyle, photorealistic or optimization.
        model: Name or source of a model: cd-wct.x16, file:PATH, hub:OWNER/REPO@REVISION/FILE.
        allow_unknown_model: Admit a weights file of your own that is not in the list of known models.
        mask: A picture that says where the style applies: white is stylized, black stays exactly as it is.
        preview_every: Optimization: write a preview beside the output after every so many steps.
        checkpoint: Optimization: a file that holds all that is needed to go on.
        resume: Optimization: go on from the checkpoint.
        report: Write what the run did (settings, sizes, times, warnings) to this JSON file.
        overwrite: Replace an existing output.
        quality: 1 to 100, for JPEG and WebP.
        quiet: Show neither progress nor result.
    """
    from styleplugin.api import stylize
    from styleplugin.files import atomic_write, check_target
    from styleplugin.images.small import check_output

    parts = [parse_style_weight(text) for text in [*([style_picture] if style_picture else []), *style]]
    if not parts:
        raise UsageError("SP109", "No style was given; one is needed.", "styleplugin stylize PHOTO PAINTING -o OUT.png")
    if len(region) > len(parts):
        raise UsageError(
            "SP129", f"{len(region)} regions were given for {len(parts)} styles.", "Give one --region for each style."
        )
    for i, path in enumerate(region):
        parts[i] = dataclasses.replace(parts[i], region=None if path == "-" else path)
    inputs = [content, *(part.style for part in parts), *([mask] if mask else []), *region]
    check_output(output, overwrite=overwrite, inputs=inputs)
    if report:
        check_target(report, overwrite=True)
    if method != "optimization":
        _refuse_optimization(optimize, preview_every=preview_every, checkpoint=checkpoint, resume=resume)
    asked: dict[str, Any] = {"model": model, "allow_unknown_model": allow_unknown_model, "mask": mask}
    asked |= _values(options) | _values(engine)
    stopped = None
    with _progress(quiet) as on_step:
        if method == "optimization":
            asked |= _values(optimize) | {"checkpoint": checkpoint, "resume": resume}
            result, stopped = _optimized(content, parts, Path(output), preview_every, on_step, **asked)
        else:
            result = stylize(content, parts, method=method, on_step=on_step, **asked)
    result.save(output, overwrite=overwrite, quality=quality)
    if report:
        with atomic_write(report) as file:
            file.write(result.report.to_json().encode())
    if stopped:
        raise Cancelled(f"{stopped} {output} holds the best picture so far.")
    height, width = result.report.content_size
    _say(f"{output}  {width} x {height}  {result.report.seconds['total']:.1f} s", quiet)


def _optimized(
    content: str,
    style: Sequence[StyleWeight],
    output: Path,
    preview_every: int | None,
    on_step: OnStep,
    *,
    model: str | None,
    **options: Any,
) -> tuple[Result, str | None]:
    """Run an optimization; returns its result, and where it was stopped, if the user stopped it."""
    from styleplugin.api import refuse_model
    from styleplugin.images.small import check_output
    from styleplugin.optimize import Optimization

    refuse_model(model)
    preview = output.with_suffix(f".preview{output.suffix}")
    if preview_every is not None:
        if preview_every < 1:
            raise UsageError("SP101", f"--preview-every was {preview_every}; it must be at least 1.")
        check_output(preview, overwrite=True, inputs=[])
    stage = "start"
    run = Optimization(content, style, on_step=lambda done, total, _: on_step(done, total, stage), **options)
    try:
        for progress in run:
            stage = f"loss {progress.losses.total:.4g}"
            if preview_every is not None and progress.step % preview_every == 0 and progress.step < progress.steps:
                run.result().save(preview, overwrite=True)
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


@style_app.command(name="save")
def style_save(
    picture: Positional[str],
    /,
    *,
    output: Output,
    model: str | None = None,
    allow_unknown_model: bool = False,
    method: Method | None = None,
    style_scale: float = 1.0,
    engine: OmitArgPrefixes[EngineOptions] = _ENGINE,
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Measure a style picture and save it as a small style file that needs no picture any more.

    Args:
        picture: The style picture.
        output: Name of the style file, ending in .safetensors.
        model: Model the style is for; it fits every model with the same encoders.
        allow_unknown_model: Admit a weights file of your own that is not in the list of known models.
        method: wct (the default), adain, kbstyle or photorealistic, where no model is named.
        style_scale: Size of the style picture relative to itself; larger gives larger strokes.
        overwrite: Replace an existing file.
        quiet: Show neither progress nor result.
    """
    from styleplugin.files import check_target
    from styleplugin.stylizer import choose_model, load

    check_target(output, overwrite=overwrite)
    StylizeOptions(style_scale=style_scale)
    stylizer = load(
        model or choose_model(method or "wct", ()), allow_unknown_model=allow_unknown_model, **_values(engine)
    )
    with _progress(quiet) as on_step:
        prepared = stylizer.prepare(picture, style_scale=style_scale, on_step=on_step)
    for note in prepared.warnings:
        warnings.warn(note, StylePluginWarning, stacklevel=1)
    prepared.save(output, overwrite=overwrite)
    _say(f"{output}  {Path(output).stat().st_size / 1000:.0f} kB  for {prepared.model}", quiet)


@look_app.command(name="export")
def look_export(
    content: Positional[str],
    style_picture: Positional[str],
    /,
    *,
    output: Output,
    size: int = 33,
    hald: str | None = None,
    method: Method | None = None,
    model: str | None = None,
    allow_unknown_model: bool = False,
    options: OmitArgPrefixes[StylizeOptions] = _STYLIZE,
    engine: OmitArgPrefixes[EngineOptions] = _ENGINE,
    report: str | None = None,
    error_map: str | None = None,
    overwrite: bool = False,
    quiet: bool = False,
) -> None:
    """Stylize a picture and save the change of its colors as a look for Resolve, Premiere, OBS, ffmpeg.

    Args:
        content: A typical picture of what the look is for.
        style_picture: A picture with the look, or a style file.
        output: Name of the color table, ending in .cube.
        size: Nodes of an axis: 17, 33 or 65.
        hald: Write the look as a HALD picture, too (.png), for photo programs.
        method: photorealistic (the default), kbstyle, adain or wct.
        model: Name or source of a model.
        allow_unknown_model: Admit a weights file of your own that is not in the list of known models.
        report: Write how far the look is from the stylization to this JSON file.
        error_map: Write where it differs as a picture; white is a color difference of 10.
        overwrite: Replace existing files.
        quiet: Show neither progress nor result.
    """
    from styleplugin.api import stylize
    from styleplugin.export import fit_look
    from styleplugin.files import atomic_write, check_target
    from styleplugin.images.lut import check_size
    from styleplugin.images.small import check_output

    if Path(output).suffix.lower() != ".cube":
        raise UsageError("SP111", f"A look's name ends in .cube; the name was {output!r}.", "Change the name.")
    check_size(size)
    check_target(output, overwrite=overwrite)
    for picture in (hald, error_map):
        if picture:
            check_output(picture, overwrite=overwrite, inputs=[content, style_picture])
    if report:
        check_target(report, overwrite=True)
    with _progress(quiet) as on_step:
        result = stylize(
            content,
            style_picture,
            method=method or (None if model else "photorealistic"),
            model=model,
            allow_unknown_model=allow_unknown_model,
            on_step=on_step,
            **_values(options),
            **_values(engine),
        )
    look = fit_look(content, result.picture, size=size, title=Path(style_picture).stem)
    look.save(output, overwrite=overwrite)
    if hald:
        look.save(hald, overwrite=overwrite)
    if error_map:
        look.save_error_map(error_map, overwrite=overwrite)
    if report:
        with atomic_write(report) as file:
            file.write(look.report.to_json().encode())
    _say(f"{output}  {look.report}", quiet)


@look_app.command(name="apply")
def look_apply(
    content: Positional[str],
    look: Positional[str],
    /,
    *,
    output: Output,
    strength: float = 1.0,
    overwrite: bool = False,
    quality: int = 95,
    quiet: bool = False,
) -> None:
    """Give a picture the colors of a look, a .cube file or a HALD picture.

    Args:
        content: The picture.
        look: The look.
        output: Where the result goes; the extension decides the format.
        strength: 0 keeps the picture, 1 is the full look.
        overwrite: Replace an existing output.
        quality: 1 to 100, for JPEG and WebP.
        quiet: Do not show the result.
    """
    import torch

    from styleplugin.images.lut import read_lut
    from styleplugin.images.small import check_output, read_image, write_image

    StylizeOptions(strength=strength)
    check_output(output, overwrite=overwrite, inputs=[content, look])
    lut, picture = read_lut(look), read_image(content)
    for note in picture.warnings:
        warnings.warn(f"content: {note}", StylePluginWarning, stacklevel=1)
    rgb = torch.lerp(picture.rgb, lut.apply(picture.rgb), strength)
    write_image(dataclasses.replace(picture, rgb=rgb), output, overwrite=overwrite, quality=quality)
    _say(f"{output}  {picture.width} x {picture.height}", quiet)


@models_app.command(name="list")
def models_list() -> None:
    """List the embedded models."""
    from styleplugin.zoo import list_models

    for entry in list_models():
        print(f"{entry.name:20} {entry.method:15} {entry.description}")


@models_app.command(name="info")
def models_info(name: Positional[str], /) -> None:
    """Show what is known about a model, as JSON.

    Args:
        name: Name, path or source.
    """
    from styleplugin.zoo import load

    print(json.dumps(dataclasses.asdict(load(name)[1]), indent=2, sort_keys=True))


@models_app.command(name="verify")
def models_verify(name: Positional[str], /) -> None:
    """Check a model's file: hash, header, values, and a run on a small picture.

    Args:
        name: Name, path or source.
    """
    from styleplugin.zoo import verify

    info = verify(name)
    print(f"{info.name}: {info.parameters:,} parameters, sha256 {info.sha256}: as it should be")


@models_app.command(name="pull")
def models_pull(
    source: Positional[str], /, *, output: Output | None = None, overwrite: bool = False, timeout: float = 60
) -> None:
    """Download a model of the Hub, check it, and print where it is.

    Args:
        source: hub:OWNER/REPO@REVISION/FILE, with #SHA256 behind it if you have it.
        output: Folder for a copy; by default it stays in the client's cache, where every command finds it.
        overwrite: Replace another file of the same name.
        timeout: Seconds for the whole download.
    """
    from styleplugin.zoo import pull

    print(pull(source, output, overwrite=overwrite, timeout_s=timeout))


@models_app.command(name="publish")
def models_publish(
    file: Positional[str],
    repo: Positional[str],
    /,
    *,
    picture: UseAppendAction[tuple[str, ...]] = (),
    private: bool = False,
    timeout: float = 600,
) -> None:
    """Upload a student that passed its quality gate to the Hub, with a model card, and print its pinned source.

    Args:
        file: A weights file of a training run.
        repo: OWNER/REPO; it is made if there is none.
        picture: A JPEG or PNG file for the card; give it several times. By default the run's newest contact sheet.
        private: Make a new repository private.
        timeout: Seconds for the whole upload.
    """
    from styleplugin.publishing import publish

    print(publish(file, repo, pictures=picture, private=private, timeout_s=timeout))


@import_app.command(name="collaborative-distillation")
def import_collaborative_distillation(
    folder: Positional[str], /, *, output: Output, compact: bool = False, overwrite: bool = False
) -> None:
    """Convert the released Collaborative-Distillation students from your own clone of its repository.

    Args:
        folder: The clone.
        output: Folder for the converted model.
        compact: Remove channels that are always zero: the same pictures from a smaller, faster model.
        overwrite: Replace an existing file.
    """
    from styleplugin.importers import collaborative_distillation as importer
    from styleplugin.registry import save_model

    model, metadata = importer.import_collaborative_distillation(folder, compact=compact)
    path = Path(output) / f"cd-wct.released{'-compact' if compact else ''}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_model(path, model, license=metadata["license"], card=metadata.get("card"), overwrite=overwrite)
    print(
        f"{path}\nUse it with: styleplugin stylize PHOTO PAINTING -o OUT.png --allow-unknown-model --model file:{path}"
    )


@import_app.command(name="pca-distillation")
def import_pca_distillation(folder: Positional[str], /, *, output: Output, overwrite: bool = False) -> None:
    """Convert the released photorealistic students from your own clone of their repository.

    Args:
        folder: The clone.
        output: Folder for the converted models.
        overwrite: Replace existing files.
    """
    from styleplugin.errors import WeightsError
    from styleplugin.importers import pca_distillation as importer
    from styleplugin.registry import save_model

    backbones = importer.backbones_in(folder)
    if not backbones:
        raise WeightsError(
            "SP301",
            f"{folder!r} holds no checkpoints of PCA-Knowledge-Distillation.",
            "Give the folder of a complete clone.",
        )
    Path(output).mkdir(parents=True, exist_ok=True)
    for backbone in backbones:
        model, metadata = importer.import_pca_distillation(folder, backbone)
        path = Path(output) / f"pca-photo.{backbone}.released.safetensors"
        save_model(path, model, license=metadata["license"], card=metadata["card"], overwrite=overwrite)
        print(
            f"{path}\nUse it with: styleplugin stylize PHOTO STYLE -o OUT.png --allow-unknown-model --model file:{path}"
        )


@app.command(name="train")
def train_command(
    recipe: Positional[str],
    /,
    *,
    out: str | None = None,
    resume: bool = False,
    minutes: float | None = None,
    plan: bool = True,
    teacher: str | None = None,
    photos: str | None = None,
    paintings: str | None = None,
    teachers: str | None = None,
    device: str = "auto",
) -> None:
    """Train the models of a recipe; an interrupted run goes on with --resume. `train new` writes a recipe.

    Args:
        recipe: A recipe, for example recipes/cd-wct-level3.toml.
        out: Folder of the run: checkpoints, logs, plots, contact sheets and the finished model; by default a folder of
            the recipe's name in runs.
        resume: Go on with the run in the folder.
        minutes: Time budget: the steps are chosen from measured speeds so that all takes this long.
        plan: Measure speed, memory and disk first, and print what is ahead.
        teacher: In place of the recipe's: a model by name, or a VGG-19 or MobileNet as file:PATH or
            hub:OWNER/REPO@REVISION/FILE.
        photos: Folder or tar of the photographs in place of the recipe's.
        paintings: Folder or tar of the artworks in place of the recipe's.
        teachers: Folder of the teacher's files in place of the recipe's.
        device: auto, cpu, cuda, cuda:1 or mps.
    """
    from styleplugin.train import run

    weights = run(
        Path(recipe),
        Path(out or Path("runs") / Path(recipe).stem),
        resume=resume,
        seconds=None if minutes is None else 60 * minutes,
        teacher=teacher,
        photos=photos,
        paintings=paintings,
        teachers=teachers,
        device=device,
        on_event=_show_event,
        on_plan=print if plan else None,
    )
    print(weights)


@app.command(name="train-new")
def train_new(
    *,
    output: Annotated[str, arg(aliases=["-o"])] = "recipe.toml",
    method: Literal["wct", "adain", "photorealistic", "kbstyle", "encoder"] | None = None,
    photos: str | None = None,
    paintings: str | None = None,
    teacher: str | None = None,
    minutes: float | None = None,
    name: str | None = None,
    width: float | None = None,
    levels: tuple[int, ...] = (),
    backbone: Literal["vgg", "mobilenet"] = "vgg",
    importance: Literal["l1", "activation", "random", "spp", "increg", "greg"] = "activation",
    gpu: bool = False,
    crop: int = 0,
    batch: int = 0,
    license: str = "unknown",
    overwrite: bool = False,
) -> None:
    """Write a recipe for a student of your own, with a comment for every key (`styleplugin train new`).

    What is not given is asked for on a terminal.

    Args:
        output: Name of the recipe.
        method: wct, adain, photorealistic, kbstyle, or encoder (for the optimization).
        photos: Folder or tar of photographs.
        paintings: Folder or tar of artworks.
        teacher: A model by name, or a VGG-19 or MobileNet as file:PATH or hub:OWNER/REPO@REVISION/FILE.
        minutes: Time budget.
        name: Of the result.
        width: Channels of the student relative to VGG-19, 0.25 by default, which makes it 16 times smaller; for
            photorealistic and kbstyle relative to the papers' students, 1 by default.
        levels: WCT: some of 1 to 5; AdaIN: 4, or 3, which is quicker; encoder: the deepest.
        backbone: Photorealistic: vgg or mobilenet.
        importance: What the student starts from.
        gpu: Larger crops and batches.
        crop: Side of the training crops in pixels, a multiple of 16; 0 takes the usual one.
        batch: Crops of a step; 0 takes the usual number.
        license: Of the result, as far as pictures and teacher allow.
        overwrite: Replace an existing recipe.
    """
    from styleplugin.files import atomic_write, check_target
    from styleplugin.train.presets import new_recipe
    from styleplugin.train.toml import recipe_text

    check_target(output, overwrite=overwrite)
    method = method or _ask("method (wct, adain, photorealistic, kbstyle, encoder)", "--method", "adain")  # type: ignore[assignment]
    photos = photos or _ask("folder or tar of photographs", "--photos", "photos")
    if method in ("adain", "kbstyle", "encoder"):
        paintings = paintings or _ask("folder or tar of artworks", "--paintings", "paintings")
    usual = "pca-photo.vgg" if method == "photorealistic" else "cd-adain.x16" if method == "adain" else "cd-wct.x16"
    teacher = teacher or _ask("teacher (a model, or file:PATH of a VGG-19)", "--teacher", usual)
    recipe = new_recipe(
        method,  # type: ignore[arg-type]
        name=name,
        width=width,
        levels=levels,
        backbone=backbone,
        teacher=teacher,
        photos=photos,
        paintings=paintings or "paintings",
        minutes=minutes or float(_ask("minutes", "--minutes", "30")),
        importance=importance,
        gpu=gpu,
        crop=crop,
        batch=batch,
        license=license,
    )
    with atomic_write(output) as file:
        file.write(recipe_text(recipe).encode())
    print(f"{output}\nTrain it with: styleplugin train {output}")


def _ask(what: str, option: str, default: str) -> str:
    """Ask on the terminal; where there is none, take the default."""
    if not sys.stdin.isatty():
        print(f"{option} {default}")
        return default
    return input(f"{what} [{default}]: ").strip() or default


def run(args: Sequence[str]) -> int:
    """Run one command and return the exit code: 0, or that of the error (see `styleplugin.errors`)."""
    _stop_on_sigterm()
    if list(args[:2]) == ["train", "new"]:
        # A command cannot be a group and take a recipe as well.
        args = ["train-new", *args[2:]]
    with warnings.catch_warnings():
        warnings.simplefilter("always", StylePluginWarning)
        warnings.showwarning = _show_warning
        try:
            app.cli(args=list(args), prog="styleplugin")
        except StylePluginError as error:
            return _fail(error)
        except KeyboardInterrupt:
            return _fail(Cancelled())
        except BrokenPipeError:
            # The reader of our output has gone, for example `head`; Python must not complain again at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except Exception as error:  # the outermost layer: nothing else may reach the user
            traceback.print_exc()
            print(
                f"styleplugin: unexpected {type(error).__name__}; please report it with the lines above.",
                file=sys.stderr,
            )
            return 1
    return 0


def _show_event(row: dict[str, Any]) -> None:
    """Print a row of a run's log for people."""
    from styleplugin.train.plan import duration

    if "loss" in row:
        place = f"{row['run']} {row['phase']} {row['step']}/{row['steps']}"
        speed = f"{row['images_per_s']:.1f} pictures/s  {duration(row['seconds_left'])} left"
        print(f"{place}  loss {row['loss']:.4g}  {speed}", flush=True)
        return
    cells = [f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in row.items()]
    print("  " + "  ".join(cells), flush=True)


def _fail(error: StylePluginError) -> int:
    print(f"styleplugin: {error.code}: {error}", file=sys.stderr)
    return error.exit_code


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, StylePluginWarning):
        tqdm.write(f"styleplugin: warning: {message}", file=sys.stderr)


def _stop_on_sigterm() -> None:
    def stop(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Cancelled("Stopped by a signal.")

    signal.signal(signal.SIGTERM, stop)


def _values(options: Any) -> dict[str, Any]:
    return {f.name: getattr(options, f.name) for f in dataclasses.fields(options)}


def _say(text: str, quiet: bool) -> None:
    if not quiet:
        print(text)


@contextlib.contextmanager
def _progress(quiet: bool) -> Iterator[OnStep]:
    """Show a bar that the engine's `on_step` moves; none where standard error is no terminal."""
    layout = "{desc:16}{bar} {percentage:3.0f}% [{elapsed}<{remaining}]"
    with tqdm(total=1.0, disable=True if quiet else None, leave=False, bar_format=layout) as bar:

        def on_step(done: float, total: float, stage: str) -> None:
            bar.set_description_str(stage, refresh=False)
            bar.update(done / total - bar.n if total else 0)

        yield on_step
