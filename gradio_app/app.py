"""The page: its tabs, and how it is started. What the buttons do is in `events`, how a tab is wired in `tasks`."""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import gradio as gr

from gradio_app import events, models
from gradio_app.components import Drawings, Folder, reading_paths
from gradio_app.examples import SAMPLES, STYLES, example
from gradio_app.guard.gate import Page
from gradio_app.guard.hosts import Hosts
from gradio_app.limits import Limits, add_options, limits_of
from gradio_app.pictures import COLORS
from gradio_app.running.event import Event
from gradio_app.tasks import Task
from gradio_app.theme import CSS, theme
from styleplugin import picture_extensions
from styleplugin.errors import StylePluginError, StylePluginWarning

LOCALHOST = "127.0.0.1"
WAITING = 16
"""So many events may wait; more are told to come back later."""
SESSIONS = 256
"""So many browser sessions are remembered, at 0.3 MB each; nothing that a visitor sees depends on it."""
COMMON = ("strength", "style_scale", "keep_color")
_INTRO = """# styleplugin
Give a photo the style of another picture. All is computed on the machine that serves this page; nothing is fetched.
Pictures may have {0.max_megapixels} megapixels and {0.max_upload_mb} MB."""


def build(folder: str | None = None, limits: Limits | None = None) -> Page:
    """Return the page.

    Args:
        folder: A folder of this machine whose pictures may be chosen in Large file; None for uploads only.
        limits: What visitors may ask for; by default the usual limits.
    """
    limits = limits or Limits()
    with Page(limits=limits, title="styleplugin", analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        gr.Markdown(_INTRO.format(limits))
        with gr.Tabs():
            with gr.Tab("Paint"):
                _paint()
            with gr.Tab("Photo look"):
                _photo_look()
            with gr.Tab("Optimize"):
                _optimize()
            with gr.Tab("Mix"):
                _mix(limits)
            with gr.Tab("Large file"):
                _large(folder)
    page.queue(max_size=WAITING, default_concurrency_limit=4)
    return page


@contextmanager
def _inputs_of(event: Event, files: int = 1) -> Iterator[Task]:
    """Show an event as a tab: the inputs are shown inside the `with`, its result beside them, its recipe below."""
    task = Task(event)
    with gr.Row():
        with gr.Column():
            yield task
        with gr.Column():
            task.result(files)
    task.recipe()
    task.wire()


def _paint() -> None:
    with _inputs_of(events.paint) as task:
        with gr.Row():
            content, style = task.upload("content", "Photo"), task.upload("style", "Style")
        gr.Markdown("Example styles: one click paints your photo, or ours if you gave none.")
        gallery = gr.Gallery(
            [(str(path), name) for name, path in STYLES.items()],
            label="Example styles",
            show_label=False,
            columns=len(STYLES),
            height=150,
            object_fit="cover",
            allow_preview=False,
            interactive=False,
            buttons=[],
            elem_id="examples",
        )
        task.buttons("Paint")
        model = task.setting("model")
        task.settings(*COMMON)
        with gr.Accordion("More settings", open=False):
            task.settings("keep_luminance", "smooth", "palette", "levels", "grain")
            _part_of_style(task)
            task.setting("file_format")
    gallery.select(
        example,
        [content, model],
        [gallery, content, style, *task.outputs],
        api_visibility="private",
        concurrency_limit=1,
        concurrency_id="gpu",
        show_progress_on=task.outputs[-1],
    )


def _photo_look() -> None:
    with _inputs_of(events.photo_look, files=2) as task:
        with gr.Row():
            task.upload("content", "Photo")
            task.upload("style", "Photo with the look")
        task.buttons("Transfer the look")
        task.settings("model", "strength", "keep_luminance", "smooth", "table", "file_format")
        with gr.Accordion("More settings", open=False):
            _part_of_style(task)


def _optimize() -> None:
    with _inputs_of(events.optimize) as task:
        with gr.Row():
            task.upload("content", "Photo")
            task.upload("style", "Style")
        task.buttons("Optimize")
        task.settings("steps", "side", "style_weight", "content_weight")
        with gr.Accordion("More settings", open=False):
            task.settings("smoothness_weight", "style_loss", "start", "style_scale", "keep_color")
            _part_of_style(task)
            task.setting("file_format")


def _mix(limits: Limits) -> None:
    with _inputs_of(events.mix) as task:
        content = task.upload("content", "Photo")
        numbers = dict(enumerate(COLORS, 1))
        for row in ((1, 2), (3, 4)):
            with gr.Row():
                for i in row:
                    with gr.Column(min_width=160):
                        task.upload(f"style_{i}", f"Style {i} ({numbers[i]})", height=160, sources=["upload"])
                        task.setting(f"weight_{i}")
        gr.Markdown("Draw where each style goes, in its color. Styles without a region are mixed everywhere else.")
        brushes = gr.Brush(
            default_size=40,
            colors=["#{:02x}{:02x}{:02x}".format(*rgb) for rgb in COLORS.values()],
            color_mode="fixed",
        )
        editor = gr.ImageEditor(
            label="Regions",
            type="filepath",
            image_mode="RGBA",
            format="png",
            sources=(),
            transforms=(),
            layers=False,
            brush=brushes,
            elem_id="mix-regions",
        )
        regions = task.input("regions", Drawings(limits).attach(editor))
        task.buttons("Mix")
        task.settings("model", *COMMON, "file_format")
    content.change(events.canvas_of, content, regions, api_visibility="private", show_progress="hidden")


def _large(folder: str | None) -> None:
    with _inputs_of(events.large) as task:
        file = gr.File(label="Picture file", file_types=list(picture_extensions()), type="filepath", height=140)
        task.input("file", reading_paths(file))
        if folder is not None:
            label = f"Or a picture in {Path(folder).name}"
            explorer = gr.FileExplorer("**/*.*", root_dir=folder, file_count="single", label=label, height=200)
            task.input("chosen", Folder(folder).attach(explorer))
        task.upload("style", "Style")
        task.buttons("Stylize in tiles")
        task.settings("model", *COMMON, "memory_limit_mb", "file_format")
        with gr.Accordion("More settings", open=False):
            _part_of_style(task)


def _part_of_style(task: Task) -> None:
    task.upload("style_mask", "Part of the style that counts: white; not its black parts", height=160)
    task.setting("trim_style")


def main() -> None:
    """Start the page."""
    parser = argparse.ArgumentParser(prog="python -m gradio_app", description=main.__doc__)
    parser.add_argument("--host", help="address to listen at: 127.0.0.1, this machine alone, or 0.0.0.0, the network")
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="answer to this name, too: that of a proxy, or of this machine in its network; may be repeated",
    )
    parser.add_argument("--port", type=int, help="by default the first free one from 7860")
    parser.add_argument("--folder", help="let the page choose pictures of this folder of this machine")
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        help="offer a model of your own: file:PATH or hub:OWNER/REPO@REVISION/FILE",
    )
    parser.add_argument("--mcp", action="store_true", help="serve the events as MCP tools, too")
    parser.add_argument("--open", action="store_true", help="open a browser")
    add_options(parser)
    options = parser.parse_args()
    if options.folder and not Path(options.folder).is_dir():
        parser.error(f"--folder: {options.folder!r} is not a folder")
    # Every result lists its warnings, and whoever starts the page knows the models: the terminal needs no copy.
    warnings.simplefilter("ignore", StylePluginWarning)
    for source in options.model:
        try:
            models.admit(source)
        except StylePluginError as error:
            parser.error(f"--model: {error.code}: {error}")
    launch(
        build(options.folder, limits_of(options)),
        host=options.host,
        names=options.allow_host,
        server_port=options.port,
        mcp_server=options.mcp,
        inbrowser=options.open,
    )


def launch(page: Page, host: str | None = None, names: Iterable[str] = (), **options: Any) -> Any:
    """Start a page with its limits; returns what `gr.Blocks.launch` does.

    Args:
        page: What `build` made.
        host: Name or address to listen at; by default GRADIO_SERVER_NAME, or this machine alone.
        names: More names that it answers to.
        **options: As for `gr.Blocks.launch`.
    """
    Thread(target=events.warm_up, daemon=True).start()
    listening = host or os.environ.get("GRADIO_SERVER_NAME") or LOCALHOST
    # A Space is reached by this name.
    space = [name for name in os.environ.get("SPACE_HOST", "").split(",") if name]
    page.hosts = Hosts(listening, [*names, *space])
    return page.launch(
        theme=theme(),
        css=CSS,
        server_name=listening,
        max_file_size=page.limits.max_upload_mb << 20,
        show_error=False,
        share=False,
        # Both would answer requests past our checks.
        ssr_mode=False,
        num_workers=0,
        state_session_capacity=SESSIONS,
        footer_links=["api", "settings"],
        allowed_paths=[str(SAMPLES)],
        **options,
    )
