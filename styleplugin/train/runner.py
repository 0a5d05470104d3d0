"""From a recipe to a weights file: which runs, in which order, and what is looked at before the first of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from styleplugin.errors import UsageError
from styleplugin.guard import guarded
from styleplugin.train.loop.lock import locked
from styleplugin.train.loop.setting import Setting
from styleplugin.train.recipe.options import AnyRecipe
from styleplugin.train.recipe.places import Pictures, Places
from styleplugin.train.recipe.plan import Plan
from styleplugin.train.recipe.toml import read_recipe
from styleplugin.train.registry import run_type_of
from styleplugin.train.runs.run import Run


@guarded(gradients=True)
def run(
    recipe: str | Path | AnyRecipe,
    out: str | Path,
    *,
    resume: bool = False,
    teacher: str | None = None,
    device: str = "auto",
    photos: Pictures | None = None,
    paintings: Pictures | None = None,
    teachers: str | Path | None = None,
    seconds: float | None = None,
    on_event: Callable[[dict[str, Any]], None] | None = None,
    on_plan: Callable[[Plan], None] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    owns_process: bool = True,
) -> Path:
    """Train what a recipe describes.

    Args:
        recipe: TOML file or recipe.
        out: Folder of the run; gets pair.safetensors (student.safetensors for photographs and KBStyle,
            metrics.safetensors), the results of the phases, log.jsonl, loss.png, sheets/ and report.html; while it
            trains also best.safetensors, the best student so far.
        resume: Go on with the run in `out`.
        teacher: Instead of the recipe's: `file:PATH` or `hub:...` of a VGG-19 or a MobileNet, or one of our models.
        device: auto, cpu, cuda or mps.
        photos: Folder or tar of the contents instead of the recipe's, or several.
        paintings: Folder or tar of the styles instead of the recipe's, or several.
        teachers: Folder of the teacher's files instead of the recipe's.
        seconds: Time budget instead of the recipe's: speeds are measured first, and the steps chosen so that all takes
            this long. Such a run depends on the machine; the card says how many steps it took.
        on_event: Gets every row of the log.
        on_plan: Gets what is ahead, from measured steps, before the start.
        should_stop: Asked after every step; true stops the run with a checkpoint.
        owns_process: Whether the process does nothing else, so that its allocator may be told to keep memory.

    Returns:
        The weights file.

    Raises:
        UsageError: SP120 to SP126 the recipe, SP130 to SP135 the pictures, SP140 the folder holds a run and `resume`
            is not set, SP142 another process trains there.
        ResourceError: SP521, no room on the disk, as far as a plan was asked for.
        WeightsError: The teacher is missing or not the recipe's.
        CheckpointError: SP801 to SP805, the state in `out` does not fit.
        OutputError: SP607, the folder of the run is one that it reads from; SP602, it holds files of something else.
        NumericalError: SP710, the training diverged.
        Cancelled: After SIGINT or SIGTERM or at `should_stop`; a checkpoint is written.
    """
    recipe, out = read_recipe(recipe) if isinstance(recipe, (str, Path)) else recipe, Path(out)
    if seconds is None:
        seconds = 60 * recipe.minutes
    _make_folder(out)
    places = Places(photos=photos, paintings=paintings, teachers=teachers, teacher=teacher)
    asked = run_type_of(recipe)(recipe, out, places)
    setting = Setting(
        device=device,
        seconds=seconds or math.inf,
        on_event=on_event,
        should_stop=should_stop,
        owns_process=owns_process,
    )
    runs = in_order(asked)
    for one in runs:
        # What is trained for the one that was asked for goes on where it is.
        one.check(resume=resume or one is not asked)
    ahead = [one for one in runs if not one.is_finished]
    if on_plan or seconds:
        setting.plan = setting.workers.broadcast(_plan(ahead, setting).within(setting.seconds_left))
        setting.plan.check_disk(out)
        if on_plan and setting.workers.is_main and setting.plan.phases:
            on_plan(setting.plan)
    for one in ahead:
        with _held(one, setting):
            if setting.workers.is_main:
                one.note()
            setting.workers.wait()
            one.train(setting)
    return asked.target


def in_order(asked: Run) -> list[Run]:
    """Return a run behind all that must come before it, each once."""
    found: dict[Path, Run] = {}
    for need in asked.needs():
        found |= {run.out: run for run in in_order(need) if run.out not in found}
    return [*found.values(), asked]


def _plan(runs: Iterable[Run], setting: Setting) -> Plan:
    """Measure what is ahead."""
    plan = Plan()
    for one in runs:
        with _held(one, setting):
            plan += one.dry_run(setting)
    return plan


def _held(one: Run, setting: Setting) -> AbstractContextManager[None]:
    """Make the folder of a run, and hold its lock for the block."""
    _make_folder(one.out)
    return locked(one.out) if setting.workers.is_main else nullcontext()


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            "SP144", f"The folder {str(out)!r} cannot be made: {error.strerror}.", "Choose another folder."
        ) from error
