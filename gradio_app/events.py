"""What the buttons do. Each event says what it takes, once for the page and the API, and then what it makes of it."""

from __future__ import annotations

import time
from inspect import Parameter
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

import styleplugin
from gradio_app.limits import MOST_MEGAPIXELS
from gradio_app.models import loaded, models_of
from gradio_app.pictures import check_regions, drawn_regions, for_page, read, small, smaller
from gradio_app.running.event import Outcome, Run, argument, event, option
from gradio_app.running.jobs import Job, stop_session
from styleplugin import Optimization, Picture, Result, StyleWeight, Stylizer, picture_extensions
from styleplugin.errors import Cancelled, StylePluginError
from styleplugin.methods import default_models, names
from styleplugin.options import EngineOptions, OptimizeOptions, StylizeOptions

QUICK_SIDE = 768
"""A larger photo is stylized at this longer side first, to have something to see in seconds."""
PREVIEW_SECONDS = 1.0
"""Between two previews of an optimization."""
FORMATS = [name for name in ("png", "jpg", "webp", "tif", "avif", "jxl") if f".{name}" in picture_extensions()]
"""Of downloads: what this installation writes it reads as well."""
LOOKS = names("looks")
"""Methods whose pictures keep the content's shapes."""
PAINTERS = tuple(name for name in default_models() if name not in LOOKS)
_LEVELS = ["4 3 2 1", "5 4 3 2 1", "3 2 1", "2 1", "5", "4", "3", "2", "1"]

CONTENT = argument("content", "The photo.")
STYLE = argument("style", "The picture with the style.")
STYLE_MASK = argument(
    "style_mask",
    "A picture that says which part of the style counts: white does, black (bars, captions) does not.",
    str | None,
    default=None,
)
TRIM_STYLE = option(StylizeOptions, "trim_style", label="Trim uniform borders of the style")
COMMON = [option(StylizeOptions, name) for name in ("strength", "style_scale", "keep_color")]
STRENGTH, STYLE_SCALE, KEEP_COLOR = COMMON
KEEP_LUMINANCE, SMOOTH = (option(StylizeOptions, name) for name in ("keep_luminance", "smooth"))


def _model(*methods: str) -> Parameter:
    """Describe the argument that names a model of some methods; the first one's own is the default."""
    usual = [default_models()[method] for method in methods]
    return argument(
        "model",
        f"A model of the list, such as {', '.join(usual)}.",
        default=usual[0],
        show=lambda: gr.Dropdown(models_of(*methods), label="Model"),
    )


def _file_format(usual: str) -> Parameter:
    """Describe the argument that says how the download is written."""
    return argument(
        "file_format",
        f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}.",
        default=usual,
        show=lambda: gr.Dropdown(FORMATS, value=usual, label="File format", info="Of the download."),
    )


@event(
    CONTENT,
    STYLE,
    _model(*PAINTERS),
    *COMMON,
    KEEP_LUMINANCE,
    SMOOTH,
    option(StylizeOptions, "levels", choices=_LEVELS, value=_LEVELS[0]),
    _file_format("png"),
    STYLE_MASK,
    TRIM_STYLE,
    option(StylizeOptions, "palette"),
    option(StylizeOptions, "grain", value=1.0),
)
def paint(
    run: Run,
    *,
    content: str,
    style: str,
    model: str,
    levels: str,
    file_format: str,
    style_mask: str | None,
    **options: Any,
) -> Outcome:
    """Paint a photo in the style of another picture."""
    photo, part = read(content, "a photo"), StyleWeight(style=read(style, "a style picture"), mask=style_mask)
    options["levels"] = tuple(int(level) for level in levels.split())
    result = _quick_then_whole(run, photo, [part], loaded(model), options)
    return _finished(run, photo, result, file_format)


