"""What a run says before it is at work: its files, what must come before it, its phases."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from styleplugin.errors import UsageError
from styleplugin.methods.kbstyle.train import KBTraining
from styleplugin.methods.wct.train.bundle import BundleRecipe, BundleRun
from styleplugin.methods.wct.train.cascade import CascadeRecipe
from styleplugin.train import Recipe, recipe_text
from styleplugin.train.pairs.run import PairRun
from styleplugin.train.recipe.options import PhaseOptions
from styleplugin.train.recipe.places import Places
from styleplugin.train.runner import in_order
from styleplugin.train.runs.run import recipe_for_card


@pytest.fixture
def bundle(make_recipe: Callable[..., Recipe], data_options) -> BundleRecipe:
    pairs = (make_recipe(level=1), make_recipe(level=2, grow_from="tiny1"))
    cascade = CascadeRecipe(name="both", data=data_options, decoders=PhaseOptions(steps=1))
    return BundleRecipe(name="model", pairs=pairs, cascade=cascade)


def test_a_bundle_comes_behind_its_cascade_and_that_behind_its_pairs(bundle: BundleRecipe, tmp_path: Path):
    run = BundleRun(bundle, tmp_path)
    order = in_order(run)
    assert [one.target.relative_to(tmp_path).as_posix() for one in order] == [
        "tiny1/pair.safetensors", "tiny2/pair.safetensors", "both/student.safetensors", "model.safetensors",
    ]  # fmt: skip
    assert order[1].needs() == (order[0],) and order[2].needs() == order[:2]


def test_all_runs_of_a_bundle_read_where_they_are_told_to(bundle: BundleRecipe, tmp_path: Path):
    places = Places(photos=["a", "b"], paintings="c", teachers="d", teacher="cd-wct.x16")
    for one in in_order(BundleRun(bundle, tmp_path, places))[:-1]:
        assert (one.recipe.data.contents, one.recipe.data.styles) == (("a", "b"), ("c",))
        assert (one.recipe.teacher.root, one.recipe.teacher.source) == ("d", "cd-wct.x16")


def test_a_pair_needs_the_chain_that_it_grows_from(make_recipe: Callable[..., Recipe], tmp_path: Path):
    for level in (1, 2):
        text = recipe_text(make_recipe(level=level, grow_from="1.toml" if level == 2 else ""))
        (tmp_path / f"{level}.toml").write_text(text)
    deep = PairRun(make_recipe(level=3, grow_from=str(tmp_path / "2.toml")), tmp_path / "runs" / "deep")
    assert [one.out.relative_to(tmp_path).as_posix() for one in in_order(deep)] == [
        "runs/tiny1", "runs/tiny2", "runs/deep",
    ]  # fmt: skip


def test_R11_no_pair_grows_from_itself(make_recipe: Callable[..., Recipe], tmp_path: Path):
    path = tmp_path / "2.toml"
    path.write_text(recipe_text(make_recipe(level=2, grow_from="2.toml")))
    with pytest.raises(UsageError, match="grows from tiny2 itself") as caught:
        PairRun(make_recipe(level=2, grow_from=str(path)), tmp_path / "out")
    assert caught.value.code == "SP143"


def test_what_seeds_the_phases_of_kbstyle_never_changes():
    names = {phase.name: phase.seed_name for phase in KBTraining.phase_types}
    assert names == {"teacher_network": "big", "student_network": "small", "fine_tune": "polish"}


def test_a_card_names_files_without_the_folders_of_the_machine(make_recipe: Callable[..., Recipe], tmp_path: Path):
    start = str(tmp_path / "start.safetensors")
    recipe = make_recipe(grow_from=str(tmp_path / "level1.toml"), student_pair=PhaseOptions(steps=1, init=start))
    shown = recipe_for_card(recipe)
    assert str(tmp_path) not in json.dumps(shown)
    assert shown["student_pair"]["init"] == "start.safetensors" and shown["grow_from"] == "level1.toml"
    assert (shown["name"], shown["data"], shown["teacher"]) == (recipe.name, None, None)
    cascade = CascadeRecipe(name="c", start=f"file:{start}", decoders=PhaseOptions(steps=1))
    assert recipe_for_card(cascade)["start"] == "start.safetensors"
    hub = CascadeRecipe(name="c", start="hub:a/b@c/d.safetensors", decoders=PhaseOptions(steps=1))
    assert recipe_for_card(hub)["start"] == "hub:a/b@c/d.safetensors"
