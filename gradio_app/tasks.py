"""A tab of the page: what it takes, its settings, its buttons, its result and its recipe, wired to one event."""

from __future__ import annotations

import inspect
from typing import Any

import gradio as gr

from gradio_app import events
from gradio_app.components import reading_paths
from gradio_app.controls import read_recipe, write_recipe
from gradio_app.pictures import for_page
from gradio_app.running.event import Event, control_of
from styleplugin.errors import StylePluginError

_DOWNLOADS = ("Download the picture", "Download the color table")


class Task:
    """A tab that runs one event; its parts are shown where they are called for, in the order of the calls.

    Args:
        event: From `events`; its name is that of the task and of the API's endpoint.
    """

    def __init__(self, event: Event) -> None:
        self.name: str = event.__name__
        self._event = event
        self._inputs: dict[str, Any] = {}
        self._settings: dict[str, Any] = {}
        self.outputs: list[Any] = []
        """What shows the result."""

    def upload(self, name: str, label: str, **changes: Any) -> Any:
        """Show where a picture is dropped; the event gets the file as it was uploaded, for our own reader."""
        usual = {"type": "filepath", "image_mode": None, "sources": ["upload", "clipboard"], "height": 220}
        usual["placeholder"] = "Drop a picture, or click"
        image = gr.Image(label=label, alt_text=label, elem_id=f"{self.name}-{name}", **(usual | changes))
        return self.input(name, reading_paths(image))

    def input(self, name: str, component: Any) -> Any:
        """Take a component as an argument of the event."""
        self._inputs[name] = component
        return component

    def setting(self, name: str) -> Any:
        """Show the control of a setting: an argument of the event that is part of the recipe."""
        self._settings[name] = control_of(self._event, name)
        return self._settings[name]

    def settings(self, *names: str) -> None:
        """Show the controls of several settings, one below the other."""
        for name in names:
            self.setting(name)

    def buttons(self, label: str) -> None:
        """Show the button that runs the event, and Stop."""
        with gr.Row():
            self._go, self._stop = gr.Button(label, variant="primary"), gr.Button("Stop", variant="stop")

    def result(self, files: int = 1) -> None:
        """Show the slider, the download buttons and the line below them."""
        slider = gr.ImageSlider(
            label="Before and after",
            type="filepath",
            format="jpeg",
            interactive=False,
            max_height=700,
            elem_id=f"{self.name}-result",
        )
        with gr.Row():
            downloads = [gr.DownloadButton(label, interactive=False) for label in _DOWNLOADS[:files]]
        line = gr.Markdown("", elem_classes="line")
        for download in downloads:
            # The line of a finished picture has such a dot.
            line.change(
                lambda text: gr.update(interactive="·" in text),
                line,
                download,
                api_visibility="private",
                show_progress="hidden",
                queue=False,
            )
        self.outputs = [slider, *downloads, line]

    def recipe(self) -> None:
        """Show the settings as text that can be copied, and load such text."""
        settings = list(self._settings.values())
        with gr.Accordion("Recipe: these settings as text", open=False):
            text = gr.Textbox(
                value=self._written(*(component.value for component in settings)),
                label="Copy it, or paste one and load it",
                lines=8,
                max_lines=16,
                buttons=["copy"],
                elem_id=f"{self.name}-recipe",
            )
            load = gr.Button("Load this recipe", size="sm")
        for component in settings:
            component.change(
                self._written, settings, text, api_visibility="private", show_progress="hidden", queue=False
            )
        load.click(self._read, text, settings, api_visibility="private")

    def wire(self) -> None:
        """Let the buttons run the event and stop it."""
        given = self._inputs | self._settings
        names = [name for name in inspect.signature(self._event).parameters if name in given]
        assert len(names) == len(given), f"{self.name} has no arguments {given.keys() - set(names)}"
        running = self._go.click(
            self._event,
            [given[name] for name in names],
            self.outputs,
            api_name=self.name,
            concurrency_limit=1,
            concurrency_id="gpu",
            # Below the pictures, so that previews can be seen.
            show_progress_on=self.outputs[-1],
        )
        # The first lets the work end by itself, and an optimization keeps its picture; the second takes what still
        # waits out of the queue.
        self._stop.click(events.stop, api_visibility="private", queue=False).then(
            None, cancels=[running], api_visibility="private"
        )

    def _written(self, *values: Any) -> str:
        return write_recipe(self.name, dict(zip(self._settings, values, strict=True)))

    def _read(self, text: str) -> list[Any]:
        try:
            data = read_recipe(text, self.name, self._settings)
        except StylePluginError as error:
            raise for_page(error) from error
        return [data.get(name, gr.skip()) for name in self._settings]
