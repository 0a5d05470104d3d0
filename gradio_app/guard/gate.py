"""The page as Gradio runs it, with one gate for all that comes in: every function of it, listed or not."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import gradio as gr
from starlette.concurrency import run_in_threadpool

from gradio_app.guard.admission import Admission
from gradio_app.guard.hosts import HostGuard, Hosts
from gradio_app.guard.quota import Ledger, UploadGuard
from gradio_app.limits import Limits
from gradio_app.pictures import for_page
from styleplugin.errors import StylePluginError

_LOGGER = logging.getLogger(__name__)


class Page(gr.Blocks):
    """A page whose functions get checked values only, and whose server answers to its own names only.

    Args:
        limits: What visitors may ask for.
        **options: As for `gr.Blocks`.
    """

    def __init__(self, *, limits: Limits, **options: Any) -> None:
        self._app: Any = None
        self._ledger = Ledger(limits)
        self.limits = limits
        self.hosts = Hosts("127.0.0.1")
        super().__init__(**options)

    @property
    def app(self) -> Any:
        """The server's application, which Gradio makes when the page is launched."""
        return self._app

    @app.setter
    def app(self, app: Any) -> None:
        # What is added last sees requests first: before Gradio's own rule for origins, which believes the Host header.
        app.add_middleware(UploadGuard, ledger=self._ledger)
        app.add_middleware(HostGuard, hosts=self.hosts)
        self._app = app

    async def preprocess_data(
        self, block_fn: Any, inputs: list[Any], state: Any, explicit_call: bool = False
    ) -> Sequence[Any]:
        """Check the inputs of a function, then let the components read them."""
        checked = await run_in_threadpool(Admission(self.limits).admit, block_fn.inputs, inputs)
        return await super().preprocess_data(block_fn, checked, state, explicit_call)

    async def process_api(self, *args: Any, **options: Any) -> dict[str, Any]:
        """Run a function; whatever goes wrong becomes a sentence with a code."""
        try:
            return await super().process_api(*args, **options)
        except StylePluginError as error:
            raise for_page(error) from error
        except Exception as error:
            if type(error) is gr.Error:
                raise
            _LOGGER.exception("a request failed")
            raise gr.Error(
                "This request cannot be answered; the server's log says why. (SP169)", print_exception=False
            ) from error
