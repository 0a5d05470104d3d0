import json

import pytest
import torch

import styleplugin
from styleplugin.cli import run
from styleplugin.errors import MaskError, UsageError
from styleplugin.images.looks.table import LUT
from styleplugin.images.picture import from_channels
from styleplugin.images.read import read_image
from styleplugin.images.write import write_image


@pytest.fixture
def photo():
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 6, 8, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=(72, 96), mode="bicubic").clamp(0, 1)


def test_a_change_of_colors_alone_is_carried_whole(photo):
    look = styleplugin.fit_look(photo, photo.flip(1) * 0.8 + 0.1, size=17, title="swapped")
    assert look.report.mean < 0.3
    assert look.report.visible < 0.01
    assert look.lut.title == "swapped"


def test_what_depends_on_the_place_is_reported_as_lost(photo):
    stylized = photo.clone()
    stylized[..., 48:] = 1 - photo[..., :48]
    stylized[..., :48] = photo[..., :48]
    doubled = torch.cat([photo[..., :48], photo[..., :48]], 3)
    look = styleplugin.fit_look(doubled, stylized, size=17)
    assert look.report.mean > 5
    assert look.report.visible > 0.5
    assert look.report.percentile95 > look.report.mean
    assert look.errors.shape == (1, 1, 72, 96)


def test_pictures_of_two_sizes_are_refused(photo):
    with pytest.raises(UsageError, match="one size"):
        styleplugin.fit_look(photo, photo[..., :-1])


def test_the_commands_export_a_look_and_apply_it(tmp_path, photo, tiny_weights, capsys):
    content, style = tmp_path / "photo.png", tmp_path / "style.png"
    write_image(from_channels(photo, bits=8), content)
    write_image(from_channels(photo.flip(1), bits=8), style)
    files = {name: str(tmp_path / name) for name in ("look.cube", "hald.png", "map.png", "report.json", "out.png")}
    common = ["--model", str(tiny_weights), "--allow-unknown-model", "--levels", "1"]
    given = ["--size", "9", "--hald", files["hald.png"], "--error-map", files["map.png"]]
    arguments = [str(content), str(style), "-o", files["look.cube"], "--report", files["report.json"], *given, *common]
    assert run(["look", "export", *arguments]) == 0
    assert "color difference" in capsys.readouterr().out
    assert set(json.loads((tmp_path / "report.json").read_text())) == {"size", "mean", "percentile95", "visible"}
    assert run(["look", "apply", str(content), files["look.cube"], "-o", files["out.png"]]) == 0
    applied = read_image(files["out.png"]).rgb
    assert float((styleplugin.read_lut(files["look.cube"]).apply(read_image(content).rgb) - applied).abs().max()) < 0.01
    assert run(["look", "apply", str(content), files["hald.png"], "-o", files["out.png"]]) == 7
    assert run(["look", "export", *arguments]) == 7


def test_strength_0_keeps_the_picture(tmp_path, photo):
    write_image(from_channels(photo, bits=16), tmp_path / "photo.png")
    styleplugin.Look(LUT(1 - LUT.identity(4).table), None, None).save(tmp_path / "negative.cube")  # type: ignore[arg-type]
    arguments = [str(tmp_path / "photo.png"), str(tmp_path / "negative.cube"), "-o", str(tmp_path / "out.png")]
    assert run(["look", "apply", *arguments, "--strength", "0"]) == 0
    assert torch.equal(read_image(tmp_path / "out.png").rgb, read_image(tmp_path / "photo.png").rgb)
    assert run(["look", "apply", *arguments, "--strength", "2", "--overwrite"]) == 2


def test_a_look_needs_its_extension(tmp_path):
    assert run(["look", "export", "a.jpg", "b.jpg", "-o", str(tmp_path / "look.txt")]) == 2


def test_a_look_and_its_report_count_what_can_be_seen_only(photo):
    """A figure on a large canvas that alpha or a mask hides has the look, and the errors, of the figure alone."""
    stylized = 1 - photo
    stylized[..., 48:] = photo[..., 48:]
    alone = styleplugin.fit_look(photo, stylized, size=9)
    canvas, after = torch.rand(1, 3, 200, 300), torch.rand(1, 3, 200, 300)
    canvas[:, :, :72, :96], after[:, :, :72, :96] = photo, stylized
    mask = torch.zeros(200, 300)
    mask[:72, :96] = 1
    for looks in (
        styleplugin.fit_look(canvas, after, size=9, mask=mask),
        styleplugin.fit_look(torch.cat([canvas, mask[None, None]], 1), after, size=9),
    ):
        assert float((looks.lut.table - alone.lut.table).abs().max()) < 1e-4
        assert looks.report.mean == pytest.approx(alone.report.mean, rel=1e-3)
        assert looks.report.percentile95 == pytest.approx(alone.report.percentile95, rel=1e-2)
        assert looks.report.visible == pytest.approx(alone.report.visible, abs=1e-3)
    with pytest.raises(MaskError) as caught:
        styleplugin.fit_look(canvas, after, mask=torch.zeros(200, 300))
    assert caught.value.code == "SP223"
