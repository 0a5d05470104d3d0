"""The page: layout and wiring. What the buttons do is in `events`, the settings come from `styleplugin.options`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import gradio as gr

from gradio_app import events
from gradio_app.controls import control, models_of, read_recipe, write_recipe
from gradio_app.examples import SAMPLES, STYLES, example
from gradio_app.looks import CSS, theme
from gradio_app.pictures import COLORS, MAX_MEGAPIXELS, for_page
from styleplugin.errors import StylePluginError
from styleplugin.options import OptimizeOptions, StylizeOptions

MAX_UPLOAD = "64mb"
WAITING = 16
"""So many events may wait; more are told to come back later."""
PAINTERS = ("wct", "adain", "kbstyle")
_PICTURES = [".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"]
_LEVELS = ["5 4 3 2 1", "4 3 2 1", "3 2 1", "2 1", "5", "4", "3", "2", "1"]
_INTRO = f"""# styleplugin
Give a photo the style of another picture. Everything is computed here: nothing leaves this machine, nothing is fetched.
Pictures may have up to {MAX_MEGAPIXELS} megapixels and 64 MB."""

Settings = dict[str, Any]
"""Controls by the name of the event's argument."""


def build(folder: str | None = None) -> gr.Blocks:
    """Return the page.

    Args:
        folder: A folder of this machine whose pictures may be chosen in Large file; None for uploads only.
    """
    with gr.Blocks(title="styleplugin", analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        gr.Markdown(_INTRO)
        with gr.Tabs():
            with gr.Tab("Paint"):
                _paint()
            with gr.Tab("Photo look"):
                _photo_look()
            with gr.Tab("Optimize"):
                _optimize()
            with gr.Tab("Mix"):
                _mix()
            with gr.Tab("Large file"):
                _large(folder)
    # One at a time: two jobs would share the memory planned for one.
    return page.queue(max_size=WAITING, default_concurrency_limit=4)


def _paint() -> None:
    with gr.Row():
        with gr.Column():
            with gr.Row():
                content, style = upload("Photo"), upload("Style")
            gallery = gr.Gallery(
                [(str(path), name) for name, path in STYLES.items()],
                label="Example styles: one click paints your photo, or ours if you gave none",
                columns=len(STYLES),
                height=150,
                object_fit="cover",
                allow_preview=False,
                interactive=False,
                buttons=[],
                elem_id="examples",
            )
            go, halt = _buttons("Paint")
            settings = {
                "model": gr.Dropdown(models_of(*PAINTERS), label="Model"),
                "strength": control(StylizeOptions, "strength"),
                "style_scale": control(StylizeOptions, "style_scale"),
                "keep_color": control(StylizeOptions, "keep_color"),
            }
            with gr.Accordion("More settings", open=False):
                settings |= {
                    "keep_luminance": control(StylizeOptions, "keep_luminance"),
                    "smooth": control(StylizeOptions, "smooth"),
                    "levels": control(StylizeOptions, "levels", choices=_LEVELS, value=_LEVELS[0]),
                    "file_format": _format("png"),
                }
        with gr.Column():
            outputs = _result(1)
    _recipe("paint", settings)
    _wire(events.paint, [content, style], settings, outputs, go, halt, "paint")
    gallery.select(
        example,
        [content, settings["model"]],
        [gallery, content, style, *outputs],
        api_visibility="private",
        concurrency_limit=1,
        concurrency_id="gpu",
    )


def _photo_look() -> None:
    with gr.Row():
        with gr.Column():
            with gr.Row():
                content, style = upload("Photo"), upload("Photo with the look")
            go, halt = _buttons("Transfer the look")
            settings = {
                "model": gr.Dropdown(models_of("photorealistic"), label="Model"),
                "strength": control(StylizeOptions, "strength"),
                "keep_luminance": control(StylizeOptions, "keep_luminance"),
                "smooth": control(StylizeOptions, "smooth"),
                "table": gr.Dropdown([17, 33, 65], value=33, label="Color table", info="Nodes of an axis."),
                "file_format": _format("jpg"),
            }
        with gr.Column():
            outputs = _result(2)
    _recipe("photo_look", settings)
    _wire(events.photo_look, [content, style], settings, outputs, go, halt, "photo_look")


def _optimize() -> None:
    with gr.Row():
        with gr.Column():
            with gr.Row():
                content, style = upload("Photo"), upload("Style")
            go, halt = _buttons("Optimize")
            settings = {
                "steps": control(OptimizeOptions, "steps", value=100, maximum=1000),
                "side": gr.Slider(128, 4096, 512, step=16, label="Size", info="Longer side of the result in pixels."),
                "style_weight": control(OptimizeOptions, "style_weight", maximum=100),
                "content_weight": control(OptimizeOptions, "content_weight", maximum=100),
            }
            with gr.Accordion("More settings", open=False):
                settings |= {
                    "smoothness_weight": control(OptimizeOptions, "smoothness_weight", maximum=100),
                    "style_loss": control(OptimizeOptions, "style_loss"),
                    "start": control(OptimizeOptions, "start"),
                    "style_scale": control(StylizeOptions, "style_scale"),
                    "keep_color": control(StylizeOptions, "keep_color"),
                    "file_format": _format("png"),
                }
        with gr.Column():
            outputs = _result(1)
    _recipe("optimize", settings)
    _wire(events.optimize, [content, style], settings, outputs, go, halt, "optimize")


def _mix() -> None:
    colors = list(COLORS)
    with gr.Row():
        with gr.Column():
            content = upload("Photo")
            styles, weights = [], []
            for first in (0, 2):
                with gr.Row():
                    for i in (first, first + 1):
                        with gr.Column(min_width=160):
                            styles.append(upload(f"Style {i + 1} ({colors[i]})", height=160, sources=["upload"]))
                            weights.append(gr.Slider(0, 1, 1, step=0.05, label=f"Weight {i + 1}"))
            gr.Markdown("Draw where each style goes, in its color. Styles without a region are mixed everywhere else.")
            regions = _local(
                gr.ImageEditor(
                    label="Regions",
                    type="filepath",
                    image_mode="RGBA",
                    format="png",
                    sources=(),
                    transforms=(),
                    layers=False,
                    brush=gr.Brush(
                        default_size=40,
                        colors=["#{:02x}{:02x}{:02x}".format(*rgb) for rgb in COLORS.values()],
                        color_mode="fixed",
                    ),
                    elem_id="regions",
                )
            )
            go, halt = _buttons("Mix")
            settings = {f"weight_{i + 1}": weight for i, weight in enumerate(weights)}
            settings |= {
                "model": gr.Dropdown(models_of(*PAINTERS), label="Model"),
                "strength": control(StylizeOptions, "strength"),
                "style_scale": control(StylizeOptions, "style_scale"),
                "keep_color": control(StylizeOptions, "keep_color"),
                "file_format": _format("png"),
            }
        with gr.Column():
            outputs = _result(1)
    _recipe("mix", settings)
    rest = {name: settings[name] for name in settings if not name.startswith("weight_")}
    _wire(events.mix, [content, *styles, *weights, regions], rest, outputs, go, halt, "mix")
    content.change(events.canvas_of, content, regions, api_visibility="private", show_progress="hidden")


def _large(folder: str | None) -> None:
    with gr.Row():
        with gr.Column():
            file = _local(gr.File(label="Picture file", file_types=_PICTURES, type="filepath", height=140))
            chosen = []
            if folder is not None:
                label = f"Or a picture in {Path(folder).name}"
                chosen = [gr.FileExplorer("**/*.*", root_dir=folder, file_count="single", label=label, height=200)]
            style = upload("Style")
            go, halt = _buttons("Stylize in tiles")
            settings = {
                "model": gr.Dropdown(models_of(*PAINTERS, "photorealistic"), label="Model"),
                "strength": control(StylizeOptions, "strength"),
                "style_scale": control(StylizeOptions, "style_scale"),
                "keep_color": control(StylizeOptions, "keep_color"),
                "memory_limit_mb": gr.Slider(
                    256, 65536, 2048, step=256, label="Memory limit", info="In MB, beside program and picture."
                ),
                "file_format": _format("jpg"),
            }
        with gr.Column():
            outputs = _result(1)
    _recipe("large", settings)
    _wire(events.large, [file, style], settings, outputs, go, halt, "large", chosen)


def upload(label: str, **changes: Any) -> gr.Image:
    """Return where a picture is dropped; the event gets the file as it was uploaded, for our own reader."""
    usual = {"type": "filepath", "image_mode": None, "sources": ["upload", "clipboard"], "height": 220}
    image = gr.Image(label=label, **(usual | changes))
    # Gradio's own way opens the file, and fails without a sentence where it is broken or huge.
    image.preprocess = lambda payload: None if payload is None else payload.path
    return _local(image)


def _local(component: Any) -> Any:
    """Let a component take files only, no addresses that the server would fetch."""
    to_cache = component.async_move_resource_to_block_cache

    async def move(path: Any) -> Any:
        if urlsplit(str(path)).scheme in ("http", "https"):
            raise gr.Error("Pictures are uploaded; addresses are not fetched.", print_exception=False)
        return await to_cache(path)

    component.async_move_resource_to_block_cache = move
    return component


def _format(value: str) -> gr.Dropdown:
    return gr.Dropdown(events.FORMATS, value=value, label="File format", info="Of the download.")


def _buttons(label: str) -> tuple[gr.Button, gr.Button]:
    with gr.Row():
        return gr.Button(label, variant="primary"), gr.Button("Stop", variant="stop")


def _result(files: int) -> list[Any]:
    """Return the slider, the download buttons and the line below them."""
    slider = gr.ImageSlider(label="Before and after", type="filepath", format="jpeg", interactive=False, max_height=700)
    with gr.Row():
        names = ["Download the picture", "Download the color table"][:files]
        downloads = [gr.DownloadButton(name, interactive=False) for name in names]
    line = gr.Markdown("", elem_classes="line")
    line.change(
        lambda text: (
            [gr.update(interactive="·" in text) for _ in downloads] if files > 1 else gr.update(interactive="·" in text)
        ),
        line,
        downloads,
        api_visibility="private",
        show_progress="hidden",
        queue=False,
    )
    return [slider, *downloads, line]


def _recipe(task: str, settings: Settings) -> None:
    """Show the settings as text that can be copied, and load such text."""

    def shown(*values: Any) -> str:
        return write_recipe(task, dict(zip(settings, values, strict=True)))

    def loaded(text: str) -> list[Any]:
        try:
            data = read_recipe(text, task, settings)
        except StylePluginError as error:
            raise for_page(error) from error
        return [data.get(name, gr.skip()) for name in settings]

    with gr.Accordion("Recipe: these settings as text", open=False):
        text = gr.Textbox(
            value=lambda: shown(*(component.value for component in settings.values())),
            label="Copy it, or paste one and load it",
            lines=8,
            max_lines=16,
            buttons=["copy"],
        )
        load = gr.Button("Load this recipe", size="sm")
    for component in settings.values():
        component.change(
            shown, list(settings.values()), text, api_visibility="private", show_progress="hidden", queue=False
        )
    load.click(loaded, text, list(settings.values()), api_visibility="private")


def _wire(
    event: Callable[..., Any],
    inputs: list[Any],
    settings: Settings,
    outputs: list[Any],
    go: gr.Button,
    halt: gr.Button,
    name: str,
    others: Sequence[Any] = (),
) -> None:
    running = go.click(
        event,
        [*inputs, *settings.values(), *others],
        outputs,
        api_name=name,
        concurrency_limit=1,
        concurrency_id="gpu",
        show_progress_on=outputs[0],
    )
    # The first lets the work end by itself, and an optimization keeps its picture; the second takes what still waits
    # out of the queue.
    halt.click(events.stop, api_visibility="private", queue=False).then(
        None, cancels=[running], api_visibility="private"
    )


def main() -> None:
    """Start the page."""
    parser = argparse.ArgumentParser(prog="python -m gradio_app", description=main.__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at; 0.0.0.0 for the whole network")
    parser.add_argument("--port", type=int, help="by default the first free one from 7860")
    parser.add_argument("--folder", help="let the page choose pictures of this folder of this machine")
    parser.add_argument("--mcp", action="store_true", help="serve the events as MCP tools, too")
    parser.add_argument("--open", action="store_true", help="open a browser")
    options = parser.parse_args()
    if options.folder and not Path(options.folder).is_dir():
        parser.error(f"--folder: {options.folder!r} is not a folder")
    launch(
        build(options.folder),
        server_name=options.host,
        server_port=options.port,
        mcp_server=options.mcp,
        inbrowser=options.open,
    )


def launch(page: gr.Blocks, **options: Any) -> Any:
    """Start a page with our limits; returns what `gr.Blocks.launch` does."""
    Thread(target=events.warm_up, daemon=True).start()
    return page.launch(
        theme=theme(),
        css=CSS,
        max_file_size=MAX_UPLOAD,
        show_error=False,
        share=False,
        footer_links=["api", "settings"],
        allowed_paths=[str(SAMPLES)],
        **options,
    )
