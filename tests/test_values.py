"""Numbers and objects as people have them: accepted, or refused in one sentence with a code."""

from __future__ import annotations

import copy
import io
import json
import multiprocessing
import pickle
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

import styleplugin
from styleplugin import cli
from styleplugin.errors import OutputError, StylePluginError, StylePluginWarning, UsageError, WeightsError
from styleplugin.images.picture import to_pil
from styleplugin.loading.build import save_model
from styleplugin.options import EngineOptions, OptimizeOptions, StylizeOptions
from styleplugin.style import mix_styles
from styleplugin.train import new_recipe, read_recipe, recipe_text

CONTENT, STYLE = (np.random.default_rng(i).integers(0, 256, (40, 48, 3), dtype=np.uint8) for i in (0, 1))
LEVELS = {"levels": (3, 2, 1)}


@pytest.fixture
def stylizer(tiny_weights):
    with pytest.warns(StylePluginWarning, match="known models"):
        return styleplugin.load(f"file:{tiny_weights}", allow_unknown_model=True, device="cpu")


@pytest.mark.parametrize(
    "half", [0.5, np.float32(0.5), np.float64(0.5), np.array(0.5), torch.tensor(0.5), Fraction(1, 2)]
)
def test_a_number_of_any_library_is_a_number(half):
    options = StylizeOptions(strength=half)
    assert options.strength == 0.5 and type(options.strength) is float


@pytest.mark.parametrize("eight", [8, 8.0, np.int64(8), np.uint8(8), np.float32(8), torch.tensor(8)])
def test_a_whole_number_of_any_library_is_a_whole_number(eight):
    options = OptimizeOptions(steps=eight, seed=eight)
    assert options.steps == 8 and type(options.steps) is int
    assert EngineOptions(memory_limit_mb=64 * int(eight), tile=64 * int(eight)).tile == "512"
    json.dumps(vars(options))


@pytest.mark.parametrize(
    ("levels", "wanted"),
    [(3, (3,)), (np.int64(3), (3,)), ([3, 2], (3, 2)), (np.array([3, 2]), (3, 2)), (iter([3.0, 2]), (3, 2)),
     (torch.tensor([3, 1]), (3, 1))],
)  # fmt: skip
def test_levels_of_any_form_are_levels(levels, wanted):
    assert StylizeOptions(levels=levels).levels == wanted


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"strength": True}, "SP101"),
        ({"strength": "1"}, "SP101"),
        ({"strength": np.array([1.0])}, "SP101"),
        ({"strength": float("nan")}, "SP101"),
        ({"smooth": 2.5}, "SP101"),
        ({"keep_luminance": [1]}, "SP102"),
        ({"keep_luminance": 1}, "SP102"),
        ({"keep_color": np.array(["lab", "off"])}, "SP102"),
        ({"keep_color": "x" * 10_000}, "SP102"),
        ({"levels": "543"}, "SP101"),
        ({"levels": [1.5]}, "SP101"),
    ],
)
def test_what_is_no_value_is_refused_in_one_short_sentence(options, code):
    with pytest.raises(UsageError) as caught:
        StylizeOptions(**options)
    assert caught.value.code == code and len(str(caught.value)) < 250


def test_truth_values_are_plain():
    assert StylizeOptions(keep_luminance=np.bool_(True)).keep_luminance is True


def test_weights_of_a_mix_are_numbers_of_any_library(stylizer):
    style = stylizer.prepare(STYLE)
    mix_styles([style, style], np.array([0.5, 0.5]))
    mix_styles(style, [np.float32(1)])
    for styles, weights in (([style, style], [1.0]), ([style], "a"), ([style], 1.0), ([style], [])):
        with pytest.raises(UsageError) as caught:
            mix_styles(styles, weights)
        assert caught.value.code == "SP105"


def test_frames_are_given_in_any_form(stylizer, tmp_path):
    path = tmp_path / "d.png"
    Image.fromarray(CONTENT).save(path)
    mask = tmp_path / "m.png"
    Image.new("L", (48, 40), 255).save(mask)
    picture = styleplugin.to_picture(path)
    forms = [[path], str(path), path, picture, to_pil(picture), CONTENT[None]]
    (wanted,) = stylizer.frames([path], STYLE, **LEVELS)
    for frames in (*forms, (p for p in [path])):
        (result,) = stylizer.frames(frames, STYLE, **LEVELS)
        assert torch.equal(result.tensor, wanted.tensor)
    for masks in ([mask], mask, str(mask), (m for m in [mask])):
        (result,) = stylizer.frames(path, STYLE, masks=masks, **LEVELS)
        assert torch.equal(result.tensor, wanted.tensor)


@pytest.mark.parametrize("kind", ["png", ".JPG", "webp", "tif", "bmp"])
def test_a_picture_is_written_into_an_open_file(kind, tmp_path):
    result = styleplugin.Result(styleplugin.to_picture(CONTENT))
    name = tmp_path / f"x.{kind.strip('.')}"
    result.save(name)
    buffer = io.BytesIO()
    result.save(buffer, format=kind)
    assert buffer.getvalue() == name.read_bytes()


