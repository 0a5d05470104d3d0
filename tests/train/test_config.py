from pathlib import Path

import pytest

from styleplugin.errors import UsageError
from styleplugin.train import BundleRecipe, Recipe, read_recipe

RECIPES = Path(__file__).parents[2] / "recipes"
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
    if isinstance(recipe, BundleRecipe):
        assert [pair.level for pair in recipe.pairs] == [1, 2, 3, 4, 5]


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
        ("kind = 'zoo'\n" + MINIMAL, "zoo"),
        ("name = ", "cannot be read"),
    ],
)
def test_wrong_recipes_are_refused_by_name(tmp_path: Path, text: str, words: str):
    with pytest.raises(UsageError, match=words):
        read_recipe(write(tmp_path, text))


def test_a_missing_recipe_is_a_usage_error(tmp_path: Path):
    with pytest.raises(UsageError, match=r"missing\.toml"):
        read_recipe(tmp_path / "missing.toml")