@event(
    CONTENT,
    argument("style", "The photo with the look."),
    _model(*LOOKS),
    STRENGTH,
    KEEP_LUMINANCE,
    SMOOTH,
    argument(
        "table",
        "Nodes of an axis of the color table: 17, 33 or 65.",
        int,
        default=33,
        show=lambda: gr.Dropdown([17, 33, 65], value=33, label="Color table", info="Nodes of an axis."),
    ),
    _file_format("jpg"),
    STYLE_MASK,
    TRIM_STYLE,
    files=2,
)
def photo_look(
    run: Run,
    *,
    content: str,
    style: str,
    model: str,
    table: int,
    file_format: str,
    style_mask: str | None,
    **options: Any,
) -> Outcome:
    """Give a photo the light and colors of another photo; also as a color table for video editors."""
    photo, picture = read(content, "a photo"), read(style, "a photo with the look")
    part = StyleWeight(style=picture, mask=style_mask)
    result = _quick_then_whole(run, photo, [part], loaded(model), options)
    title = f"{Path(picture.name).stem}-look"
    look = styleplugin.fit_look(photo, result.picture, size=int(table), title=title, on_step=run.job.on_step)
    outcome = _finished(run, photo, result, file_format)
    look.save(run.folder / f"{title}.cube")
    outcome.files.append(str(run.folder / f"{title}.cube"))
    outcome.line += f"\n\nColor table: {look.report}"
    return outcome


@event(
    CONTENT,
    STYLE,
    option(OptimizeOptions, "steps", value=100, maximum=1000),
    argument(
        "side",
        "Longer side of the result in pixels; larger photos are made smaller.",
        int,
        default=512,
        show=lambda: gr.Slider(128, 4096, 512, step=16, label="Size", info="Longer side of the result in pixels."),
    ),
    option(OptimizeOptions, "style_loss"),
    option(OptimizeOptions, "content_weight", maximum=100),
    option(OptimizeOptions, "style_weight", maximum=100),
    option(OptimizeOptions, "smoothness_weight", maximum=100),
    option(OptimizeOptions, "start"),
    STYLE_SCALE,
    KEEP_COLOR,
    _file_format("png"),
    STYLE_MASK,
    TRIM_STYLE,
)
def optimize(
    run: Run, *, content: str, style: str, side: int, file_format: str, style_mask: str | None, **options: Any
) -> Outcome:
    """Optimize a picture step by step: the slow way, with the richest results. Stop keeps the best picture so far."""
    photo, picture = (smaller(read(x, what), side) for x, what in ((content, "a photo"), (style, "a style")))
    part = StyleWeight(style=picture, mask=style_mask)
    text, share = "start", 0.0
    work = Optimization(
        photo, part, max_megapixels=MOST_MEGAPIXELS, on_step=lambda *_: run.job.tell(share, text), **options
    )
    shown = time.monotonic()
    try:
        for step in work:
            share = step.share
            text = f"step {step.step} of {step.steps}, loss {step.losses.total:.3g}, {step.seconds_left:.0f} s left"
            if time.monotonic() - shown > PREVIEW_SECONDS:
                shown = time.monotonic()
                run.job.tell(share, text, (small(photo, QUICK_SIDE), work.preview(QUICK_SIDE)))
    except Cancelled:
        if not work.steps_done:
            raise
    steps = work.options.steps
    note = "" if work.steps_done >= steps else f"Stopped after {work.steps_done} of {steps} steps."
    return _finished(run, photo, work.result(), file_format, note)


_ORDINALS = ("first", "second", "third", "fourth")


def _weight(number: int, which: str) -> Parameter:
    return argument(
        f"weight_{number}",
        f"Share of the {which} style, 0 to 1; the shares are scaled to sum to 1.",
        float,
        default=1.0,
        show=lambda: gr.Slider(0, 1, 1, step=0.05, label=f"Weight {number}"),
    )


