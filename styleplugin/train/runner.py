"""From a recipe to a weights file: which runs, in which folders, beginning with what."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from styleplugin.errors import UsageError
from styleplugin.files import atomic_write
from styleplugin.guard import guarded
from styleplugin.train.evaluation.page import write_page
from styleplugin.train.loop.lock import locked
from styleplugin.train.loop.setting import Setting
from styleplugin.train.loop.state import check_identity
from styleplugin.train.recipe.config import (
    RECONSTRUCTION,
    AnyRecipe,
    BundleRecipe,
    CascadeRecipe,
    EncoderRecipe,
    KBRecipe,
    MetricRecipe,
    PhotoRecipe,
    Recipe,
)
from styleplugin.train.recipe.options import RunRecipe
from styleplugin.train.recipe.places import RECIPE, check_new, check_places
from styleplugin.train.recipe.plan import Plan
from styleplugin.train.recipe.toml import read_recipe
from styleplugin.train.runs.bundles import bundle
from styleplugin.train.runs.cascade import CascadeRun
from styleplugin.train.runs.encoder import EncoderRun
from styleplugin.train.runs.feature_metric import run_metrics
from styleplugin.train.runs.kbstyle import KBRun
from styleplugin.train.runs.pairs import PairRun
from styleplugin.train.runs.phases import PhasedRun, identity_of
from styleplugin.train.runs.photorealistic import PhotoRun

_RUNS: dict[type[RunRecipe], type[PhasedRun]] = {
    Recipe: PairRun,
    PhotoRecipe: PhotoRun,
    KBRecipe: KBRun,
    EncoderRecipe: EncoderRun,
    CascadeRecipe: CascadeRun,
}


@dataclass(frozen=True)
class _Unit:
    """One run of the job: a recipe, its folder, and the run it grows from."""

    recipe: RunRecipe
    out: Path
    earlier: _Unit | None = None
    pairs: tuple[_Unit, ...] = ()
    """Of the bundle that a cascade goes on with."""

    @property
    def target(self) -> Path:
        """The finished file."""
        return self.out / _RUNS[type(self.recipe)].target


@guarded(gradients=True)
def run(
    recipe: str | Path | AnyRecipe,
    out: str | Path,
    *,
    resume: bool = False,
    teacher: str | None = None,
    device: str = "auto",
    photos: str | Path | Sequence[str | Path] | None = None,
    paintings: str | Path | Sequence[str | Path] | None = None,
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
    out = Path(out)
    if isinstance(recipe, (str, Path)):
        recipe = read_recipe(recipe)
    if seconds is None and not isinstance(recipe, MetricRecipe) and recipe.minutes:
        seconds = 60 * recipe.minutes
    places = {"photos": photos, "paintings": paintings}, {"root": teachers, "source": teacher}
    _make_folder(out)
    if isinstance(recipe, MetricRecipe):
        metrics: MetricRecipe = _placed(recipe, *places)
        check_places(metrics, out)
        with locked(out):
            _check_folder(metrics, out, resume)
            return run_metrics(metrics, out, device, on_event)
    setting = Setting(
        device=device,
        seconds=seconds or math.inf,
        on_event=on_event,
        should_stop=should_stop,
        owns_process=owns_process,
    )
    resume = resume or isinstance(recipe, BundleRecipe)
    units = [replace(unit, recipe=_placed(unit.recipe, *places)) for unit in _units(recipe, out)]
    # The last one is what was asked for; the others are trained for it, and go on where they are.
    for unit in units:
        check_places(unit.recipe, unit.out)
        _check_folder(unit.recipe, unit.out, resume or unit is not units[-1], write=False)
    if isinstance(recipe, BundleRecipe) and not any((unit.out / RECIPE).exists() for unit in units):
        check_new(out)
    if on_plan or seconds:
        setting.plan = sum((_dry_run(unit, setting) for unit in units if not unit.target.exists()), Plan())
        setting.plan = setting.workers.broadcast(setting.plan.within(setting.seconds_left))
        setting.plan.check_disk(out)
        if on_plan and setting.workers.is_main:
            on_plan(setting.plan)
    for unit in units:
        if not unit.target.exists():
            _train(unit, setting)
    if not isinstance(recipe, BundleRecipe):
        return units[-1].target
    target = out / f"{recipe.name}.safetensors"
    if setting.workers.is_main:
        files = [out / pair.name / PairRun.target for pair in recipe.pairs]
        if recipe.cascade:
            files = [out / recipe.cascade.name / CascadeRun.target]
        bundle(files, target, recipe.license, name=recipe.name, overwrite=True)
        write_page(out)
    setting.workers.wait()
    return target


def _placed(recipe: Any, data: dict[str, Any], teacher: dict[str, Any]) -> Any:
    """Return a recipe with other places of its pictures and its teacher, where any are given."""
    pictures = replace(recipe.data, **{name: places for name, places in data.items() if places})
    loss_network = replace(recipe.teacher, **{name: str(place) for name, place in teacher.items() if place})
    return replace(recipe, data=pictures, teacher=loss_network)


def _units(recipe: AnyRecipe, out: Path) -> list[_Unit]:
    """Return the runs of a recipe in the order they are trained: those to grow from come first."""
    if isinstance(recipe, BundleRecipe):
        units: dict[str, _Unit] = {}
        for pair in recipe.pairs:
            earlier = units.get(Path(pair.grow_from).stem)
            for unit in [_Unit(pair, out / pair.name, earlier)] if earlier else _grown_units(pair, out / pair.name):
                units.setdefault(unit.recipe.name, unit)
        if recipe.cascade is None:
            return list(units.values())
        pairs = tuple(units[pair.name] for pair in recipe.pairs)
        return [*units.values(), _Unit(recipe.cascade, out / recipe.cascade.name, pairs=pairs)]
    assert isinstance(recipe, RunRecipe)
    return _grown_units(recipe, out)


def _grown_units(recipe: RunRecipe, out: Path, later: frozenset[str] = frozenset()) -> list[_Unit]:
    """Return a run after the chain of runs that it grows from."""
    if not isinstance(recipe, Recipe) or not recipe.grow_from:
        return [_Unit(recipe, out)]
    earlier, later = read_recipe(recipe.grow_from), later | {recipe.name}
    if not isinstance(earlier, Recipe) or earlier.name in later:
        raise UsageError(
            "SP143",
            f"{recipe.grow_from} is not the recipe of a pair, or grows from {recipe.name} itself.",
            "Grow from a single pair.",
        )
    chain = _grown_units(earlier, out.parent / earlier.name, later)
    return [*chain, _Unit(recipe, out, chain[-1])]


def _dry_run(unit: _Unit, setting: Setting) -> Plan:
    """Measure a run; it begins like one that does not grow, since the other has no result yet."""
    _make_folder(unit.out)
    with locked(unit.out) if setting.workers.is_main else nullcontext():
        return _build(replace(unit, earlier=None), setting).dry_run()


def _train(unit: _Unit, setting: Setting) -> None:
    _make_folder(unit.out)
    with locked(unit.out) if setting.workers.is_main else nullcontext():
        if setting.workers.is_main:
            _check_folder(unit.recipe, unit.out, True)
        setting.workers.wait()
        _build(unit, setting).train()


def _build(unit: _Unit, setting: Setting) -> PhasedRun:
    recipe = unit.recipe
    if isinstance(recipe, Recipe):
        return PairRun(recipe, unit.out, setting, start=_growing(recipe, unit.earlier) if unit.earlier else recipe)
    if isinstance(recipe, CascadeRecipe):
        pairs = [(pair.recipe, pair.target) for pair in unit.pairs if isinstance(pair.recipe, Recipe)]
        return CascadeRun(recipe, unit.out, setting, pairs=pairs)
    return _RUNS[type(recipe)](recipe, unit.out, setting)


def _growing(recipe: Recipe, earlier: _Unit) -> Recipe:
    """Return a recipe whose phases begin with the results of an earlier run, as far as the widths agree.

    What is reconstructed has no layers of another run, for each of its layers follows from those before it.
    """
    assert isinstance(earlier.recipe, Recipe)
    reconstructed = recipe.importance == RECONSTRUCTION
    sources = {} if reconstructed else {"teacher_decoder": "teacher_decoder"}
    widths = earlier.recipe.student.widths
    if recipe.student.widths[: len(widths)] == widths:
        sources |= {} if reconstructed and recipe.has_teacher_decoder else {"student_decoder": "student_pair"}
        sources |= {} if reconstructed else {"student_encoder": "student_pair"}
    phases = {
        phase: replace(recipe.phase(phase), init=str(earlier.out / f"{source}.safetensors"))
        for phase, source in sources.items()
        if not recipe.phase(phase).init
    }
    return replace(recipe, **phases)


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            "SP144", f"The folder {str(out)!r} cannot be made: {error.strerror}.", "Choose another folder."
        ) from error


def _check_folder(recipe: RunRecipe | MetricRecipe, out: Path, resume: bool, *, write: bool = True) -> None:
    """Refuse to mix two runs, and note what is trained here."""
    path = out / RECIPE
    if path.exists():
        if not resume:
            raise UsageError("SP140", f"{out} holds a run already.", "Use `resume=True`, or choose another folder.")
        check_identity(identity_of(json.loads(path.read_text())), identity_of(recipe.to_dict()))
    if write:
        with atomic_write(path) as file:
            file.write(json.dumps(recipe.to_dict(), indent=1).encode())
