"""What the buttons do, without a page."""

from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from PIL import Image

import styleplugin
from gradio_app import events
from gradio_app.pictures import COLORS, drawn_regions

from .conftest import broken_files, picture

QUICK = "kbstyle.200k"
TELLS = pytest.mark.filterwarnings("ignore::styleplugin.StylePluginWarning")
"""For tests of what the page lists below the picture."""


def run(event, *args, **options):
    """Return all that an event yields, with the files' bytes in place of their names."""
    seen = []
    for outputs in event(*args, progress=lambda *_, **__: None, **options):
        # A line with notes has several lines, and may be longer than a name can be.
        is_file = [isinstance(x, str) and "\n" not in x and Path(x).is_file() for x in outputs]
        seen.append([Path(x).read_bytes() if is_one else x for x, is_one in zip(outputs, is_file, strict=True)])
    return seen


def opened(data: bytes) -> np.ndarray:
    import io

    return np.asarray(Image.open(io.BytesIO(data)))


def test_paint_gives_the_picture_of_the_engine_and_a_line(photo, painting):
    (before, after), data, line = run(events.paint, photo, painting, QUICK, 0.8)[-1]
    expected = styleplugin.stylize(photo, painting, model=QUICK, strength=0.8)
    np.testing.assert_array_equal(opened(data), np.asarray(expected.image))
    assert before.size == after.size == (128, 96)
    assert line.startswith("**kbstyle.200k** · ") and "128 x 96" in line and "peak memory" in line


def test_paint_runs_the_palette_that_is_chosen(photo, painting):
    found = []
    for palette in ("off", "map"):
        found.append(opened(run(events.paint, photo, painting, QUICK, palette=palette)[-1][1]))
        expected = styleplugin.stylize(photo, painting, model=QUICK, palette=palette)
        np.testing.assert_array_equal(found[-1], np.asarray(expected.image))
    assert not np.array_equal(*found)


def test_a_large_photo_is_shown_small_first(tmp_path, painting):
    picture(5, (900, 1200)).save(tmp_path / "large.jpg")
    outputs = run(events.paint, str(tmp_path / "large.jpg"), painting, QUICK)
    sizes = [pair[1].size for pair, *_ in outputs if isinstance(pair, tuple)]
    assert sizes == [(768, 576), (1200, 900)]


def test_the_page_shows_at_most_2_megapixels_and_the_file_has_all(tmp_path, painting):
    picture(5, (1600, 2000)).save(tmp_path / "large.jpg")
    pair, data, _ = run(events.paint, str(tmp_path / "large.jpg"), painting, QUICK, file_format="jpg")[-1]
    assert pair[0].size == pair[1].size and 1.9e6 < pair[1].width * pair[1].height <= 2e6
    assert opened(data).shape == (1600, 2000, 3)


def test_a_look_comes_with_its_color_table(photo, painting):
    _, data, table, line = run(events.photo_look, photo, painting, table=17)[-1]
    assert opened(data).shape == (96, 128, 3) and b"LUT_3D_SIZE 17" in table and "Color table: " in line


def test_an_optimization_shows_previews_and_its_best_picture(photo, painting, monkeypatch):
    monkeypatch.setattr(events, "PREVIEW_SECONDS", 0)
    outputs = run(events.optimize, photo, painting, steps=3, start="content", side=128)
    previews = [pair for pair, *_ in outputs[:-1] if isinstance(pair, tuple)]
    assert previews and opened(outputs[-1][1]).shape == (96, 128, 3)


def test_a_stopped_optimization_keeps_what_it_has(photo, painting, monkeypatch):
    monkeypatch.setattr(events, "PREVIEW_SECONDS", 0)
    monkeypatch.setattr("secrets.token_hex", lambda _: "session")
    shown, last = 0, []
    for outputs in events.optimize(photo, painting, steps=5000, start="content", progress=lambda *_, **__: None):
        last = outputs
        shown += isinstance(outputs[0], tuple)
        if shown == 2:
            events.stop_session("session")
            shown = 3
    assert last[2].startswith("**optimization**") and "Stopped after" in last[2]


def test_a_stopped_picture_says_so(photo, painting, monkeypatch):
    monkeypatch.setattr(events, "_quick_then_whole", lambda run, *_: [run.job.stop(), run.job.tell(0, "")])
    assert run(events.paint, photo, painting)[-1][-1] == "Stopped."


def drawing(tmp_path, *boxes, size=(96, 128)):
    layer = Image.new("RGBA", size[::-1])
    for color, box in boxes:
        layer.paste((*COLORS[color], 255), box)
    layer.save(tmp_path / "layer.png")
    return {"background": None, "layers": [str(tmp_path / "layer.png")], "composite": None}


def test_a_drawn_region_limits_its_style(tmp_path, photo, painting):
    drawn = drawing(tmp_path, ("red", (0, 0, 64, 96)))
    data = run(events.mix, photo, painting, regions=drawn, model=QUICK)[-1][1]
    before, after = opened(Path(photo).read_bytes()), opened(data)
    np.testing.assert_array_equal(after[:, 66:], before[:, 66:])
    assert np.abs(after[:, :60].astype(int) - before[:, :60]).mean() > 5


def test_a_drawing_that_is_no_picture_gets_a_sentence(tmp_path, photo, painting):
    drawn = {"background": None, "layers": [str(broken_files(tmp_path)["corrupt"])], "composite": None}
    with pytest.raises(gr.Error, match=r"'corrupt\.png' is damaged"):
        run(events.mix, photo, painting, regions=drawn, model=QUICK)


