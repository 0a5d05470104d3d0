from dataclasses import replace
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from styleplugin import cli
from styleplugin.cli.train import train_new
from styleplugin.errors import UsageError
from styleplugin.methods.kbstyle.train import KBRecipe
from styleplugin.methods.optimization.train.encoder import EncoderRecipe
from styleplugin.methods.optimization.train.feature_metric import MetricRecipe
from styleplugin.methods.photorealistic.train.run import PhotoRecipe
from styleplugin.methods.wct.train.bundle import BundleRecipe
from styleplugin.methods.wct.train.cascade import CascadeRecipe
from styleplugin.options import help_of
from styleplugin.train import Recipe, new_recipe, read_recipe, recipe_text
from styleplugin.train.evaluation.gate import verdict
from styleplugin.train.recipe.options import DataOptions, GateOptions, PhaseOptions, RunRecipe, TeacherOptions
from styleplugin.train.registry import kind_of, methods, run_type_of, run_types

METHODS = ("wct", "adain", "kbstyle", "photorealistic", "encoder")


def test_the_command_line_offers_the_methods_of_the_registry():
    offered = get_args(get_args(get_type_hints(train_new)["method"])[0])
    assert offered == METHODS == tuple(methods())


def test_every_kind_of_recipe_has_one_run():
    assert [kind_of(run.recipe_type) for run in run_types().values()] == list(run_types())
    assert kind_of(PhaseOptions) is None
    assert run_type_of(new_recipe("kbstyle")) is run_types()["kbstyle"]


def same(a, b) -> bool:
    """Whether two recipes are equal, but for paths that count from the file."""
    if isinstance(a, BundleRecipe):
        return replace(a, pairs=()) == replace(b, pairs=()) and all(map(same, a.pairs, b.pairs))
    return a == b


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("more", [{}, {"width": 0.5, "gpu": True, "teacher": "cd-wct.x16", "minutes": 5}])
def test_a_new_recipe_is_read_as_it_was_written(method, more: dict, tmp_path: Path):
    recipe = new_recipe(method, photos="a", paintings="b", **more)
    path = tmp_path / "recipe.toml"
    path.write_text(recipe_text(recipe))
    assert same(read_recipe(path), recipe)
    assert path.read_text().count("# ") > 10


def test_the_command_line_names_several_folders(tmp_path: Path):
    path = tmp_path / "mine.toml"
    options = ["--photos", "p", "--paintings", "a", "--paintings", "b*", "--teacher", "cd-wct.x16", "--minutes", "1"]
    assert cli.run(["train", "new", "-o", str(path), "--method", "kbstyle", *options]) == 0
    assert 'photos = "p"' in path.read_text() and 'paintings = ["a", "b*"]' in path.read_text()
    recipe = read_recipe(path)
    assert isinstance(recipe, KBRecipe) and recipe.data.styles == ("a", "b*")


def test_a_recipe_describes_every_key_once():
    text = recipe_text(new_recipe("wct"))
    assert text.count("# Crops per step.") == 1
    assert text.count("[[pairs]]") == 5
    assert text.count("[cascade]") == text.count("[cascade.decoders]") == 1


def test_pairs_of_a_bundle_grow_from_each_other_and_share_the_time():
    recipe = new_recipe("wct", levels=(3, 1), name="mine", minutes=10)
    assert isinstance(recipe, BundleRecipe) and recipe.minutes == 10
    assert [(p.name, p.level, p.grow_from, p.minutes) for p in recipe.pairs] == [
        ("mine-level1", 1, "", 0),
        ("mine-level3", 3, "mine-level1", 0),
    ]
    assert recipe.cascade is not None and (recipe.cascade.name, recipe.cascade.minutes) == ("mine-cascade", 0)
    alone = new_recipe("wct", levels=(1,))
    assert isinstance(alone, BundleRecipe) and alone.cascade is None


def test_widths_follow_the_multiplier():
    assert new_recipe("adain").student.widths[0] == 16
    assert new_recipe("adain", width=0.125).widths[:3] == (8, 8, 16)
    assert new_recipe("kbstyle").widths == (8, 16, 40)
    assert new_recipe("photorealistic", width=0.5).spec.widths != new_recipe("photorealistic").spec.widths
    assert new_recipe("encoder", levels=(2,), width=0.01).widths == (4, 4, 4)


def test_only_large_teachers_get_narrow_decoders_on_a_cpu():
    assert max(new_recipe("adain", teacher="file:vgg.pth").teacher_widths) == 128
    assert new_recipe("adain", teacher="cd-wct.x16").teacher_widths == ()
    assert new_recipe("adain", teacher="file:vgg.pth", gpu=True).teacher_widths == ()


@pytest.mark.parametrize(
    ("method", "changes", "words"),
    [
        ("wct", {"levels": (6,)}, "1 to 5"),
        ("adain", {"width": 0}, "positive"),
        ("adain", {"minutes": -1}, "positive"),
        ("adain", {"name": "../x"}, "cannot name"),
        ("adain", {"importance": "best"}, "best"),
        ("adain", {"crop": 100}, "100"),
        ("gatys", {}, "gatys"),
    ],
)
def test_impossible_choices_are_refused(method, changes: dict, words: str):
    with pytest.raises(UsageError, match=words):
        new_recipe(method, **changes)


@pytest.mark.parametrize(
    "cls",
    [DataOptions, TeacherOptions, PhaseOptions, GateOptions, RunRecipe, Recipe, PhotoRecipe, KBRecipe, EncoderRecipe,
     MetricRecipe, CascadeRecipe, BundleRecipe],
)  # fmt: skip
def test_every_key_of_a_recipe_is_described(cls: type):
    for name in vars(cls).get("__annotations__", {}):
        assert help_of(cls, name)


def test_the_gate_compares_figures_with_the_limits_of_the_recipe():
    recipe = new_recipe("adain")
    good = verdict(recipe, {"psnr": 20.0, "dead_encoder": 0.0, "dead_decoder": 0.05})
    assert good == {"passed": True, "failed": [], "limits": {"psnr": 14.0, "dead": 0.1}}
    bad = verdict(recipe, {"psnr": 10.0, "dead_encoder": 0.5, "dead_decoder": 0.0})
    assert bad["failed"] == ["psnr is 10, at least 14 is needed", "dead_encoder is 0.5, at most 0.1 is allowed"]
    own = replace(recipe, gate=GateOptions(psnr=5.0, dead=1.0))
    assert verdict(own, {"psnr": 10.0, "dead_encoder": 0.5})["passed"]


def test_a_figure_that_is_not_a_number_fails():
    assert not verdict(new_recipe("adain"), {"psnr": float("nan")})["passed"]
