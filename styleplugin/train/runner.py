"""From a recipe to a weights file: which kind of run, in which folder, beginning with what."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from styleplugin.errors import UsageError
from styleplugin.files import atomic_write
from styleplugin.train.bundles import run_bundle
from styleplugin.train.config import (
    AnyRecipe,
    BundleRecipe,
    KBRecipe,
    MetricRecipe,
    PhotoRecipe,
    Recipe,
    RunRecipe,
    read_recipe,
)
from styleplugin.train.kb_run import KBRun
from styleplugin.train.lock import locked
from styleplugin.train.metric_run import run_metrics
from styleplugin.train.pair_run import PairRun
from styleplugin.train.phases import identity_of
from styleplugin.train.photo_run import PhotoRun
from styleplugin.train.state import check_identity


def run(
    recipe: str | Path | AnyRecipe,
    out: str | Path,
    *,
    resume: bool = False,
    teacher: str | None = None,
    device: str = "auto",
    photos: str | Path | None = None,
    paintings: str | Path | None = None,
    teachers: str | Path | None = None,
    seconds: float | None = None,
    on_event: Callable[[dict[str, Any]], None] | None = None,
) -> Path:
    """Train what a recipe describes.

    Args:
        recipe: TOML file or recipe.
        out: Folder of the run; gets pair.safetensors (student.safetensors for photographs and KBStyle,
            metrics.safetensors), the results of the phases,
            log.jsonl, loss.png and sheets/.
        resume: Go on with the run in `out`.
        teacher: `file:PATH` or `hub:...` of a full VGG-19 instead of the recipe's.
        device: auto, cpu, cuda or mps.
        photos: Folder or tar of the contents instead of the recipe's.
        paintings: Folder or tar of the styles instead of the recipe's.
        teachers: Folder of the teacher's files instead of the recipe's.
        seconds: Choose the steps of each phase so that the run takes this long. Such a run depends on the machine's
            speed; the card says how many steps it took.
        on_event: Gets every row of the log.

    Returns:
        The weights file.

    Raises:
        UsageError: SP120 to SP126 the recipe, SP130 to SP132 the pictures, SP140 the folder holds a run and `resume`
            is not set, SP142 another process trains there.
        WeightsError: The teacher is missing or not the recipe's.
        CheckpointError: SP801 to SP805, the state in `out` does not fit.
        NumericalError: SP710, the training diverged.
        Cancelled: After SIGINT or SIGTERM; a checkpoint is written.
    """
    out = Path(out)
    if isinstance(recipe, (str, Path)):
        path = Path(recipe)
        recipe = read_recipe(path)
    else:
        path = Path()
    options = {"teacher": teacher, "device": device, "photos": photos, "paintings": paintings}
    options |= {"teachers": teachers, "on_event": on_event}
    if isinstance(recipe, BundleRecipe):
        return run_bundle(recipe, path.parent, out, lambda r, o: run(r, o, resume=True, seconds=seconds, **options))
    recipe = replace(
        recipe,
        data=replace(
            recipe.data,
            photos=str(photos or recipe.data.photos),
            paintings=str(paintings or recipe.data.paintings),
        ),
        teacher=replace(
            recipe.teacher, root=str(teachers or recipe.teacher.root), source=teacher or recipe.teacher.source
        ),
    )
    start = recipe
    if isinstance(recipe, Recipe) and recipe.grow_from:
        earlier = read_recipe(recipe.grow_from)
        assert isinstance(earlier, Recipe)
        folder = out.parent / earlier.name
        if not (folder / "pair.safetensors").exists():
            run(earlier, folder, resume=True, seconds=seconds, **options)
        start = _growing(recipe, earlier, folder)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        _check_folder(recipe, out, resume)
        if isinstance(recipe, MetricRecipe):
            return run_metrics(recipe, out, device, on_event)
        if isinstance(recipe, KBRecipe):
            return KBRun(recipe, out, device, seconds, on_event).train()
        if isinstance(recipe, PhotoRecipe):
            return PhotoRun(recipe, out, device, seconds, on_event).train()
        assert isinstance(start, Recipe)
        return PairRun(recipe, out, device, seconds, on_event, start=start).train()


def _growing(recipe: Recipe, earlier: Recipe, folder: Path) -> Recipe:
    """Return a recipe whose phases begin with the results of an earlier run, as far as the widths agree."""
    sources = {"teacher_decoder": "teacher_decoder"}
    widths = earlier.student.widths
    if recipe.student.widths[: len(widths)] == widths:
        sources |= {"student_encoder": "student_pair", "student_decoder": "student_pair"}
    phases = {
        phase: replace(recipe.phase(phase), init=str(folder / f"{source}.safetensors"))
        for phase, source in sources.items()
        if not recipe.phase(phase).init
    }
    return replace(recipe, **phases)


def _check_folder(recipe: RunRecipe | MetricRecipe, out: Path, resume: bool) -> None:
    path = out / "recipe.json"
    if path.exists():
        if not resume:
            raise UsageError("SP140", f"{out} holds a run already.", "Use --resume, or choose another folder.")
        check_identity(identity_of(json.loads(path.read_text())), identity_of(recipe.to_dict()))
    with atomic_write(path) as file:
        file.write(json.dumps(recipe.to_dict(), indent=1).encode())
