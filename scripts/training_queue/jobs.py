"""What is trained: the recipe of each embedded model, and where it goes on from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from scripts.draw_patterns import draw_patterns
from styleplugin.loading.build import save_model
from styleplugin.loading.convert.adain import import_adain
from styleplugin.methods.kbstyle.train import KBRecipe
from styleplugin.methods.photorealistic.train.run import PhotoRecipe
from styleplugin.methods.wct.train.bundle import BundleRecipe
from styleplugin.networks.pairs import PairModel
from styleplugin.train import AnyRecipe, Recipe, read_recipe
from styleplugin.train.recipe.options import RunRecipe
from styleplugin.train.runs.phase_loop import LATEST

ROOT = Path(__file__).parents[2]
QUEUE = ROOT / "runs" / "queue"
WEIGHTS = ROOT / "weights"
KEPT = ROOT / "students"
"""Students on their way, committed so that no hour is lost; no part of the package."""
PAINTERS = {method: QUEUE / f"{method}-pair.safetensors" for method in ("adain", "wct")}
"""AdaIN's own pair, and the same with WCT in place of AdaIN, whose pictures have more of a style's strokes."""
PATTERNS = QUEUE / "patterns"
"""Drawn styles, beside the artworks."""
PAINTER_SOURCE = "adain_vgg19_q8.safetensors"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One embedded model on its way."""

    name: str
    recipe: str
    """File in recipes/."""
    description: str
    """For the list of models."""
    is_photo: bool = False
    """Whether it is judged on pairs of photographs."""

    @property
    def out(self) -> Path:
        """Folder of its run."""
        return QUEUE / self.name

    @property
    def latest(self) -> Path | None:
        """The student as it is now; None while there is none."""
        places = (self.out / LATEST, self.out / "cd-wct-cascade" / LATEST)
        return next((path for path in places if path.exists()), None)


JOBS = (
    Job(name="kbstyle.200k", recipe="kbstyle.toml", description="183 kB for any style: the quickest painter"),
    Job(name="cd-adain.x16", recipe="cd-adain.toml", description="one pair at relu4_1: quick, keeps the outlines"),
    Job(
        name="cd-wct.x16", recipe="cd-wct.toml", description="five pairs, one for each level: rich strokes and textures"
    ),
    Job(name="kbstyle.large", recipe="kbstyle-large.toml", description="2.5 MB for any style: quick, with more detail"),
    Job(
        name="pca-photo.vgg",
        recipe="pca-photo-vgg.toml",
        description="photographs: the light of one given to another",
        is_photo=True,
    ),
    Job(
        name="pca-photo.mobilenet",
        recipe="pca-photo-mobilenet.toml",
        description="photographs: the smaller and faster one",
        is_photo=True,
    ),
)


def job_of(name: str) -> Job:
    """Return the job of a model."""
    return next(job for job in JOBS if job.name == name)


def recipe_of(job: Job, start: Path | None) -> AnyRecipe:
    """Return the recipe of a job.

    Args:
        job: What is trained.
        start: A file that the queue has made before, to go on from; None where checkpoints are there, or nothing is.
    """
    recipe = read_recipe(ROOT / "recipes" / job.recipe)
    if start is None:
        return recipe
    source = str(start)
    if isinstance(recipe, BundleRecipe):
        assert recipe.cascade is not None
        return replace(recipe.cascade, start=f"file:{source}")
    if isinstance(recipe, KBRecipe):
        return replace(recipe, student_network=replace(recipe.student_network, init=source))
    if isinstance(recipe, PhotoRecipe):
        return replace(recipe, joint=replace(recipe.joint, init=source))
    assert isinstance(recipe, Recipe)
    halves = {name: replace(recipe.phase(name), init=source) for name in ("student_encoder", "student_decoder")}
    return replace(recipe, **halves)


def runs_of(recipe: AnyRecipe) -> dict[str, RunRecipe]:
    """Return the recipes of a job's runs by their names: one, or those of a bundle."""
    if not isinstance(recipe, BundleRecipe):
        assert isinstance(recipe, RunRecipe)
        return {recipe.name: recipe}
    return {part.name: part for part in (*recipe.pairs, recipe.cascade) if part is not None}


def make_painters(teachers: Path) -> None:
    """Import AdaIN's own pair, whose pictures teach, if that was not done yet."""
    if all(path.exists() for path in PAINTERS.values()):
        return
    QUEUE.mkdir(parents=True, exist_ok=True)
    model, metadata = import_adain(teachers / PAINTER_SOURCE)
    for method, path in PAINTERS.items():
        save_model(path, PairModel(method, list(model.pairs.values())), **metadata)


def make_patterns(artworks: str) -> None:
    """Draw the patterns, in the palettes of the artworks, if that was not done yet."""
    if not PATTERNS.exists():
        draw_patterns(artworks, PATTERNS)
