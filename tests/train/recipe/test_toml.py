from dataclasses import replace
from pathlib import Path

import pytest

from styleplugin.errors import UsageError, WeightsError
from styleplugin.methods.wct.train.bundle import BundleRecipe
from styleplugin.train import Recipe, read_recipe, recipe_text

RECIPES = Path(__file__).parents[3] / "recipes"
MINIMAL = """
name = "x"
level = 2
[teacher_decoder]
steps = 1
[student_encoder]
steps = 1
[student_decoder]
steps = 1
"""


def write(path: Path, text: str) -> Path:
    path = path / "recipe.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_of_the_repository_is_valid(path: Path):
    recipe = read_recipe(path)
    runs = [recipe]
    if isinstance(recipe, BundleRecipe):
        assert [pair.level for pair in recipe.pairs] == [1, 2, 3, 4, 5]
        runs = [*recipe.pairs, recipe.cascade]
    assert all(run.data.contents and run.data.styles and run.teacher.root for run in runs), "it names what it reads"


def test_a_minimal_recipe_gets_the_defaults_and_the_x16_student(tmp_path: Path):
    recipe = read_recipe(write(tmp_path, MINIMAL))
    assert isinstance(recipe, Recipe)
    assert recipe.student.widths == (16, 16, 32)
    assert recipe.student_encoder.embedding == 10


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (MINIMAL + "stepz = 1", "stepz"),
        ("colour = 1\n" + MINIMAL, "colour"),
        (MINIMAL.replace('name = "x"', ""), "name"),
        (MINIMAL.replace("level = 2", 'level = "2"'), "level"),
        (MINIMAL.replace("level = 2", "level = true"), "level"),
        (MINIMAL.replace("level = 2", "level = 6"), "level 6"),
        (MINIMAL.replace("steps = 1", "steps = -1"), "-1 steps"),
        (MINIMAL.replace("steps = 1", "steps = 1\nbatch = 0"), "batch 0"),
        (MINIMAL.replace("level = 2", 'level = 2\nprecision = "int8"'), "int8"),
        (MINIMAL + "[data]\ncrop = 100", "100"),
        (MINIMAL + "[data]\ncrop = 1.5", "crop"),
        (MINIMAL + "[data]\npaintings = []", "paintings names no folder"),
        (MINIMAL + "[data]\npaintings = ['a', 1]", "paintings was 1"),
        (MINIMAL + "[data]\npaintings = 1", "paintings was 1"),
        ("kind = 'zoo'\n" + MINIMAL, "zoo"),
        ("name = ", "cannot be read"),
        ("kind = [1]\n" + MINIMAL, "the kind"),
        ("kind = 'bundle'\nname = 'x'\npairs = 5", "pairs"),
        ("kind = 'bundle'\nname = 'x'\npairs = 'abc'", "pairs"),
        ("kind = 'bundle'\nname = 'x'\npairs = []", "pairs"),
        ("kind = 'bundle'\nname = 'x'\npairs = [5]", "table"),
        ("kind = 'bundle'\nname = 'x'\npairs = ['recipe.toml']", "not the recipe of a pair"),
        ("kind = 'bundle'\nname = 'x'\npairs = ['a\\u0000b']", "cannot be found"),
        ("kind = 'bundle'\nname = 'x'\npairs = ['/dev/null']", "a device"),
        ("a = " + "[" * 100_000, "cannot be read"),
        ("a = " + "[\n" * 100_000, "cannot be read"),
        (".".join("a" * 100_000) + " = 1", "cannot be read"),
        ("#" * (1 << 19), "larger"),
        (MINIMAL.replace("steps = 1", "steps = 1\nlr = nan"), "lr"),
        (MINIMAL.replace("steps = 1", "steps = 1\nlr = inf"), "lr"),
        (MINIMAL.replace("steps = 1", f"steps = {10**30}"), "steps"),
        (MINIMAL.replace("steps = 1", f"steps = {'1' * 5000}"), "cannot be read"),
        (MINIMAL.replace("steps = 1", "steps = 1979-05-27"), "steps"),
        (MINIMAL.replace('"x"', '"../x"'), "the name"),
        (MINIMAL.replace('"x"', '".."'), "the name"),
        (MINIMAL.replace('"x"', '"a\\u0000"'), "name"),
        (MINIMAL.replace("level = 2", "level = 2\nwidths = [true, 5, 6]"), "widths"),
        (MINIMAL.replace("level = 2", "level = 2\nteacher = [1]"), "teacher"),
        (MINIMAL.replace('"x"', "['x']"), "name"),
    ],
)
def test_wrong_recipes_are_refused_by_name(tmp_path: Path, text: str, words: str):
    with pytest.raises(UsageError, match=words):
        read_recipe(write(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "styles"), [('"a*"', ("a*",)), ('["a*"]', ("a*",)), ('["b", "a.tar"]', ("b", "a.tar"))]
)
def test_pictures_lie_in_one_place_or_in_several(tmp_path: Path, text: str, styles: tuple[str, ...]):
    recipe = read_recipe(write(tmp_path, MINIMAL + f'[data]\nphotos = "p"\npaintings = {text}'))
    assert isinstance(recipe, Recipe)
    assert (recipe.data.contents, recipe.data.styles) == (("p",), styles)
    assert replace(recipe.data, paintings_as_contents=True).contents == ("p", *styles)
    assert read_recipe(write(tmp_path, recipe_text(recipe))) == recipe


def test_widths_that_no_network_has_are_refused(tmp_path: Path):
    for widths in ("[1, 2]", "[0, 1, 2]", "[4097, 1, 2]"):
        with pytest.raises(WeightsError, match="convolutions"):
            read_recipe(write(tmp_path, MINIMAL.replace("level = 2", f"level = 2\nwidths = {widths}")))


def test_a_byte_order_mark_is_passed_over(tmp_path: Path):
    path = write(tmp_path, MINIMAL)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_recipe(path).name == "x"


def test_a_missing_recipe_is_a_usage_error(tmp_path: Path):
    with pytest.raises(UsageError, match=r"missing\.toml"):
        read_recipe(tmp_path / "missing.toml")
