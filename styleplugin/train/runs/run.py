"""A run that is asked for: its recipe, its folder, and what must come before it. Nothing is read and nothing built."""

from __future__ import annotations

import json
from collections.abc import Sequence
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

if TYPE_CHECKING:
    from styleplugin.train.runs.training import Training


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
        """Return the phases that have no result yet."""
        return self.training(self, setting).dry_run()

    def train(self, setting: Setting) -> None:
        """Train the phases that have no result yet, and write the model."""
        self.training(self, setting).train()


def identity_of(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return what must stay the same in a resumed run: all but the places of files, whose contents are checked."""
    recipe = json.loads(json.dumps(recipe))
    recipe.pop("minutes", None)
    for table, name in (("data", "photos"), ("data", "paintings"), ("teacher", "root")):
        recipe[table].pop(name)
    return recipe
