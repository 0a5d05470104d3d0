"""What the buttons do. Each event is a generator: previews first, then the finished files, and Stop is heard."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr
from PIL import Image

import styleplugin
from gradio_app.limits import MOST_MEGAPIXELS, limits_for
from gradio_app.models import loaded
from gradio_app.pictures import check_regions, drawn_regions, for_page, read, small, smaller
from gradio_app.running.jobs import Job, Step, shown, stop_session
from gradio_app.running.zero import gpu
from styleplugin import Optimization, Picture, Result, StyleWeight, Stylizer, picture_extensions
from styleplugin.errors import Cancelled, StylePluginError

QUICK_SIDE = 768
"""A larger photo is stylized at this longer side first, to have something to see in seconds."""
PREVIEW_SECONDS = 1.0
"""Between two previews of an optimization."""
FORMATS = [name for name in ("png", "jpg", "webp", "tif", "avif", "jxl") if f".{name}" in picture_extensions()]
"""Of downloads: what this installation writes it reads as well."""
PROGRESS = gr.Progress()
"""The bar of the page; as a default it tells Gradio to hand it in."""
Pair = tuple[Image.Image, Image.Image]


@dataclass
class Outcome:
    """What a finished event shows."""

    pair: Pair
    line: str
    files: list[str] = field(default_factory=list)


@gpu
def paint(
    content: str,
    style: str,
    model: str = "cd-wct.x16",
    strength: float = 1.0,
    style_scale: float = 1.0,
    keep_color: str = "off",
    keep_luminance: bool = False,
    smooth: int = 0,
    levels: str = "4 3 2 1",
    file_format: str = "png",
    style_mask: str | None = None,
    trim_style: bool = False,
    palette: str = "auto",
    grain: float = 1.0,
    request: gr.Request | None = None,
    progress: Any = PROGRESS,
) -> Iterator[Any]:
    """Paint a photo in the style of another picture.

    Args:
        content: The photo.
        style: The picture with the style.
        model: A model of the list: cd-wct.x16, cd-adain.x16 or kbstyle.200k.
        strength: 0 keeps the photo, 1 is the full effect.
        style_scale: Size of the style picture relative to itself, 0.1 to 4; larger gives larger strokes.
        keep_color: off, luminance or lab.
        keep_luminance: Keep the photo's light and dark; only the colors change.
        smooth: Radius in pixels of an edge-aware smoothing, 0 to 64; 0 is off.
        levels: WCT only: levels to run, deepest first, for example "3 2 1".
        file_format: png, jpg, webp or tif; avif or jxl where they can be written.
        style_mask: A picture that says which part of the style counts: white does, black (bars, captions) does not.
        trim_style: Leave uniform borders of the style (black bars, frames, margins) out.
        palette: AdaIN and KBStyle only, what takes away leaking colors of the photo: auto, off, map, level1
            or level2.
        grain: WCT only: how much noise flat parts get, so that they are painted and not woven like cloth, 0 to 2.
    """
    options = {
        "strength": strength,
        "style_scale": style_scale,
        "keep_color": keep_color,
        "keep_luminance": keep_luminance,
        "smooth": int(smooth),
        "levels": tuple(int(level) for level in levels.split()),
        "grain": grain,
        "trim_style": trim_style,
        "palette": palette,
    }

    def work(job: Job[Outcome], folder: Path) -> Outcome:
        photo, part = read(content, "a photo"), StyleWeight(style=read(style, "a style picture"), mask=style_mask)
        result = _quick_then_whole(job, photo, [part], loaded(model), options)
        return _finished(photo, result, folder, file_format)

    yield from _run(work, 1, request, progress)


@gpu
def photo_look(
    content: str,
    style: str,
    model: str = "pca-photo.vgg",
    strength: float = 1.0,
    keep_luminance: bool = False,
    smooth: int = 0,
    table: int = 33,
    file_format: str = "jpg",
    style_mask: str | None = None,
    trim_style: bool = False,
    request: gr.Request | None = None,
    progress: Any = PROGRESS,
) -> Iterator[Any]:
    """Give a photo the light and colors of another photo; also as a color table for video editors.

    Args:
        content: The photo.
        style: The photo with the look.
        model: pca-photo.vgg or pca-photo.mobilenet.
        strength: 0 keeps the photo, 1 is the full effect.
        keep_luminance: Keep the photo's light and dark; only the colors change.
        smooth: Radius in pixels of an edge-aware smoothing, 0 to 64; 0 is off, 8 is good for photographs.
        table: Nodes of an axis of the color table: 17, 33 or 65.
        file_format: png, jpg, webp or tif; avif or jxl where they can be written.
        style_mask: A picture that says which part of the style counts: white does, black (bars, captions) does not.
        trim_style: Leave uniform borders of the style (black bars, frames, margins) out.
    """
    options = {
        "strength": strength,
        "keep_luminance": keep_luminance,
        "smooth": int(smooth),
        "trim_style": trim_style,
    }

    def work(job: Job[Outcome], folder: Path) -> Outcome:
        photo, picture = read(content, "a photo"), read(style, "a photo with the look")
        part = StyleWeight(style=picture, mask=style_mask)
        result = _quick_then_whole(job, photo, [part], loaded(model), options)
        title = f"{Path(picture.name).stem}-look"
        look = styleplugin.fit_look(photo, result.picture, size=int(table), title=title, on_step=_telling(job))
        outcome = _finished(photo, result, folder, file_format)
        look.save(folder / f"{title}.cube")
        outcome.files.append(str(folder / f"{title}.cube"))
        outcome.line += f"\n\nColor table: {look.report}"
        return outcome

    yield from _run(work, 2, request, progress)


@gpu
def optimize(
    content: str,
    style: str,
    steps: int = 100,
    side: int = 512,
    style_loss: str = "gram",
    content_weight: float = 1.0,
    style_weight: float = 10.0,
    smoothness_weight: float = 5.0,
    start: str = "stylized",
    style_scale: float = 1.0,
    keep_color: str = "off",
    file_format: str = "png",
    style_mask: str | None = None,
    trim_style: bool = False,
    request: gr.Request | None = None,
    progress: Any = PROGRESS,
) -> Iterator[Any]:
    """Optimize a picture step by step: the slow way, with the richest results. Stop keeps the best picture so far.

    Args:
        content: The photo.
        style: The picture with the style.
        steps: Steps of the optimization.
        side: Longer side of the result in pixels; larger photos are made smaller.
        style_loss: gram or wasserstein.
        content_weight: How much the shapes of the photo count.
        style_weight: How much the style counts.
        smoothness_weight: How much differences between neighboring pixels cost.
        start: stylized, content or noise.
        style_scale: Size of the style picture relative to itself, 0.1 to 4.
        keep_color: off, luminance or lab.
        file_format: png, jpg, webp or tif; avif or jxl where they can be written.
        style_mask: A picture that says which part of the style counts: white does, black (bars, captions) does not.
        trim_style: Leave uniform borders of the style (black bars, frames, margins) out.
    """
    options = {
        "steps": int(steps),
        "style_loss": style_loss,
        "content_weight": content_weight,
        "style_weight": style_weight,
        "smoothness_weight": smoothness_weight,
        "start": start,
        "style_scale": style_scale,
        "keep_color": keep_color,
        "trim_style": trim_style,
    }

    def work(job: Job[Outcome], folder: Path) -> Outcome:
        photo, picture = (smaller(read(x, what), side) for x, what in ((content, "a photo"), (style, "a style")))
        part = StyleWeight(style=picture, mask=style_mask)
        text, share = "start", 0.0
        run = Optimization(
            photo, part, max_megapixels=MOST_MEGAPIXELS, on_step=lambda *_: job.tell(share, text), **options
        )
        shown = time.monotonic()
        try:
            for step in run:
                share = step.share
                text = f"step {step.step} of {step.steps}, loss {step.losses.total:.3g}, {step.seconds_left:.0f} s left"
                if time.monotonic() - shown > PREVIEW_SECONDS:
                    shown = time.monotonic()
                    job.tell(share, text, (small(photo, QUICK_SIDE), run.preview(QUICK_SIDE)))
        except Cancelled:
            if not run.steps_done:
                raise
        note = "" if run.steps_done >= steps else f"Stopped after {run.steps_done} of {int(steps)} steps."
        return _finished(photo, run.result(), folder, file_format, note)

    yield from _run(work, 1, request, progress)


@gpu
def mix(
    content: str,
    style_1: str,
    style_2: str | None = None,
    style_3: str | None = None,
    style_4: str | None = None,
    weight_1: float = 1.0,
    weight_2: float = 1.0,
    weight_3: float = 1.0,
    weight_4: float = 1.0,
    regions: dict[str, Any] | None = None,
    model: str = "cd-wct.x16",
    strength: float = 1.0,
    style_scale: float = 1.0,
    keep_color: str = "off",
    file_format: str = "png",
    request: gr.Request | None = None,
    progress: Any = PROGRESS,
) -> Iterator[Any]:
    """Mix two to four styles by weights, or paint each in a region of its own.

    Args:
        content: The photo.
        style_1: The first style picture.
        style_2: The second, and so on; those left out are not used.
        style_3: The third.
        style_4: The fourth.
        weight_1: Share of the first style, 0 to 1; the shares are scaled to sum to 1.
        weight_2: Share of the second style.
        weight_3: Share of the third style.
        weight_4: Share of the fourth style.
        regions: A drawing of any size, {"background": null, "layers": [picture with alpha], "composite": null}: red is
            the region of style 1, green of style 2, blue of style 3, yellow of style 4. Styles without a region are
            mixed everywhere else.
        model: A model of the list: cd-wct.x16, cd-adain.x16 or kbstyle.200k.
        strength: 0 keeps the photo, 1 is the full effect.
        style_scale: Size of the style pictures relative to themselves, 0.1 to 4.
        keep_color: off, luminance or lab.
        file_format: png, jpg, webp or tif; avif or jxl where they can be written.
    """
    given = [(style_1, weight_1), (style_2, weight_2), (style_3, weight_3), (style_4, weight_4)]
    options = {"strength": strength, "style_scale": style_scale, "keep_color": keep_color}

    def work(job: Job[Outcome], folder: Path) -> Outcome:
        photo = read(content, "a photo")
        drawn = drawn_regions(regions, photo.size)
        check_regions(drawn, limits_for(request).max_regions)
        parts = [
            StyleWeight(style=read(path, "a style"), weight=weight, region=where)
            for (path, weight), where in zip(given, drawn, strict=True)
            if path is not None
        ]
        if not parts:
            read(None, "at least one style picture")
        result = _quick_then_whole(job, photo, parts, loaded(model), options)
        return _finished(photo, result, folder, file_format)

    yield from _run(work, 1, request, progress)


@gpu
def large(
    file: str,
    style: str,
    model: str = "cd-wct.x16",
    strength: float = 1.0,
    style_scale: float = 1.0,
    keep_color: str = "off",
    memory_limit_mb: int = 2048,
    file_format: str = "jpg",
    chosen: str | None = None,
    style_mask: str | None = None,
    trim_style: bool = False,
    request: gr.Request | None = None,
    progress: Any = PROGRESS,
) -> Iterator[Any]:
    """Stylize a large picture in tiles, within a limit of memory; the result equals that of the whole picture.

    Args:
        file: The picture, up to 100 megapixels.
        style: The picture with the style.
        model: A model of the list.
        strength: 0 keeps the picture, 1 is the full effect.
        style_scale: Size of the style picture relative to itself, 0.1 to 4.
        keep_color: off, luminance or lab.
        memory_limit_mb: Most memory to plan for beside the program itself and the picture, in MB.
        file_format: png, jpg, webp or tif; avif or jxl where they can be written.
        chosen: A picture of the folder that the page was started with, instead of the file.
        style_mask: A picture that says which part of the style counts: white does, black (bars, captions) does not.
        trim_style: Leave uniform borders of the style (black bars, frames, margins) out.
    """
    options = {
        "strength": strength,
        "style_scale": style_scale,
        "keep_color": keep_color,
        "trim_style": trim_style,
    }

    def work(job: Job[Outcome], folder: Path) -> Outcome:
        photo = read(chosen or file, "a picture file")
        part = StyleWeight(style=read(style, "a style picture"), mask=style_mask)
        stylizer = loaded(model, int(memory_limit_mb))
        result = stylizer(photo, part, on_step=_telling(job), **options)
        return _finished(photo, result, folder, file_format)

    yield from _run(work, 1, request, progress)


def stop(request: gr.Request) -> None:
    """Stop what this page has running."""
    stop_session(request.session_hash or "")


def warm_up() -> None:
    """Load the model of the first tab and use it once, so that the first picture does not wait for that."""
    # 256 px with contrast: a smaller or plain style is warned about, and its map is not the usual one.
    picture = styleplugin.to_picture(Image.linear_gradient("L").convert("RGB"))
    job = Job(lambda job: loaded(styleplugin.DEFAULT_MODELS["wct"])(picture, picture, on_step=_telling(job)))
    for _ in job.steps("warm up"):
        pass


def canvas_of(content: str | None) -> Any:
    """Return a small copy of a photo to draw regions on."""
    if content is None:
        return None
    try:
        return {"background": small(read(content, "a photo"), QUICK_SIDE), "layers": [], "composite": None}
    except StylePluginError as error:
        raise for_page(error) from error


def _run(
    work: Callable[[Job[Outcome], Path], Outcome], files: int, request: gr.Request | None, progress: Any
) -> Iterator[Any]:
    """Run an event's work; yields (pair, file, ..., line), where what has not changed is skipped."""
    session = (request.session_hash if request else None) or secrets.token_hex(8)
    nothing = [gr.skip()] * files
    # Gradio copies the files when they are yielded; the folder goes when the event has ended.
    with shown(session), TemporaryDirectory(prefix="styleplugin-") as folder:
        job: Job[Outcome] = Job(lambda job: work(job, Path(folder)))
        try:
            outcome = yield from _followed(job.steps(session), nothing, progress)
        except Cancelled:
            yield gr.skip(), *nothing, "Stopped."
        except StylePluginError as error:
            raise for_page(error) from error
        else:
            memory = f" · peak memory {job.peak_memory / 1e6:,.0f} MB" if job.peak_memory else ""
            first, *rest = outcome.line.split("\n", 1)
            yield outcome.pair, *outcome.files, "\n".join([first + memory, *rest])
        finally:
            # Nothing may write into the folder any more when it goes.
            job.stop()
            job.wait(60)