def test_an_open_file_needs_a_format_that_is_known():
    result = styleplugin.Result(styleplugin.to_picture(CONTENT))
    for given, code in (({}, "SP119"), ({"format": "exe"}, "SP605"), ({"format": "png", "quality": 0}, "SP101")):
        with pytest.raises(StylePluginError) as caught:
            result.save(io.BytesIO(), **given)
        assert caught.value.code == code
    with pytest.raises(UsageError, match="extension decides"):
        result.save("x.png", format="png")


@pytest.mark.parametrize("quality", [101, -5, 0, 50.5, "high", True])
def test_a_quality_that_no_format_has_is_refused_before_the_work(quality, tmp_path, monkeypatch, capsys):
    for extension in ("jpg", "webp", "png"):
        with pytest.raises(UsageError, match="`quality` was"):
            styleplugin.Result(styleplugin.to_picture(CONTENT)).save(tmp_path / f"x.{extension}", quality=quality)
    if type(quality) is int:
        monkeypatch.chdir(tmp_path)
        for command in (["stylize", "a.png", "b.png"], ["look", "apply", "a.png", "b.cube"]):
            assert cli.run([*command, "-o", "c.jpg", "--quality", str(quality)]) == 2
            assert f"SP101: --quality was {quality}" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_names_and_sizes_are_checked_before_the_work(tmp_path, monkeypatch, capsys):
    """Nothing is loaded: the models do not exist."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (16_384, 1)).save("long.png")
    assert cli.run(["stylize", "long.png", "long.png", "-o", "x.webp", "--model", "nothing"]) == 7
    assert "SP606" in capsys.readouterr().err
    assert cli.run(["style", "save", "long.png", "-o", "style.png", "--model", "nothing"]) == 2
    assert "SP111" in capsys.readouterr().err


def test_a_table_of_a_size_of_any_library():
    assert styleplugin.fit_look(CONTENT, STYLE, size=np.int64(2)).report.size == 2
    for size in (2.5, True, "33", 1):
        with pytest.raises(UsageError) as caught:
            styleplugin.fit_look(CONTENT, STYLE, size=size)
        assert caught.value.code == "SP115"


def test_a_recipe_has_levels_of_any_form_and_may_begin_with_a_mark(tmp_path):
    given = {"photos": "p", "paintings": "q", "teacher": "cd-wct.x16", "minutes": 1}
    recipe = new_recipe("adain", levels=3, **given)
    assert recipe == new_recipe("adain", levels=np.array([3]), **given)
    (tmp_path / "recipe.toml").write_text(recipe_text(recipe), encoding="utf-8-sig")
    assert read_recipe(tmp_path / "recipe.toml") == recipe


def test_a_stylizer_is_copied(stylizer, tmp_path, monkeypatch, recwarn):
    wanted = stylizer(CONTENT, STYLE, **LEVELS).tensor
    monkeypatch.chdir(tmp_path.parent)
    for copied in (copy.deepcopy(stylizer), copy.copy(stylizer), pickle.loads(pickle.dumps(stylizer))):
        assert copied is not stylizer and copied.info == stylizer.info and copied.options == stylizer.options
        assert torch.equal(copied(CONTENT, STYLE, **LEVELS).tensor, wanted)
    assert not recwarn.list


def test_a_copy_of_a_changed_model_is_refused(stylizer, tiny_weights, make_pair):
    data = pickle.dumps(stylizer)
    save_model(tiny_weights, stylizer.model, license="another")
    with pytest.raises(WeightsError) as caught:
        pickle.loads(data)
    assert caught.value.code == "SP313"
    tiny_weights.unlink()
    with pytest.raises(WeightsError):
        pickle.loads(data)
    in_memory = styleplugin.Stylizer(stylizer.model, stylizer.info)
    with pytest.raises(UsageError, match="made from a model in memory"):
        pickle.dumps(in_memory)


def _painted(stylizer: styleplugin.Stylizer, content: np.ndarray) -> np.ndarray:
    return np.asarray(stylizer(content, STYLE, levels=(3, 2, 1)).image)


@pytest.mark.slow
def test_a_stylizer_travels_into_a_spawned_pool(stylizer):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        (there,) = pool.starmap(_painted, [(stylizer, CONTENT)])
    assert np.array_equal(there, _painted(stylizer, CONTENT))


def test_results_and_styles_travel(stylizer):
    style = pickle.loads(pickle.dumps(stylizer.prepare(STYLE)))
    result = copy.deepcopy(stylizer(CONTENT, style, **LEVELS))
    assert result.tensor.shape == (1, 3, 40, 48)
    with pytest.raises(OutputError):
        result.save("no/such/folder/x.png")
