"""A run that is asked for: its recipe, its folder, and what must come before it. Nothing is read and nothing built."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from styleplugin.errors import UsageError
from styleplugin.files import atomic_write
from styleplugin.train.loop.setting import Setting
from styleplugin.train.loop.state import check_identity
from styleplugin.train.recipe.choices import Choices
from styleplugin.train.recipe.options import AnyRecipe
from styleplugin.train.recipe.places import RECIPE, Places, check_places
from styleplugin.train.recipe.plan import Plan
from styleplugin.train.runs.phase_loop import BEST, LATEST

if TYPE_CHECKING:
    from styleplugin.train.runs.training import Training

_DRY_RUN = ".dry-run-"
"""Begins the names of the folders of dry runs, one of each process, in the folder of the run."""

_FILES = ("init", "start", "grow_from", "encoder")
"""Keys of recipes that name a file."""


class Run:
    """One run; each kind of recipe has a class.

    Args:
        recipe: Of its kind.
        out: Its folder.
        places: Where pictures and teacher lie, instead of where the recipe says.
    """

    recipe_type: type[Any]
    target_name: str
    """Of the finished file."""
    method: str = ""
    """What a new recipe of this kind is asked for by; empty where there is no `preset`."""
    needs_styles = False
    """Whether a new recipe needs artworks; where not, photographs do."""
    usual_teacher = "cd-wct.x16"
    """Of a new recipe."""

    def __init__(self, recipe: Any, out: Path, places: Places | None = None) -> None:
        self.places = places or Places()
        self.recipe, self.out = self.places.of(recipe), out
        self.shared = out.parent
        """Folder of what runs beside each other share."""

    @staticmethod
    def preset(choices: Choices) -> AnyRecipe:
        """Return a new recipe."""
        raise NotImplementedError

    @property
    def target(self) -> Path:
        """The finished file."""
        return self.out / self.target_name

    @property
    def is_finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.target.exists()

    def needs(self) -> Sequence[Run]:
        """Return the runs that must come before this one."""
        return ()

    def check(self, *, resume: bool) -> None:
        """Refuse to destroy what the run reads, or what is in its folder.

        Raises:
            OutputError: See `check_places`.
            UsageError: SP140, the folder holds a run and `resume` is not set.
            CheckpointError: SP801, the run there is another one.
        """
        check_places(self.recipe, self.out)
        self._check_recipe(resume=resume)

    def note(self) -> None:
        """Note in the folder what is trained there, unless that is something else."""
        self._check_recipe(resume=True)
        with atomic_write(self.out / RECIPE) as file:
            file.write(json.dumps(self.recipe.to_dict(), indent=1).encode())

    def _check_recipe(self, *, resume: bool) -> None:
        path = self.out / RECIPE
        if not path.exists():
            return
        if not resume:
            raise UsageError(
                "SP140", f"{self.out} holds a run already.", "Use `resume=True`, or choose another folder."
            )
        check_identity(identity_of(json.loads(path.read_text())), identity_of(self.recipe.to_dict()))

    def dry_run(self, setting: Setting) -> Plan:
        """Return what is ahead, from measured steps."""
        return Plan()

    def train(self, setting: Setting) -> None:
        """Do it, as far as it is not done."""
        raise NotImplementedError


class PhasedRun(Run):
    """A run of several phases."""

    training: type[Training]
    """The run at work."""

    def dry_run(self, setting: Setting) -> Plan:
        """Return the phases that have no result yet, begun and measured in a folder of their own.

        A kill leaves nothing in the run's folder that only a run may leave, which is noted there later.

        Raises:
            StylePluginError: Whatever would stop the run: pictures, teacher, shapes, memory.
        """
        trial, silent = copy(self), copy(setting)
        trial.out, silent.on_event = self.out / f"{_DRY_RUN}{setting.workers.rank}", None
        shutil.rmtree(trial.out, ignore_errors=True)
        trial.out.mkdir()
        try:
            for path in self.out.glob("*.safetensors"):
                if path.name not in (BEST, LATEST):
                    shutil.copy(path, trial.out)
            return self.training(trial, silent).dry_run()
        finally:
            shutil.rmtree(trial.out, ignore_errors=True)

    def train(self, setting: Setting) -> None:
        """Train the phases that have no result yet, and write the model."""
        if setting.workers.is_main:
            for left in self.out.glob(f"{_DRY_RUN}*"):
                shutil.rmtree(left, ignore_errors=True)
        self.training(self, setting).train()


def recipe_for_card(recipe: Any) -> dict[str, Any]:
    """Return a recipe as cards show it: files by their names, without the folders of the machine."""
    shown = recipe.to_dict() | {"data": None, "teacher": None}
    return {name: _without_folder(name, value) for name, value in shown.items()}


def _without_folder(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {inner: _without_folder(inner, part) for inner, part in value.items()}
    if name in _FILES and isinstance(value, str) and not value.startswith("hub:"):
        return re.split(r"[/\\:]", value)[-1]
    return value


def identity_of(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return what must stay the same in a resumed run: all but the places of files, whose contents are checked."""
    recipe = json.loads(json.dumps(recipe))
    recipe.pop("minutes", None)
    for table, name in (("data", "photos"), ("data", "paintings"), ("teacher", "root")):
        recipe[table].pop(name)
    return recipe
