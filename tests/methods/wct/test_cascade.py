from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fakes.training import stop_at

import styleplugin
from styleplugin.errors import Cancelled, CheckpointError, UsageError
from styleplugin.loading.build import load_model, save_model
from styleplugin.methods.wct.train.bundle import BundleRecipe
from styleplugin.methods.wct.train.cascade import CascadeRecipe, CascadeTask, CascadeTrainable
from styleplugin.networks.model import pairing_id
from styleplugin.networks.pairs import PairModel
from styleplugin.tensorfile import read_weights
from styleplugin.train import read_recipe, recipe_text, run
from styleplugin.train.recipe.options import PhaseOptions, TeacherOptions
from styleplugin.transforms.losses import joined, statistics_error, statistics_of

pytestmark = pytest.mark.filterwarnings("ignore::styleplugin.errors.StylePluginWarning")

DECODERS = PhaseOptions(steps=4, batch=2, warmup=2, lr=0.003, pixel=100.0)


class PictureJudge(torch.nn.Module):
    """Five levels of features that are the picture itself."""

    def features(self, image):
        return [image] * 5


def pictures(seed: int) -> torch.Tensor:
    small = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return small.repeat_interleave(8, 2).repeat_interleave(8, 3)


@pytest.fixture
def task(tiny_model: PairModel) -> CascadeTask:
    weights = {"content": 1.0, "style": 10.0, "pixel": 100.0, "weave": 0.0, "taught": 0.0, "picture": 2.0}
    return CascadeTask(PictureJudge(), CascadeTrainable(tiny_model, (2, 1)), weights)  # type: ignore[arg-type]


@pytest.fixture
def make_cascade(data_options, vgg_file: Path) -> Callable[..., CascadeRecipe]:
    def make(**changes: Any) -> CascadeRecipe:
        settings: dict[str, Any] = {
            "name": "tiny-cascade",
            "precision": "fp32",
            "log_every": 2,
            "validate_every": 2,
            "checkpoint_every": 2,
            "data": data_options,
            "teacher": TeacherOptions(source=f"file:{vgg_file}"),
            "decoders": DECODERS,
            "license": "MIT",
        }
        return CascadeRecipe(**(settings | changes))

    return make


def test_only_the_decoders_of_the_chosen_levels_learn(task: CascadeTask, tiny_model: PairModel):
    losses = task(pictures(0), pictures(1))
    losses["loss"].backward()
    for name, parameter in tiny_model.named_parameters():
        learns = name.startswith(("pairs.2.decoder", "pairs.1.decoder"))
        assert (parameter.grad is not None) == learns, name
    weighed = sum(task.weights[name] * losses[name] for name in ("content", "style", "pixel"))
    torch.testing.assert_close(losses["loss"], weighed)


def test_the_task_paints_what_the_package_paints(tiny_weights: Path, task: CascadeTask):
    content, style = pictures(0)[:1], pictures(1)[:1]
    stylizer = styleplugin.load(tiny_weights, allow_unknown_model=True)
    expected = stylizer(content, style, levels=(3, 2, 1), grain=0).tensor
    torch.testing.assert_close(task.stylize(content, style).clamp(0, 1), expected, atol=2e-3, rtol=0)


def test_pictures_must_come_back_and_styles_must_be_met(task: CascadeTask, tiny_model: PairModel):
    content, style = pictures(0), pictures(1)
    losses = task(content, style)
    own = torch.cat([content, style])[::2]
    with torch.no_grad():
        pixel = torch.stack([(tiny_model.pair(level)(own) - own).square().mean() for level in (2, 1)]).mean()
        outputs = [output for _, output in task._cascade(content, style, (2, 1))]
        wanted = torch.stack(
            [statistics_error(statistics_of([output]), statistics_of([style])) for output in outputs]
        ).mean()
    torch.testing.assert_close(losses["pixel"], pixel)
    torch.testing.assert_close(losses["style"], wanted)


def test_the_level_that_is_drawn_learns_alone(task: CascadeTask, tiny_model: PairModel):
    task(pictures(0), pictures(1), level=torch.tensor([2, 2]))["loss"].backward()
    learns = {name[:7] for name, parameter in tiny_model.named_parameters() if parameter.grad is not None}
    assert learns == {"pairs.2"}
    both, first, second = (
        task(pictures(0), pictures(1), level=level)["style"]
        for level in (None, torch.tensor([2, 2]), torch.tensor([1, 1]))
    )
    torch.testing.assert_close(both, (first + second) / 2)


def test_a_painter_teaches_its_picture(task: CascadeTask):
    content, style, picture = pictures(0), pictures(1), pictures(2)
    losses = task(content, style, picture, joined(statistics_of([style] * 5)), level=torch.tensor([1, 1]))
    ((_, output),) = task._cascade(content, style, (1,))
    small, wanted = (torch.nn.functional.avg_pool2d(image, 4) for image in (output, picture))
    torch.testing.assert_close(losses["picture"], (small - wanted).abs().mean())
    torch.testing.assert_close(losses["taught"], (output - picture).square().mean() / picture.square().mean())
    same = task(content, style, level=torch.tensor([1, 1]))
    torch.testing.assert_close(losses["style"], same["style"])