def _followed(
    steps: Generator[Step | None, None, Outcome], nothing: Sequence[Any], progress: Any
) -> Generator[Any, None, Outcome]:
    """Pass on a job's previews, and its progress to the page's bar."""
    try:
        while True:
            step = next(steps)
            if step is not None:
                progress(min(1.0, step.share), desc=step.text)
            yield gr.skip() if step is None or step.show is None else step.show, *nothing, gr.skip()
    except StopIteration as end:
        return end.value
    finally:
        steps.close()


def _quick_then_whole(
    job: Job[Outcome], photo: Picture, parts: list[StyleWeight], stylizer: Stylizer, options: dict[str, Any]
) -> Result:
    """Stylize, and show a small version of a large photo first."""
    factor = QUICK_SIDE / max(photo.size)
    if factor < 0.7:
        quickly: dict[str, Any] = options | {"style_scale": max(0.1, options.get("style_scale", 1.0) * factor)}
        quick = stylizer(small(photo, QUICK_SIDE), parts, on_step=_telling(job), **quickly)
        job.tell(0, "preview done", (small(photo, QUICK_SIDE), quick.image))
    return stylizer(photo, parts, on_step=_telling(job), **options)


def _finished(photo: Picture, result: Result, folder: Path, file_format: str, note: str = "") -> Outcome:
    """Write the result's file, and describe it."""
    report = result.report
    model = report.settings.get("model", report.settings["method"])
    path = folder / f"{Path(photo.name).stem or 'picture'}-{model}.{file_format}"
    # What a photo says of its owner is not the page's to pass on.
    result.save(path, metadata=False)
    height, width = report.content_size
    line = f"**{model}** · {report.seconds['total']:.1f} s · {width} x {height}"
    notes = [note, *report.warnings] if note else report.warnings
    pair = (small(photo), small(result.picture))
    return Outcome(pair, "\n\n".join([line, *notes]), [str(path)])


def _telling(job: Job[Any]) -> Callable[[float, float, str], None]:
    """Return an `on_step` that tells a job."""
    return lambda done, total, stage: job.tell(done / total if total else 0, stage)