@event(
    CONTENT,
    argument("style_1", "The first style picture."),
    *(
        argument(f"style_{i}", f"The {which} style picture; it may be left out.", str | None, default=None)
        for i, which in enumerate(_ORDINALS[1:], 2)
    ),
    *(_weight(i, which) for i, which in enumerate(_ORDINALS, 1)),
    argument(
        "regions",
        'A drawing of any size, {"background": null, "layers": [picture with alpha], "composite": null}: red is the '
        "region of style 1, green of style 2, blue of style 3, yellow of style 4. Styles without a region are mixed "
        "everywhere else.",
        dict[str, Any] | None,
        default=None,
    ),
    _model(*PAINTERS),
    *COMMON,
    _file_format("png"),
)
def mix(
    run: Run, *, content: str, regions: dict[str, Any] | None, model: str, file_format: str, **given: Any
) -> Outcome:
    """Mix two to four styles by weights, or paint each in a region of its own."""
    styles = [(given.pop(f"style_{i}"), given.pop(f"weight_{i}")) for i in range(1, len(_ORDINALS) + 1)]
    photo = read(content, "a photo")
    drawn = drawn_regions(regions, photo.size)
    check_regions(drawn, run.limits.max_regions)
    parts = [
        StyleWeight(style=read(path, "a style"), weight=weight, region=where)
        for (path, weight), where in zip(styles, drawn, strict=True)
        if path is not None
    ]
    if not parts:
        read(None, "at least one style picture")
    result = _quick_then_whole(run, photo, parts, loaded(model), given)
    return _finished(run, photo, result, file_format)


@event(
    argument("file", "The picture, as large as the page allows."),
    STYLE,
    _model(*default_models()),
    *COMMON,
    option(
        EngineOptions,
        "memory_limit_mb",
        value=2048,
        minimum=256,
        maximum=65536,
        step=256,
        label="Memory limit",
        info="In MB, beside program and picture.",
    ),
    _file_format("jpg"),
    argument(
        "chosen",
        "A picture of the folder that the page was started with, instead of the file.",
        str | None,
        default=None,
    ),
    STYLE_MASK,
    TRIM_STYLE,
)
def large(
    run: Run,
    *,
    file: str,
    style: str,
    model: str,
    memory_limit_mb: int,
    file_format: str,
    chosen: str | None,
    style_mask: str | None,
    **options: Any,
) -> Outcome:
    """Stylize a large picture in tiles, within a limit of memory; the result equals that of the whole picture."""
    photo = read(chosen or file, "a picture file")
    part = StyleWeight(style=read(style, "a style picture"), mask=style_mask)
    stylizer = loaded(model, int(memory_limit_mb))
    return _finished(run, photo, stylizer(photo, part, on_step=run.job.on_step, **options), file_format)


def stop(request: gr.Request) -> None:
    """Stop what this page has running."""
    stop_session(request.session_hash or "")


def warm_up() -> None:
    """Load the model of the first tab and use it once, so that the first picture does not wait for that."""
    # 256 px with contrast: a smaller or plain style is warned about, and its map is not the usual one.
    picture = styleplugin.to_picture(Image.linear_gradient("L").convert("RGB"))
    model = loaded(default_models()[PAINTERS[0]])
    job = Job(lambda job: model(picture, picture, on_step=job.on_step))
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


def _quick_then_whole(
    run: Run, photo: Picture, parts: list[StyleWeight], stylizer: Stylizer, options: dict[str, Any]
) -> Result:
    """Stylize, and show a small version of a large photo first."""
    factor = QUICK_SIDE / max(photo.size)
    if factor < 0.7:
        quickly: dict[str, Any] = options | {"style_scale": max(0.1, options.get("style_scale", 1.0) * factor)}
        quick = stylizer(small(photo, QUICK_SIDE), parts, on_step=run.job.on_step, **quickly)
        run.job.tell(0, "preview done", (small(photo, QUICK_SIDE), quick.image))
    return stylizer(photo, parts, on_step=run.job.on_step, **options)


def _finished(run: Run, photo: Picture, result: Result, file_format: str, note: str = "") -> Outcome:
    """Write the result's file, and describe it."""
    report = result.report
    model = report.settings.get("model", report.settings["method"])
    path = run.folder / f"{Path(photo.name).stem or 'picture'}-{model}.{file_format}"
    # What a photo says of its owner is not the page's to pass on.
    result.save(path, metadata=False)
    height, width = report.content_size
    line = f"**{model}** · {report.seconds['total']:.1f} s · {width} x {height}"
    notes = [note, *report.warnings] if note else report.warnings
    pair = (small(photo), small(result.picture))
    return Outcome(pair, "\n\n".join([line, *notes]), [str(path)])
