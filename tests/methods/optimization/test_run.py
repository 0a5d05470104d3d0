"""The optimization as a user meets it."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from fakes.forgery import forge, holding, lacking, saying, without
from PIL import Image

import styleplugin
from styleplugin.cli import run as cli
from styleplugin.errors import Cancelled, CheckpointError, ResourceError, UsageError, WeightsError
from styleplugin.loading.encoders import load_encoder
from styleplugin.methods.optimization.objective import Objective
from styleplugin.methods.optimization.run import Optimization
from styleplugin.options import StyleWeight

QUICK = {"steps": 4, "scales": 1, "start": "content", "device": "cpu"}


def picture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, max(1, height // 8), max(1, width // 8), generator=generator)
    return torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1)


CONTENT, STYLE = picture(48, 64), picture(40, 56, seed=1)


def losses(run: Optimization) -> list[float]:
    return [progress.losses.total for progress in run]


def test_the_loss_falls_and_the_picture_keeps_its_size():
    content = picture(50, 67)
    run = Optimization(content, STYLE, **{**QUICK, "steps": 12})
    values = losses(run)
    assert len(values) == 12 and values[-1] < 0.8 * values[0]
    result = run.result()
    assert result.tensor.shape == (1, 3, 50, 67)
    assert float(result.tensor.min()) >= 0 and float(result.tensor.max()) <= 1
    assert result.report.settings["method"] == "optimization" and result.report.seconds["total"] > 0


def test_one_call_does_it_all():
    result = styleplugin.stylize(
        CONTENT, [(STYLE, 1.0), (picture(32, 32, seed=2), 0.5)], method="optimization", **QUICK
    )
    assert result.tensor.shape == CONTENT.shape
    assert result.report.style_sizes == [(40, 56), (32, 32)]


@pytest.mark.parametrize("start", ["content", "noise", "stylized"])
def test_every_start_and_coarse_scales(start):
    content = picture(256, 272)
    run = Optimization(content, STYLE, **{**QUICK, "scales": 2, "start": start})
    steps = list(run)
    assert [progress.size for progress in steps] == [(128, 136)] * 2 + [(256, 272)] * 2
    assert [progress.step for progress in steps] == [1, 2, 3, 4]
    assert run.result().tensor.shape == content.shape


def test_equal_runs_are_equal_and_noise_follows_the_seed():
    def run(seed: int) -> torch.Tensor:
        return styleplugin.stylize(
            CONTENT, STYLE, method="optimization", **{**QUICK, "start": "noise", "seed": seed}
        ).tensor

    assert torch.equal(run(1), run(1)) and not torch.equal(run(1), run(2))


def test_a_mask_leaves_the_rest_exactly_as_it_is():
    mask = torch.zeros(1, 1, 48, 64)
    mask[..., :32] = 1
    result = styleplugin.stylize(CONTENT, STYLE, method="optimization", mask=mask[0, 0].numpy(), **QUICK)
    assert torch.equal(result.tensor[..., 32:], CONTENT[..., 32:])
    assert not torch.equal(result.tensor[..., :32], CONTENT[..., :32])


def test_strength_0_and_a_black_mask_return_the_content():
    for changes in ({"strength": 0.0}, {"mask": np.zeros((48, 64), np.float32)}):
        with pytest.warns(styleplugin.StylePluginWarning) if "mask" in changes else no_warning():
            result = styleplugin.stylize(CONTENT, STYLE, method="optimization", **QUICK, **changes)
        assert torch.equal(result.tensor, CONTENT)


@pytest.mark.parametrize("style", [torch.full((1, 3, 1, 1), 0.5), torch.full((1, 3, 40, 40), 0.0), picture(24, 16)])
def test_styles_with_little_in_them_give_finite_pictures(style):
    with pytest.warns(styleplugin.StylePluginWarning, match="degenerate") if style.std() == 0 else no_warning():
        for style_loss in ("gram", "wasserstein"):
            result = styleplugin.stylize(CONTENT, style, method="optimization", style_loss=style_loss, **QUICK)
            assert result.tensor.isfinite().all()


def test_a_content_of_one_pixel():
    assert styleplugin.stylize(picture(1, 1), STYLE, method="optimization", **QUICK).tensor.shape == (1, 3, 1, 1)


def test_tiles_change_the_picture_by_rounding_only():
    def difference(steps: int) -> torch.Tensor:
        options: dict[str, Any] = {**QUICK, "method": "optimization", "steps": steps}
        whole, tiled = (styleplugin.stylize(picture(160, 288), STYLE, tile=tile, **options) for tile in ("whole", 96))
        return (whole.tensor - tiled.tensor).abs()

    assert float(difference(2).max()) < 1e-5
    # Later a feature may be so near to 0 that rounding decides on which side of its ReLU it is; that shows in one spot.
    late = difference(4)
    assert float(late.mean()) < 1e-4 and float((late > 2e-3).float().mean()) < 1e-3


def test_M02_out_of_memory_goes_on_with_smaller_tiles_and_says_so(monkeypatch):
    content = picture(160, 176)
    expected = styleplugin.stylize(content, STYLE, method="optimization", **QUICK)
    calls = iter(range(100))
    original = Objective.__call__

    def failing(self, *args):
        if next(calls) in (1, 2, 3):
            raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes")
        return original(self, *args)

    monkeypatch.setattr(Objective, "__call__", failing)
    with pytest.warns(styleplugin.StylePluginWarning):
        result = styleplugin.stylize(content, STYLE, method="optimization", **QUICK)
    assert result.report.warnings == [
        f"Out of memory with tiles of {before}; went on with {after}."
        for before, after in ((512, 256), (256, 128), (128, 64))
    ]
    assert (expected.report.tile, result.report.tile) == (0, 64)
    assert float((result.tensor - expected.tensor).abs().mean()) < 1e-4

    def always_failing(self, *args):
        raise MemoryError

    monkeypatch.setattr(Objective, "__call__", always_failing)
    with pytest.warns(styleplugin.StylePluginWarning), pytest.raises(ResourceError, match="not even in the smallest"):
        styleplugin.stylize(content, STYLE, method="optimization", **QUICK)


def test_stopping_keeps_the_best_picture():
    seen = []

    def stop(done: float, total: float, stage: str) -> None:
        seen.append(done / total)
        if done >= 2 * 48 * 64:
            raise Cancelled

    run = Optimization(CONTENT, STYLE, on_step=stop, **{**QUICK, "steps": 100})
    with pytest.raises(Cancelled):
        losses(run)
    assert run.steps_done == 2 and seen == sorted(seen) and max(seen) <= 1
    assert run.result().tensor.isfinite().all()


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_an_interrupted_run_goes_on_to_the_same_picture(tmp_path, optimizer):
    content = picture(256, 272)
    options = {**QUICK, "scales": 2, "steps": 9, "optimizer": optimizer}
    whole = Optimization(content, STYLE, **options)
    losses(whole)
    for stop_at in (2, 7):
        path = tmp_path / f"{optimizer}{stop_at}.safetensors"
        first = Optimization(content, STYLE, checkpoint=path, checkpoint_every=1, **options)
        for progress in first:
            if progress.step == stop_at:
                break
        second = Optimization(content, STYLE, checkpoint=path, resume=True, **options)
        assert [progress.step for progress in second] == list(range(stop_at + 1, 10))
        assert torch.equal(second.result().tensor, whole.result().tensor)


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    path = tmp_path / "state.safetensors"
    losses(Optimization(CONTENT, STYLE, checkpoint=path, checkpoint_every=1, **QUICK))
    with pytest.raises(CheckpointError, match=r"options\.content_weight, pictures"):
        losses(Optimization(STYLE, STYLE, checkpoint=path, resume=True, content_weight=3.0, **QUICK))


FORGERIES = {
    "no scale": (without("scale"), "SP307"),
    "a scale in words": (saying("scale", "one"), "SP307"),
    "a scale that is not there": (saying("scale", 7), "SP307"),
    "no identity": (without("identity"), "SP307"),
    "an identity that is a number": (saying("identity", 3), "SP307"),
    "no descent": (without("descent"), "SP307"),
    "a descent that is a list": (saying("descent", []), "SP307"),
    "steps in words": (saying("descent.step", "2"), "SP307"),
    "other steps": (saying("descent.steps", 1000), "SP307"),
    "a step size in words": (saying("descent.step_size", "x"), "SP307"),
    "a negative step size": (saying("descent.step_size", -1), "SP307"),
    "losses of another kind": (saying("descent.best", {"content": 1}), "SP307"),
    "nested losses": (saying("descent.best.total", [1]), "SP307"),
    "no picture": (lacking("picture"), "SP310"),
    "a picture of another size": (holding("best", 1, 3, 8, 8), "SP310"),
    "a step too many": (holding("optimizer.step.0", 1, 3, 8, 8), "SP310"),
    "half of the last step": (lacking("optimizer.last.1"), "SP310"),
    "another optimizer": (holding("optimizer.count"), "SP310"),
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("state") / "state.safetensors"
    next(iter(Optimization(CONTENT, STYLE, checkpoint=path, checkpoint_every=1, **QUICK)))
    return path


@pytest.mark.parametrize(("forgery", "code"), FORGERIES.values(), ids=FORGERIES)
def test_a_forged_checkpoint_is_refused_before_any_work(checkpoint, tmp_path, forgery, code):
    path = tmp_path / "state.safetensors"
    path.write_bytes(checkpoint.read_bytes())
    forge(path, forgery)
    with pytest.raises(WeightsError, match=r"state\.safetensors") as caught:
        Optimization(CONTENT, STYLE, checkpoint=path, resume=True, **QUICK)
    assert caught.value.code == code


def test_what_cannot_be_used(tmp_path):
    style = tmp_path / "a.style.Safetensors"
    styleplugin.load("cd-adain.x16").prepare(STYLE).save(style)
    with pytest.raises(UsageError, match="style file"):
        Optimization(CONTENT, style, **QUICK)
    with pytest.raises(UsageError, match="no VGG encoder"):
        Optimization(CONTENT, STYLE, encoder="pca-photo.mobilenet", **QUICK)
    with pytest.raises(UsageError, match="has none"):
        styleplugin.stylize(CONTENT, STYLE, method="optimization", model="cd-wct.x16")
    with pytest.raises(UsageError, match="no option 'stepz'"):
        Optimization(CONTENT, STYLE, stepz=3)
    with pytest.raises(ResourceError, match="`optimizer=adam`"):
        Optimization(picture(1600, 1600), STYLE, memory_limit_mb=100, **QUICK)


def test_a_vgg_of_the_users_own_is_an_encoder(tmp_path):
    from safetensors.torch import save_file

    tensors, channels = {}, 3
    for name, width in (("1_1", 64), ("1_2", 64), ("2_1", 128), ("2_2", 128)):
        tensors |= {
            f"conv{name}.weight": 0.05 * torch.randn(width, channels, 3, 3, generator=torch.Generator().manual_seed(1)),
            f"conv{name}.bias": torch.zeros(width),
        }
        channels = width
    path = tmp_path / "vgg.safetensors"
    save_file(tensors, path)
    loaded = load_encoder(f"file:{path}")
    encoder, sha256 = loaded.encoder, loaded.sha256
    assert encoder.spec.level == 2 and len(sha256) == 64
    run = Optimization(CONTENT, STYLE, encoder=f"file:{path}", **QUICK)
    values = losses(run)
    assert values[-1] < values[0]


@pytest.fixture
def files(tmp_path):
    for name, tensor in (("content.png", CONTENT), ("style.png", STYLE)):
        Image.fromarray((tensor[0].permute(1, 2, 0) * 255).byte().numpy()).save(tmp_path / name)
    return tmp_path


def arguments(folder, *more: str) -> list[str]:
    paths = [str(folder / "content.png"), str(folder / "style.png"), "-o", str(folder / "out.png")]
    quick = ["--method", "optimization", "--steps", "4", "--scales", "1", "--start", "content", "--quiet"]
    return ["stylize", *paths, *quick, *more]


def test_command_line(files):
    assert cli(arguments(files, "--preview-every", "2", "--report", str(files / "report.json"))) == 0
    assert {path.name for path in files.iterdir()} >= {"out.png", "out.preview.png"}
    assert json.loads((files / "report.json").read_text())["settings"]["steps"] == 4


def test_interrupting_the_command_writes_the_best_picture_and_says_so(files, monkeypatch, capsys):
    def interrupted(self):
        for count, progress in enumerate(original(self), 1):
            yield progress
            if count == 2:
                raise KeyboardInterrupt

    original = Optimization.__iter__
    monkeypatch.setattr(Optimization, "__iter__", interrupted)
    checkpoint = files / "state.safetensors"
    assert cli(arguments(files, "--checkpoint", str(checkpoint))) == 130
    assert "Stopped after 2 of 4 steps" in capsys.readouterr().err
    assert (files / "out.png").exists() and checkpoint.exists()
    monkeypatch.undo()
    assert cli(arguments(files, "--checkpoint", str(checkpoint), "--resume", "--overwrite")) == 0


def test_options_of_the_optimization_are_refused_elsewhere(files, capsys):
    command = arguments(files)
    command[command.index("optimization")] = "adain"
    assert cli(command) == 2
    assert "--steps, --start, --scales" in capsys.readouterr().err


class no_warning:  # noqa: N801
    def __enter__(self):
        pass

    def __exit__(self, *_):
        pass


def test_style_masks_and_hidden_pixels_reach_every_part_of_a_run():
    style = torch.rand(1, 3, 48, 240, generator=torch.Generator().manual_seed(3))
    style[:, 1, :, 40:] = 0
    mask = torch.zeros(48, 240)
    mask[:, :40] = 1
    other = style.clone()
    other[..., 200:] = 1
    # What is far enough from the mask's white to be out of sight of the features changes nothing.
    results = [
        styleplugin.stylize(picture(40, 48), StyleWeight(style=x, mask=mask), method="optimization", **QUICK)
        for x in (style, other)
    ]
    plain = styleplugin.stylize(picture(40, 48), style, method="optimization", **QUICK)
    unseen = (results[0].tensor - results[1].tensor).abs().mean()
    assert unseen < 0.2 * (results[0].tensor - plain.tensor).abs().mean()
