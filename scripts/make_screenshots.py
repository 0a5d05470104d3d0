"""Take docs/images/app-light.jpg and app-dark.jpg: each tab of the page with our sample pictures.

Needs Debian's chromium. Run: python scripts/make_screenshots.py
"""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from gradio_app.app import build, launch
from gradio_app.examples import SAMPLES

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
SIZE = {"width": 1240, "height": 1000}
TAKEN = 620
"""Width of a tab in the sheet."""
_MINUTE = 60_000
_FINISHED = ".prose.line:visible strong"


def shoot(page: Any) -> list[Image.Image]:
    """Use each tab, and return what it looks like."""
    shots = []

    def take() -> None:
        page.wait_for_timeout(1500)
        page.evaluate("scrollTo(0, 0)")
        shots.append(Image.open(io.BytesIO(page.screenshot())))

    def give(place: str, name: str) -> None:
        page.locator(f"#{place} input[type=file]").set_input_files(SAMPLES / f"{name}.jpg")
        page.locator(f"#{place} img").wait_for()

    def run(name: str, *, until: str = _FINISHED) -> None:
        page.get_by_role("button", name=name, exact=True).filter(visible=True).click()
        page.locator(until).first.wait_for()

    page.locator("#examples button.thumbnail-item").first.click()
    page.locator(_FINISHED).wait_for()
    take()
    page.get_by_role("tab", name="Photo look").click()
    give("photo_look-content", "lake")
    give("photo_look-style", "dots")
    run("Transfer the look")
    take()
    page.get_by_role("tab", name="Optimize").click()
    give("optimize-content", "lake")
    give("optimize-style", "waves")
    run("Optimize", until="text=/step 6/")
    take()
    run("Stop", until="text=Stopped after")
    page.get_by_role("tab", name="Mix").click()
    give("mix-content", "lake")
    give("mix-style_1", "swirls")
    give("mix-style_2", "dots")
    page.wait_for_timeout(1500)
    page.set_viewport_size(SIZE | {"height": 1900})
    draw(page)
    run("Mix")
    take()
    shots[-1] = shots[-1].crop((0, 0, SIZE["width"], 1400))
    page.set_viewport_size(SIZE)
    page.get_by_role("tab", name="Large file").click()
    take()
    return shots


def draw(page: Any) -> None:
    """Draw a region over the sky."""
    box = page.locator("#mix-regions canvas").first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 130, y - 90)
    page.mouse.down()
    for line in range(8):
        page.mouse.move(x - 130 + 260 * (line % 2), y - 90 + 8 * line, steps=6)
    page.mouse.up()
    page.wait_for_timeout(1000)


def sheet(shots: list[Image.Image]) -> Image.Image:
    """Put the tabs into two columns."""
    small = [shot.convert("RGB").resize((TAKEN, shot.height * TAKEN // shot.width)) for shot in shots]
    columns = [[small[0], small[1], small[4]], [small[3], small[2]]]
    height = max(sum(image.height for image in column) for column in columns)
    result = Image.new("RGB", (2 * TAKEN, height), small[0].getpixel((2, 2)))
    for i, column in enumerate(columns):
        top = 0
        for image in column:
            result.paste(image, (i * TAKEN, top))
            top += image.height
    return result


def main() -> None:
    page = build()
    _, address, _ = launch(page, prevent_thread_lock=True, quiet=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for theme in ("light", "dark"):
            tab = browser.new_page(viewport=SIZE, color_scheme=theme)
            tab.set_default_timeout(_MINUTE)
            tab.goto(f"{address}?__theme={theme}")
            tab.locator("#paint-content").wait_for()
            path = IMAGES / f"app-{theme}.jpg"
            sheet(shoot(tab)).save(path, quality=80, optimize=True)
            print(path, f"{path.stat().st_size / 1000:.0f} kB")
            tab.close()
        browser.close()
    page.close()


if __name__ == "__main__":
    main()
