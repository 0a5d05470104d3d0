"""The run of a WCT model: a pair for each level, what all of them learn together, and their one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from typing_extensions import Doc

from styleplugin.errors import UsageError
from styleplugin.methods.wct.train import cascade as cascades
from styleplugin.methods.wct.train.cascade import CascadeRecipe, CascadeRun
from styleplugin.train.evaluation.page import write_page
from styleplugin.train.loop.setting import Setting
from styleplugin.train.pairs.packing import bundle
from styleplugin.train.pairs.recipe import Recipe, preset
from styleplugin.train.pairs.run import PairRun
from styleplugin.train.recipe.choices import Choices
from styleplugin.train.recipe.options import AnyRecipe
from styleplugin.train.recipe.places import RECIPE, Places, check_new
from styleplugin.train.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class BundleRecipe(AnyRecipe):
    """Trains several pairs and packs them into one file."""

    name: Annotated[str, Doc("Of the result.")]
    pairs: Annotated[
        tuple[Recipe, ...], Doc("Of the pairs; in a file a list of other files, paths relative to it, or tables.")
    ]
    cascade: Annotated[
        CascadeRecipe | None,
        Doc("What all of them learn together then; in a file the path of another file, or a table."),
    ] = None
    minutes: Annotated[float, Doc("Time budget of all pairs together; 0 takes the steps as they are.")] = 0.0
    license: Annotated[str, Doc("Of the weights, as far as the pictures and the teacher allow.")] = "unknown"

    def __post_init__(self) -> None:
        if self.cascade and any(pair.method != "wct" for pair in self.pairs):
            raise UsageError(
                "SP121",
                "The bundle has a cascade and pairs of AdaIN.",
                "Leave the cascade out, or bundle pairs of WCT.",
            )

    @property
    def crop(self) -> int:
        """Side of the largest training crops in pixels."""
        return max(part.crop for part in (*self.pairs, self.cascade) if part)


class BundleRun(Run):
    """Pairs that are trained into folders of their own, and packed."""

    recipe_type = BundleRecipe
    method = "wct"

    def __init__(self, recipe: BundleRecipe, out: Path, places: Places | None = None) -> None:
        self.recipe, self.out = recipe, out
        self.target_name = f"{recipe.name}.safetensors"
        self.pairs: list[PairRun] = []
        for pair in recipe.pairs:
            earlier = next((run for run in self.pairs if run.recipe.name == Path(pair.grow_from).stem), None)
            self.pairs.append(PairRun(pair, out / pair.name, places, earlier=earlier))
        self.cascade = None
        if recipe.cascade:
            self.cascade = CascadeRun(recipe.cascade, out / recipe.cascade.name, places, pairs=self.pairs)

    @staticmethod
    def preset(choices: Choices) -> BundleRecipe:
        """Return the recipe of a new WCT model: pairs that grow from each other, and share the time."""
        name, levels, pairs = choices.name or "my-wct", sorted(set(choices.levels) or {1, 2, 3, 4, 5}), []
        for level in levels:
            before = pairs[-1].name if pairs else ""
            settings = choices.settings("") | {"name": f"{name}-level{level}", "grow_from": before, "minutes": 0.0}
            pairs.append(preset("wct", level, choices, settings))
        return BundleRecipe(
            name=name,
            pairs=tuple(pairs),
            cascade=cascades.preset(f"{name}-cascade", choices) if levels[-1] > 1 else None,
            minutes=float(choices.minutes),
            license=choices.license,
        )

    @property
    def is_finished(self) -> bool:
        """Never: what is there is packed anew."""
        return False

    def needs(self) -> Sequence[Run]:
        """Return the pairs and the cascade."""
        return [*self.pairs, self.cascade] if self.cascade else self.pairs

    def check(self, *, resume: bool) -> None:
        """Refuse a folder of something else; a bundle is gone on with in any case."""
        if not any((run.out / RECIPE).exists() for run in self.needs()):
            check_new(self.out)

    def note(self) -> None:
        """Note nothing: the folders of the runs say what is trained."""

    def train(self, setting: Setting) -> None:
        """Pack what was trained."""
        if setting.workers.is_main:
            files = [self.cascade.target] if self.cascade else [pair.target for pair in self.pairs]
            bundle(files, self.target, self.recipe.license, name=self.recipe.name, overwrite=True)
            write_page(self.out)
        setting.workers.wait()
