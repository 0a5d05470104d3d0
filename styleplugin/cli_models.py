"""The commands around models: list, check, import, share, and train them."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, UseAppendAction, arg
from tyro.extras import SubcommandApp

from styleplugin.cli_output import answer, say
from styleplugin.cli_parser import command
from styleplugin.cli_paths import FOLDER, Folder, Input, ModelSource
from styleplugin.kinds import RECIPE, WEIGHTS
from styleplugin.paths import Writes, Written, check_paths

# torch is imported inside the commands: --help must not wait for it.

models_app = SubcommandApp()
import_app = SubcommandApp()
models_app.command(import_app, name="import")


@command(models_app, "list")
def models_list() -> None:
    """List the embedded models."""
    from styleplugin.zoo import list_models

    for entry in list_models():
        answer(f"{entry.name:20} {entry.method:15} {entry.description}")


@command(models_app, "info")
def models_info(name: Positional[ModelSource], /) -> None:
    """Show what is known about a model, as JSON.

    Args:
        name: Name, path or source.
    """
    from styleplugin.zoo import load

    answer(json.dumps(dataclasses.asdict(load(name)[1]), indent=2, sort_keys=True))


@command(models_app, "verify")
def models_verify(name: Positional[ModelSource], /) -> None:
    """Check a model's file: hash, header, values, and a run on a small picture.

    Args:
        name: Name, path or source.
    """
    from styleplugin.zoo import verify

    info = verify(name)
    answer(f"{info.name}: {info.parameters:,} parameters, sha256 {info.sha256}: as it should be")


@command(models_app, "pull")
def models_pull(
    source: Positional[str],
    /,
    *,
    output: Annotated[str | None, FOLDER, arg(aliases=["-o"])] = None,
    overwrite: bool = False,
    timeout: float = 60,
) -> None:
    """Download a model of the Hub, check it, and print where it is.

    Args:
        source: hub:OWNER/REPO@REVISION/FILE, with #SHA256 behind it if you have it.
        output: Folder for a copy; by default it stays in the client's cache, where every command finds it.
        overwrite: Replace another file of the same name.
        timeout: Timeout: seconds for the whole download.
    """
    from styleplugin.zoo import pull

    say(str(pull(source, output, overwrite=overwrite, timeout_s=timeout)))


@command(models_app, "publish")
def models_publish(
    file: Positional[Input],
    repo: Positional[str],
    /,
    *,
    picture: UseAppendAction[tuple[Input, ...]] = (),
    private: bool = False,
    timeout: float = 600,
) -> None:
    """Upload a student that passed its quality gate to the Hub, with a model card, and print its pinned source.

    Args:
        file: A weights file of a training run.
        repo: OWNER/REPO; it is made if there is none.
        picture: A JPEG or PNG file for the card; give it several times. By default the run's newest contact sheet.
        private: Make a new repository private.
        timeout: Timeout: seconds for the whole upload.
    """
    from styleplugin.publishing import publish

    say(publish(file, repo, pictures=picture, private=private, timeout_s=timeout))


@command(import_app, "collaborative-distillation")
def import_collaborative_distillation(
    folder: Positional[Input], /, *, output: Folder, compact: bool = False, overwrite: bool = False
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

    path = Path(output) / f"cd-wct.released{'-compact' if compact else ''}.safetensors"
    _make_room(folder, [path], overwrite)
    model, metadata = importer.import_collaborative_distillation(folder, compact=compact)
    save_model(path, model, license=metadata["license"], card=metadata.get("card"), overwrite=overwrite)
    say(f"{path}\nUse it with: styleplugin stylize PHOTO PAINTING -o OUT.png --allow-unknown-model --model file:{path}")


@command(import_app, "pca-distillation")
def import_pca_distillation(folder: Positional[Input], /, *, output: Folder, overwrite: bool = False) -> None:
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
    paths = [Path(output) / f"pca-photo.{backbone}.released.safetensors" for backbone in backbones]
    _make_room(folder, paths, overwrite)
    for backbone, path in zip(backbones, paths, strict=True):
        model, metadata = importer.import_pca_distillation(folder, backbone)
        save_model(path, model, license=metadata["license"], card=metadata["card"], overwrite=overwrite)
        say(
            f"{path}\nUse it with: styleplugin stylize PHOTO STYLE -o OUT.png --allow-unknown-model --model file:{path}"
        )


@command(import_app, "adain")
def import_adain(file: Positional[Input], /, *, output: Folder, overwrite: bool = False) -> None:
    """Convert AdaIN's own pair, the whole VGG-19 up to relu4_1 and its decoder, from 8-bit integers with scales.

    Args:
        file: A safetensors file of the quantized pair.
        output: Folder for the converted model.
        overwrite: Replace an existing file.
    """
    from styleplugin.importers import adain as importer
    from styleplugin.registry import save_model

    path = Path(output) / "adain.released.safetensors"
    _make_room(file, [path], overwrite)
    model, metadata = importer.import_adain(file)
    save_model(path, model, license=metadata["license"], card=metadata["card"], overwrite=overwrite)
    say(f"{path}\nUse it with: styleplugin stylize PHOTO PAINTING -o OUT.png --allow-unknown-model --model file:{path}")


def _make_room(read: str, paths: Sequence[Path], overwrite: bool) -> None:
    """Check where converted models go, all in one folder, which is made."""
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    check_paths([read], [Written(path, WEIGHTS, overwrite) for path in paths])


def train_command(
    recipe: Positional[Input],
    /,
    *,
    out: Annotated[str, FOLDER] | None = None,
    resume: bool = False,
    minutes: float | None = None,
    plan: bool = True,
    teacher: ModelSource | None = None,
    photos: UseAppendAction[tuple[Input, ...]] = (),
    paintings: UseAppendAction[tuple[Input, ...]] = (),
    teachers: Input | None = None,
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
        teacher: Teacher in place of the recipe's: a model by name, or a VGG-19 or MobileNet as file:PATH or
            hub:OWNER/REPO@REVISION/FILE.
        photos: Folder or tar of the photographs in place of the recipe's; give it several times for several.
        paintings: Folder or tar of the artworks in place of the recipe's; give it several times for several.
        teachers: Folder of the teacher's files in place of the recipe's.
        device: Device: auto, cpu, cuda, cuda:1 or mps.
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
        on_plan=(lambda ahead: say(str(ahead))) if plan else None,
    )
    say(str(weights))


def train_new(
    *,
    output: Annotated[str, arg(aliases=["-o"]), Writes(RECIPE)] = "recipe.toml",
    method: Literal["wct", "adain", "photorealistic", "kbstyle", "encoder"] | None = None,
    photos: UseAppendAction[tuple[Input, ...]] = (),
    paintings: UseAppendAction[tuple[Input, ...]] = (),
    teacher: ModelSource | None = None,
    minutes: float | None = None,
    name: str | None = None,
    width: float | None = None,
    levels: tuple[int, ...] = (),
    backbone: Literal["vgg", "mobilenet"] = "vgg",
    importance: Literal["l1", "activation", "reconstruction", "random", "spp", "increg", "greg"] = "activation",
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
        method: Method: wct, adain, photorealistic, kbstyle, or encoder (for the optimization).
        photos: Folder or tar of photographs; give it several times for several.
        paintings: Folder or tar of artworks, likewise; for wct photographs do as well, and are taken without it.
        teacher: Teacher: a model by name, or a VGG-19 or MobileNet as file:PATH or hub:OWNER/REPO@REVISION/FILE.
        minutes: Time budget.
        name: Name of the result.
        width: Width: channels of the student relative to VGG-19, 0.25 by default, which makes it 16 times smaller; for
            photorealistic and kbstyle relative to the papers' students, 1 by default.
        levels: Levels: for WCT some of 1 to 5; AdaIN: 4, or 3, which is quicker; encoder: the deepest.
        backbone: Backbone of the photorealistic method: vgg or mobilenet.
        importance: Importance criterion for pruning: what the student starts from.
        gpu: Presets for a GPU: larger crops and batches.
        crop: Crop size: side of the training crops in pixels, a multiple of 16; 0 takes the usual one.
        batch: Batch size: crops of a step; 0 takes the usual number.
        license: License of the result, as far as pictures and teacher allow.
        overwrite: Replace an existing recipe.
    """
    from styleplugin.files import atomic_write
    from styleplugin.train.presets import new_recipe
    from styleplugin.train.toml import recipe_text

    method = method or _ask("method (wct, adain, photorealistic, kbstyle, encoder)", "--method", "adain")  # type: ignore[assignment]
    photos = photos or (_ask("folder or tar of photographs", "--photos", "photos"),)
    if method in ("adain", "kbstyle", "encoder"):
        paintings = paintings or (_ask("folder or tar of artworks", "--paintings", "paintings"),)
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
        paintings=paintings or (photos if method == "wct" else ("paintings",)),
        minutes=minutes or float(_ask("minutes", "--minutes", "30")),
        importance=importance,
        gpu=gpu,
        crop=crop,
        batch=batch,
        license=license,
    )
    with atomic_write(output) as file:
        file.write(recipe_text(recipe).encode())
    say(f"{output}\nTrain it with: styleplugin train {output}")


def _ask(what: str, option: str, default: str) -> str:
    """Ask on the terminal; where there is none, take the default."""
    if not sys.stdin.isatty():
        say(f"{option} {default}")
        return default
    return input(f"{what} [{default}]: ").strip() or default


def _show_event(row: dict[str, Any]) -> None:
    """Print a row of a run's log for people."""
    from styleplugin.train.plan import duration

    if "loss" in row:
        place = f"{row['run']} {row['phase']} {row['step']}/{row['steps']}"
        speed = f"{row['images_per_s']:.1f} pictures/s  {duration(row['seconds_left'])} left"
        say(f"{place}  loss {row['loss']:.4g}  {speed}")
        return
    cells = [f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in row.items()]
    say("  " + "  ".join(cells))
