"""`train` and `train new`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, UseAppendAction, arg

from styleplugin.cli.output import say
from styleplugin.cli.paths import FOLDER, Input, ModelSource
from styleplugin.kinds import RECIPE
from styleplugin.paths import Writes

# torch is imported inside the commands: --help must not wait for it.


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
    method: Literal["wct", "adain", "kbstyle", "photorealistic", "encoder"] | None = None,
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
        method: Method: wct, adain, kbstyle, photorealistic, or encoder (for the optimization).
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
    from styleplugin.train import new_recipe, recipe_text
    from styleplugin.train.registry import method_of, methods

    chosen = method or _ask(f"method ({', '.join(methods())})", "--method", "adain")
    kind = method_of(chosen)
    photos = photos or (_ask("folder or tar of photographs", "--photos", "photos"),)
    if kind.needs_styles:
        paintings = paintings or (_ask("folder or tar of artworks", "--paintings", "paintings"),)
    recipe = new_recipe(
        chosen,
        name=name,
        width=width,
        levels=levels,
        backbone=backbone,
        teacher=teacher or _ask("teacher (a model, or file:PATH of a VGG-19)", "--teacher", kind.usual_teacher),
        photos=photos,
        paintings=paintings or photos,
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
    from styleplugin.train.recipe.plan import duration

    if "loss" in row:
        place = f"{row['run']} {row['phase']} {row['step']}/{row['steps']}"
        speed = f"{row['images_per_s']:.1f} pictures/s  {duration(row['seconds_left'])} left"
        say(f"{place}  loss {row['loss']:.4g}  {speed}")
        return
    cells = [f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in row.items()]
    say("  " + "  ".join(cells))
