"""Several styles, each in its region."""

import numpy as np
import pytest
import torch
from PIL import Image

import styleplugin
from styleplugin.cli import run as cli
from styleplugin.errors import UsageError
from styleplugin.images.picture import Picture, to_pil
from styleplugin.loading.index import load as load_model
from styleplugin.options import EngineOptions, StyleWeight
from styleplugin.stylizer import Stylizer


@pytest.fixture(scope="module")
def stylizer() -> Stylizer:
    return Stylizer(*load_model("kbstyle.200k"), EngineOptions(device="cpu"))


def picture(seed: int, height: int = 64, width: int = 96) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, height // 8, width // 8, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0, 1)


CONTENT, RED, BLUE = picture(0), picture(1), picture(2)
LEFT, RIGHT = np.zeros((64, 96), np.float32), np.zeros((64, 96), np.float32)
LEFT[:, :40], RIGHT[:, 40:] = 1, 1


def test_a_region_is_painted_as_under_a_mask_and_the_rest_stays_exactly(stylizer: Stylizer):
    result = stylizer(CONTENT, [StyleWeight(style=RED, region=LEFT)])
    assert torch.equal(result.tensor[..., 40:], CONTENT[..., 40:])
    torch.testing.assert_close(result.tensor, stylizer(CONTENT, RED, mask=LEFT).tensor)


def test_every_style_stays_in_its_region(stylizer: Stylizer):
    both = stylizer(CONTENT, [StyleWeight(style=RED, region=LEFT), StyleWeight(style=BLUE, region=RIGHT)])
    torch.testing.assert_close(both.tensor[..., :40], stylizer(CONTENT, RED, mask=LEFT).tensor[..., :40])
    torch.testing.assert_close(both.tensor[..., 40:], stylizer(CONTENT, BLUE, mask=RIGHT).tensor[..., 40:])
    assert len(both.report.style_sizes) == 2 and both.report.content_size == (64, 96)


def test_styles_without_a_region_fill_what_the_others_leave(stylizer: Stylizer):
    mix = [StyleWeight(style=RED, weight=0.7), StyleWeight(style=BLUE, weight=0.3)]
    result = stylizer(CONTENT, [StyleWeight(style=BLUE, region=LEFT), *mix])
    torch.testing.assert_close(result.tensor[..., 40:], stylizer(CONTENT, mix, mask=RIGHT).tensor[..., 40:])


def test_overlapping_regions_share_the_place(stylizer: Stylizer):
    everywhere = np.ones((64, 96), np.float32)
    result = stylizer(CONTENT, [StyleWeight(style=s, region=everywhere) for s in (RED, BLUE)])
    halves = [stylizer(CONTENT, s).tensor for s in (RED, BLUE)]
    torch.testing.assert_close(result.tensor, (halves[0] + halves[1]) / 2, atol=1e-4, rtol=0)


def test_a_mask_holds_for_all_regions(stylizer: Stylizer):
    top = np.zeros((64, 96), np.float32)
    top[:32] = 1
    parts = [StyleWeight(style=RED, region=LEFT), StyleWeight(style=BLUE, region=RIGHT)]
    result = stylizer(CONTENT, parts, mask=top)
    assert torch.equal(result.tensor[:, :, 32:], CONTENT[:, :, 32:])
    assert not torch.equal(result.tensor[:, :, :32], CONTENT[:, :, :32])


def test_empty_regions_do_nothing(stylizer: Stylizer):
    nothing = np.zeros((64, 96), np.float32)
    parts = [StyleWeight(style=RED, region=nothing), StyleWeight(style=BLUE, region=LEFT)]
    torch.testing.assert_close(stylizer(CONTENT, parts).tensor, stylizer(CONTENT, parts[1:]).tensor)
    with pytest.warns(styleplugin.StylePluginWarning, match="empty_mask"):
        assert torch.equal(stylizer(CONTENT, parts[:1]).tensor, CONTENT)


def test_progress_runs_once_over_all_regions(stylizer: Stylizer):
    shares: list[float] = []
    parts = [StyleWeight(style=RED, region=LEFT), StyleWeight(style=BLUE)]
    stylizer(CONTENT, parts, on_step=lambda done, total, stage: shares.append(done / total))
    middle = shares.index(0.5)
    assert max(shares[: middle + 1]) == 0.5 and min(shares[middle + 1 :]) >= 0.5 and shares[-1] == 1


def test_clips_and_the_optimization_refuse_regions(stylizer: Stylizer):
    parts = [StyleWeight(style=RED, region=LEFT)]
    with pytest.raises(UsageError, match="region") as raised:
        list(stylizer.frames([CONTENT], parts))
    assert raised.value.code == "SP127"
    with pytest.raises(UsageError, match="region"):
        styleplugin.stylize(CONTENT, parts, method="optimization", steps=1, device="cpu")


def test_the_command_takes_a_region_for_each_style(stylizer: Stylizer, tmp_path, capsys):
    for name, tensor in {"photo": CONTENT, "red": RED, "blue": BLUE}.items():
        to_pil(Picture(tensor)).save(tmp_path / f"{name}.png")
    Image.fromarray((LEFT * 255).astype(np.uint8)).save(tmp_path / "left.png")
    photo, red, blue, left, out = (str(tmp_path / f"{name}.png") for name in ("photo", "red", "blue", "left", "out"))
    styles = ["--style", red, "--style", blue]
    assert cli(["stylize", photo, *styles, "--region", left, "--method", "kbstyle", "-o", out, "--device", "cpu"]) == 0
    expected = stylizer(photo, [StyleWeight(style=red, region=left), StyleWeight(style=blue)])
    np.testing.assert_array_equal(np.asarray(Image.open(out)), np.asarray(expected.image))
    swapped = ["--region", "-", "--region", left]
    assert cli(["stylize", photo, *styles, *swapped, "--method", "kbstyle", "-o", out, "--overwrite"]) == 0
    expected = stylizer(photo, [StyleWeight(style=red), StyleWeight(style=blue, region=left)])
    np.testing.assert_array_equal(np.asarray(Image.open(out)), np.asarray(expected.image))
    assert cli(["stylize", photo, red, "--region", left, "--region", left, "-o", out, "--overwrite"]) == 2
    assert "SP129" in capsys.readouterr().err


def test_a_region_of_another_size_is_resized_and_said(stylizer: Stylizer):
    with pytest.warns(styleplugin.StylePluginWarning, match="region: The mask is 48 x 32"):
        result = stylizer(CONTENT, [StyleWeight(style=RED, region=LEFT[::2, ::2])])
    assert any("region: The mask is 48 x 32" in note for note in result.report.warnings)