def test_styles_mix_by_weight_and_each_color_is_its_styles_region(tmp_path, photo, painting):
    data = run(events.mix, photo, painting, photo, weight_1=0.7, weight_2=0.3, model=QUICK)[-1][1]
    parts = [(painting, 0.7), (photo, 0.3)]
    np.testing.assert_array_equal(opened(data), np.asarray(styleplugin.stylize(photo, parts, model=QUICK).image))
    drawn = drawing(tmp_path, ("red", (0, 0, 64, 96)), ("yellow", (64, 0, 128, 96)))
    regions = drawn_regions(drawn, (96, 128))
    assert [None if region is None else region.mean() for region in regions] == [0.5, None, None, 0.5]


def framed(tmp_path: Path) -> dict[str, str]:
    """A style between black bars, the mask that leaves them out, and the style without them."""
    inner = picture(1, (96, 128))
    whole, mask = Image.new("RGB", (128, 144)), Image.new("L", (128, 144))
    whole.paste(inner, (0, 24))
    mask.paste(255, (0, 24, 128, 120))
    paths = {name: str(tmp_path / f"{name}.png") for name in ("framed", "mask", "inner")}
    for image, path in zip((whole, mask, inner), paths.values(), strict=True):
        image.save(path)
    return paths


STYLED = [
    (events.paint, {"model": QUICK}),
    (events.photo_look, {"table": 17, "file_format": "png"}),
    (events.optimize, {"steps": 1, "start": "stylized", "side": 144}),
    (events.large, {"model": QUICK, "file_format": "png"}),
]


@TELLS
@pytest.mark.parametrize(("event", "options"), STYLED, ids=[event.__name__ for event, _ in STYLED])
def test_bars_of_a_style_are_told_and_can_be_left_out(tmp_path, photo, event, options):
    style = framed(tmp_path)
    told, trimmed, inner, masked = (
        run(event, photo, style[name], **options, **more)[-1]
        for name, more in (
            ("framed", {}),
            ("framed", {"trim_style": True}),
            ("inner", {}),
            ("framed", {"style_mask": style["mask"]}),
        )
    )
    assert "uniform borders, which count as style, in pixels: top 24, bottom 24" in told[-1]
    assert "Uniform borders were left out, in pixels: top 24, bottom 24" in trimmed[-1]
    assert "border" not in inner[-1] + masked[-1]
    np.testing.assert_array_equal(opened(trimmed[1]), opened(inner[1]))
    with_bars, without, by_mask = (opened(outputs[1]).astype(int) for outputs in (told, inner, masked))
    assert np.abs(by_mask - without).mean() < np.abs(with_bars - without).mean() / 2


def test_a_mask_of_a_style_that_leaves_nothing_gets_a_sentence(tmp_path, photo, painting):
    Image.new("L", (128, 96)).save(tmp_path / "black.png")
    for event, options in STYLED:
        with pytest.raises(gr.Error, match=r"black everywhere.*\(SP223\)"):
            run(event, photo, painting, **options, style_mask=str(tmp_path / "black.png"))


@TELLS
def test_a_photo_that_is_made_smaller_keeps_what_was_noticed(tmp_path, photo, painting):
    pages = [picture(i, (300, 400)) for i in (5, 6)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    line = run(events.optimize, str(tmp_path / "pages.tif"), painting, steps=1, start="content", side=128)[-1][-1]
    assert styleplugin.read_image(tmp_path / "pages.tif").warnings[0] in line


def test_a_large_file_runs_in_tiles_within_its_memory(photo, painting):
    data = run(events.large, photo, painting, QUICK, memory_limit_mb=256, file_format="png")[-1][1]
    np.testing.assert_array_equal(opened(data), np.asarray(styleplugin.stylize(photo, painting, model=QUICK).image))


@pytest.mark.parametrize(("kind", "code"), [("empty", "SP202"), ("text", "SP203"), ("corrupt", "SP204")])
def test_G10_files_that_are_no_pictures_get_a_sentence_without_a_path(tmp_path, painting, kind, code):
    with pytest.raises(gr.Error) as raised:
        run(events.paint, str(broken_files(tmp_path)[kind]), painting)
    assert raised.value.message.endswith(f"({code})") and f"'{kind}.png'" in raised.value.message
    assert str(tmp_path) not in raised.value.message


def test_G10_a_file_that_has_gone_is_named_without_its_folder(tmp_path, painting):
    with pytest.raises(gr.Error) as raised:
        run(events.paint, str(tmp_path / "gone.png"), painting)
    assert "'gone.png'" in raised.value.message and str(tmp_path) not in raised.value.message


def test_what_is_missing_is_said(photo, painting):
    for event, args in ((events.paint, (None, painting)), (events.paint, (photo, None)), (events.mix, (photo, None))):
        with pytest.raises(gr.Error, match=r"Give (a|at least one)"):
            run(event, *args)
    with pytest.raises(gr.Error, match="no model"):
        run(events.paint, photo, painting, "file:/etc/passwd")


def test_transparent_photos_keep_their_alpha_in_the_file(tmp_path, painting):
    image = picture(7).convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    image.save(tmp_path / "alpha.png")
    pair, data, _ = run(events.paint, str(tmp_path / "alpha.png"), painting, QUICK)[-1]
    assert opened(data).shape == (96, 128, 4) and pair[0].mode == "RGB"


def test_I20_the_page_drops_what_a_photo_says_of_its_owner(tmp_path, painting):
    exif = Image.Exif()
    exif[0x010E] = "secret"
    picture(5, (32, 48)).save(tmp_path / "photo.jpg", exif=exif)
    for file_format in events.FORMATS:
        data = run(events.paint, str(tmp_path / "photo.jpg"), painting, QUICK, file_format=file_format)[-1][1]
        assert b"secret" not in data