def test_a_few_steps_lower_the_loss(task: CascadeTask):
    optimizer = torch.optim.Adam([p for p in task.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for _ in range(30):
        loss = task(pictures(0), pictures(1))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.slow
def test_a_bundle_ends_with_the_cascade_and_keeps_its_encoders(make_recipe, make_cascade, tmp_path: Path):
    pairs = (make_recipe(level=1), make_recipe(level=2))
    recipe = BundleRecipe(name="both", pairs=pairs, cascade=make_cascade(), license="MIT")
    rows: list[dict[str, Any]] = []
    weights = read_weights(run(recipe, tmp_path, device="cpu", on_event=rows.append, on_plan=rows.append))
    assert [phase.phase for phase in rows[0].phases][-1] == "decoders"  # type: ignore[attr-defined]
    model, info = load_model(weights)
    assert isinstance(model, PairModel) and model.levels == (2, 1)
    changed = {}
    for level in (1, 2):
        before, _ = load_model(read_weights(tmp_path / f"tiny{level}" / "pair.safetensors"))
        assert isinstance(before, PairModel)
        assert pairing_id(before.pair(level).encoder) == pairing_id(model.pair(level).encoder)
        old, new = (m.pair(level).decoder.state_dict() for m in (before, model))
        changed[level] = not all(torch.equal(old[name].half(), new[name].half()) for name in old)
        assert model.pair(level).decoder.layers()[-1].relu
    assert changed == {1: False, 2: True}
    card = weights.metadata["card"]
    assert set(info.metrics) == {"level1", "level2"}
    assert card["pairs"]["1"]["steps"]["student_pair"] == 6
    assert card["cascade"]["steps"] == {"decoders": 4}
    assert set(card["cascade"]["metrics"]) == {"ssim", "style"}
    assert card["name"] == "both" and set(card["gate"]) == {"passed", "failed"}
    seen = next(row for row in rows[1:] if row.get("phase") == "decoders" and "loss" in row)
    assert set(seen) >= {"content", "style", "pixel"}


@pytest.mark.slow
def test_R01_a_stopped_cascade_ends_with_the_weights_of_an_uninterrupted_one(
    make_cascade, tiny_weights: Path, tmp_path: Path
):
    recipe = make_cascade(start=f"file:{tiny_weights}")
    whole = read_weights(run(recipe, tmp_path / "whole", device="cpu")).sha256

    # Stopped twice: what was written at the first stop is replaced at the second.
    for step in (2, 4):
        with pytest.raises(Cancelled):
            run(recipe, tmp_path / "parts", device="cpu", resume=step > 2, on_event=stop_at("decoders", step))
    resumed = read_weights(run(recipe, tmp_path / "parts", device="cpu", resume=True))
    assert resumed.sha256 == whole
    model, info = load_model(resumed)
    assert isinstance(model, PairModel) and info.levels == (3, 2, 1)
    assert model(torch.rand(1, 3, 32, 32)).isfinite().all()


def test_R11_a_cascade_says_what_it_lacks(make_cascade, tiny_weights: Path, tmp_path: Path):
    with pytest.raises(UsageError, match="names no start"):
        run(make_cascade(), tmp_path / "a", device="cpu")
    with pytest.raises(UsageError, match="not a WCT model"):
        run(make_cascade(start="kbstyle.200k"), tmp_path / "b", device="cpu")
    with pytest.raises(UsageError, match=r"\[5\].*\[3, 2, 1\]"):
        run(make_cascade(start=f"file:{tiny_weights}", levels=(5,)), tmp_path / "c", device="cpu")


def test_R11_a_cascade_needs_pairs_of_wct(make_recipe, make_cascade):
    with pytest.raises(UsageError, match="pairs of AdaIN"):
        BundleRecipe(name="a", pairs=(make_recipe(method="adain", level=3),), cascade=make_cascade())


@pytest.mark.slow
def test_R03_a_cascade_does_not_go_on_with_another_start(make_cascade, tiny_weights: Path, tmp_path: Path):
    recipe = make_cascade(start=f"file:{tiny_weights}")
    with pytest.raises(Cancelled):
        run(recipe, tmp_path / "run", device="cpu", should_stop=lambda: any((tmp_path / "run").rglob("decoders-*")))
    other = PairModel("wct", [load_model(read_weights(tiny_weights))[0].pair(level) for level in (1, 2, 3)])  # type: ignore[operator]
    other.pair(3).decoder.get_parameter("conv1_1.bias").data += 1
    save_model(tiny_weights, other, license="MIT")
    with pytest.raises(CheckpointError, match="start"):
        run(recipe, tmp_path / "run", device="cpu", resume=True)


def test_a_bundle_names_its_cascade_by_file_or_table(make_recipe, make_cascade, tmp_path: Path):
    recipe = BundleRecipe(name="both", pairs=(make_recipe(level=2),), cascade=make_cascade(levels=(2,)))
    (tmp_path / "table.toml").write_text(recipe_text(recipe))
    again = read_recipe(tmp_path / "table.toml")
    assert isinstance(again, BundleRecipe) and again.cascade == recipe.cascade
    assert recipe.cascade is not None
    (tmp_path / "cascade.toml").write_text(recipe_text(recipe.cascade))
    (tmp_path / "pair.toml").write_text(recipe_text(recipe.pairs[0]))
    files = tmp_path / "files.toml"
    files.write_text('kind = "bundle"\nname = "both"\npairs = ["pair.toml"]\ncascade = "cascade.toml"\n')
    assert read_recipe(files) == replace(recipe, license="unknown")
    files.write_text('kind = "bundle"\nname = "both"\npairs = ["pair.toml"]\ncascade = "pair.toml"\n')
    with pytest.raises(UsageError, match="not the recipe of a cascade"):
        read_recipe(files)
