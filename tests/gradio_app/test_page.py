"""The page in a browser, as people use it."""

import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gradio_app.pictures import COLORS

from .conftest import broken_files, picture

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(180),
    # The page lists them below the picture.
    pytest.mark.filterwarnings("ignore::styleplugin.StylePluginWarning"),
]
expect = pytest.importorskip("playwright.sync_api", reason="needs playwright").expect


@pytest.fixture
def page(chromium: Any, address: str) -> Iterator[Any]:
    """A fresh page; at its end nothing may have left the machine and no error may be in the console."""
    context = chromium.new_context(viewport={"width": 1280, "height": 1000})
    tab = context.new_page()
    errors, hosts = [], set()
    tab.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("request", lambda request: hosts.add(request.url.split("/")[2]) if "//" in request.url else None)
    # A deadline for machines that do much else; nothing waits longer than it has to.
    tab.set_default_timeout(60_000)
    tab.goto(address)
    tab.get_by_role("button", name="Paint", exact=True).wait_for()
    yield tab
    context.close()
    assert not errors
    assert hosts == {address.split("/")[2]}


def give(page: Any, place: str, path: Any) -> None:
    """Upload a picture; waits until it is there."""
    page.locator(f"#{place} input[type=file]").set_input_files(str(path))
    page.locator(f"#{place} img").wait_for()


def line(page: Any) -> Any:
    return page.locator(".prose.line:visible")


def download(page: Any, name: str = "Download the picture") -> np.ndarray:
    with page.expect_download() as waiting:
        page.get_by_role("button", name=name).filter(visible=True).click()
    return np.asarray(Image.open(waiting.value.path()))


def toast(page: Any) -> str:
    page.locator(".toast-body").first.wait_for()
    text = page.locator(".toast-body").first.inner_text()
    page.locator(".toast-close").first.click()
    return text


def test_two_uploads_give_a_slider_and_the_full_file(page: Any, tmp_path, photo: str, painting: str):
    give(page, "paint-content", photo)
    give(page, "paint-style", painting)
    page.get_by_role("button", name="Paint", exact=True).click()
    line(page).get_by_text("128 x 96").wait_for()
    assert page.locator("#paint-result img").count() == 2
    assert download(page).shape == (96, 128, 3)


def test_an_example_paints_with_one_click_and_at_once_the_second_time(page: Any):
    ended = []
    for event in ("requestfinished", "requestfailed"):
        page.on(event, lambda request: ended.append(request.url))
    page.locator("#examples button.thumbnail-item").first.click()
    line(page).get_by_text("960 x 640").wait_for()
    # The line comes a moment before the answer ends; a page that is left within it tells of the broken answer.
    while not any("queue/data" in url for url in ended):
        page.wait_for_timeout(50)
    first = line(page).inner_text()
    page.reload()
    page.get_by_role("button", name="Paint", exact=True).wait_for()
    page.locator("#examples button.thumbnail-item").first.click()
    line(page).get_by_text("960 x 640").wait_for()
    assert line(page).inner_text() == first
    assert download(page).shape == (640, 960, 3)


def test_stop_ends_an_optimization_keeps_its_picture_and_frees_the_slot(page: Any, photo: str, painting: str):
    page.get_by_role("tab", name="Optimize").click()
    give(page, "optimize-content", photo)
    give(page, "optimize-style", painting)
    page.get_by_role("spinbutton", name=re.compile("Steps")).fill("1000")
    page.get_by_role("button", name="Optimize", exact=True).click()
    page.get_by_text(re.compile("step [0-9]+ of 1000")).first.wait_for()
    page.get_by_role("button", name="Stop").filter(visible=True).click()
    line(page).get_by_text("Stopped after").wait_for()
    assert download(page).shape == (96, 128, 3)
    page.get_by_role("tab", name="Paint").click()
    give(page, "paint-content", photo)
    give(page, "paint-style", painting)
    page.get_by_role("button", name="Paint", exact=True).click()
    line(page).get_by_text("128 x 96").wait_for()


def middle(canvas: Any) -> tuple[float, float]:
    """Return where the middle of a canvas is on the screen now; it moves while pictures arrive."""
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def wait_for_color(page: Any, canvas: Any, color: Sequence[int]) -> None:
    """Wait until the middle of a canvas shows a color."""
    seen = np.zeros(3)
    for _ in range(300):
        x, y = middle(canvas)
        shot = page.screenshot(clip={"x": x, "y": y, "width": 1, "height": 1})
        seen = np.asarray(Image.open(io.BytesIO(shot)).convert("RGB"))[0, 0]
        if np.abs(seen.astype(int) - color).max() < 30:
            return
        page.wait_for_timeout(100)
    pytest.fail(f"the canvas shows {seen}, not {color}")


