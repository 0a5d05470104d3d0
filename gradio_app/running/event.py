"""From work to an event of the page: what it takes, described once, and how it is run and followed."""

from __future__ import annotations

import inspect
import secrets
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from inspect import Parameter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, get_args

import gradio as gr
from PIL import Image
from typing_extensions import Doc

from gradio_app.controls import control
from gradio_app.limits import Limits, limits_for
from gradio_app.pictures import for_page
from gradio_app.running.jobs import STOP_SECONDS, Job, Step, shown
from gradio_app.running.zero import gpu
from styleplugin.errors import Cancelled, StylePluginError
from styleplugin.options import bounds_of, default_of, help_of

PROGRESS = gr.Progress()
"""The bar of the page; as a default it tells Gradio to hand it in."""
Pair = tuple[Image.Image, Image.Image]


@dataclass
class Outcome:
    """What a finished event shows."""

    pair: Pair
    line: str
    files: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """What an event's work is given besides its arguments."""

    job: Job[Outcome]
    folder: Path
    """For the files of the result; it goes when the event has ended."""
    limits: Limits


Work = Callable[..., Outcome]
Event = Callable[..., Iterator[Any]]


def argument(name: str, text: str, hint: Any = str, *, default: Any = Parameter.empty, show: Any = None) -> Parameter:
    """Describe an argument of an event.

    Args:
        name: Of the argument.
        text: Its help in the API.
        hint: Its type.
        default: Its default, if it has one.
        show: Makes the control of a setting of the page.
    """
    return Parameter(
        name, Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=Annotated[hint, Doc(text), show]
    )


def option(cls: type, name: str, **changes: Any) -> Parameter:
    """Describe a field of an options class as an argument; `changes` is what the page wants otherwise."""
    default, text, bounds = changes.get("value", default_of(cls, name)), help_of(cls, name), bounds_of(cls, name)
    if bounds is not None:
        low, high = changes.get("minimum", bounds.low), changes.get("maximum", bounds.high)
        text += f" From {low:g} to {high:g}."
    return argument(name, text, type(default), default=default, show=lambda: control(cls, name, **changes))


def control_of(event: Event, name: str) -> Any:
    """Make the control of a setting of an event."""
    _, _, show = get_args(inspect.signature(event).parameters[name].annotation)
    return show()


def event(*arguments: Parameter, files: int = 1) -> Callable[[Work], Event]:
    """Make work an event: a generator that shows previews first, then the finished files, and hears Stop.

    Args:
        *arguments: What it takes, in the order of the API; the work gets them by name.
        files: How many the result has.
    """
    told = [
        Parameter("request", Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=gr.Request | None),
        Parameter("progress", Parameter.POSITIONAL_OR_KEYWORD, default=PROGRESS, annotation=Any),
    ]
    signature = inspect.Signature([*arguments, *told])

    def made(work: Work) -> Event:
        def handler(*args: Any, **kwargs: Any) -> Iterator[Any]:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            given = bound.arguments
            request, progress = given.pop("request"), given.pop("progress")
            limits = limits_for(request)
            yield from _run(lambda job, folder: work(Run(job, folder, limits), **given), files, request, progress)

        lines = [f"    {argument.name}: {get_args(argument.annotation)[1].documentation}" for argument in arguments]
        handler.__name__, handler.__module__ = work.__name__, work.__module__
        handler.__doc__ = "\n".join([f"{work.__doc__}\n", "Args:", *lines])
        handler.__annotations__ = {name: p.annotation for name, p in signature.parameters.items()}
        handler.__signature__ = signature  # type: ignore[attr-defined]
        return gpu(handler)

    return made


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
            job.wait(STOP_SECONDS)


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