def test_a_drawn_region_limits_the_style(page: Any, tmp_path, painting: str):
    image = picture(9, (300, 400))
    image.save(tmp_path / "photo.png")
    page.get_by_role("tab", name="Mix").click()
    give(page, "mix-content", tmp_path / "photo.png")
    give(page, "mix-style_1", painting)
    canvas = page.locator("#mix-regions canvas").first
    # What is drawn before the photo is there goes when it comes.
    wait_for_color(page, canvas, image.getpixel((200, 150)))
    # A short stroke in the middle: the rest must stay as it is.
    x, y = middle(canvas)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 15, y + 10, steps=5)
    page.mouse.up()
    # The brush itself has the color, too.
    page.mouse.move(0, 0)
    wait_for_color(page, canvas, COLORS["red"])
    page.get_by_role("button", name="Mix", exact=True).filter(visible=True).click()
    line(page).get_by_text("400 x 300").wait_for()
    changed = np.abs(download(page).astype(int) - np.asarray(image)).max(-1) > 0
    assert 0.001 < changed.mean() < 0.5
    assert not changed[:20].any() and not changed[-20:].any()


def test_what_is_no_picture_gets_a_sentence_and_the_page_goes_on(page: Any, tmp_path, photo: str, painting: str):
    give(page, "paint-style", painting)
    for kind, path in broken_files(tmp_path).items():
        page.locator("#paint-content input[type=file]").set_input_files(str(path))
        page.wait_for_timeout(500)
        page.get_by_role("button", name="Paint", exact=True).click()
        assert f"'{kind}.png'" in toast(page)
        page.locator("#paint-content").get_by_role("button", name=re.compile("Clear|Remove")).click()
    give(page, "paint-content", photo)
    page.get_by_role("button", name="Paint", exact=True).click()
    line(page).get_by_text("128 x 96").wait_for()


def test_the_page_answers_while_a_job_runs(page: Any, address: str, photo: str, painting: str):
    page.get_by_role("tab", name="Optimize").click()
    give(page, "optimize-content", photo)
    give(page, "optimize-style", painting)
    page.get_by_role("spinbutton", name=re.compile("Steps")).fill("1000")
    page.get_by_role("button", name="Optimize", exact=True).click()
    page.get_by_text(re.compile("step [0-9]+ of 1000")).first.wait_for()
    other = page.context.new_page()
    other.goto(address)
    other.get_by_role("button", name="Paint", exact=True).wait_for()
    other.close()
    page.get_by_role("button", name="Stop").filter(visible=True).click()
    # The other page was there before the job had ended.
    line(page).get_by_text("Stopped after").wait_for()


def test_a_recipe_can_be_copied_and_loaded(page: Any):
    page.get_by_role("button", name=re.compile("Recipe")).filter(visible=True).click()
    text = page.locator("#paint-recipe textarea")
    assert '"strength": 1' in text.input_value()
    text.fill(
        text.input_value().replace('"strength": 1.0', '"strength": 0.35').replace('"strength": 1,', '"strength": 0.35,')
    )
    page.get_by_role("button", name="Load this recipe").filter(visible=True).click()
    strength = page.get_by_role("spinbutton", name=re.compile("Strength")).filter(visible=True)
    expect(strength).to_have_value("0.35", timeout=30_000)
    refused = page.locator(".toast-body").first
    # The page writes the recipe anew when the last one is loaded, maybe over this one.
    for _ in range(30):
        text.fill('{"strength": 7}')
        page.get_by_role("button", name="Load this recipe").filter(visible=True).click()
        page.wait_for_timeout(1000)
        if refused.is_visible():
            break
    assert "strength was 7" in toast(page)


def test_narrow_screens_need_no_sideways_scrolling(page: Any):
    page.set_viewport_size({"width": 390, "height": 844})
    for name in ("Paint", "Photo look", "Optimize", "Mix", "Large file"):
        tab = page.get_by_role("tab", name=name)
        if not tab.is_visible():
            page.locator(".overflow-menu > button").click()
            tab = page.locator(".overflow-dropdown button", has_text=name)
        tab.click()
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
