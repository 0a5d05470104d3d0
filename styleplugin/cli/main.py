"""The command line, generated from the option classes. Only this package prints and exits."""

from __future__ import annotations

import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any

import tyro
from tqdm import tqdm
from tyro.extras import SubcommandApp

from styleplugin import __version__
from styleplugin.cli.look import look_app
from styleplugin.cli.models import models_app
from styleplugin.cli.output import open_streams, say
from styleplugin.cli.parser import command, in_command_words, parsed
from styleplugin.cli.stylize import preview_written, style_app, stylize_command
from styleplugin.cli.train import train_command, train_new
from styleplugin.errors import Cancelled, StylePluginError, StylePluginWarning

_ABOUT = "Neural style transfer with small distilled models. `styleplugin --version` says which version this is."

app = SubcommandApp()
command(app, "stylize", also=preview_written)(stylize_command)
app.command(style_app, name="style")
app.command(look_app, name="look")
app.command(models_app, name="models")
command(app, "train")(train_command)


def run(args: Sequence[str]) -> int:
    """Run one command and return the exit code: 0, or that of the error (see `styleplugin.errors`)."""
    open_streams()
    if list(args) == ["--version"]:
        say(f"styleplugin {__version__}")
        return 0
    _stop_on_sigterm()
    with warnings.catch_warnings():
        warnings.simplefilter("always", StylePluginWarning)
        warnings.showwarning = _show_warning
        try:
            _parse(list(args))()
        except StylePluginError as error:
            return _fail(error)
        except KeyboardInterrupt:
            return _fail(Cancelled())
        except Exception as error:  # the outermost layer: nothing else may reach the user
            say("".join(traceback.format_exception(error)), sys.stderr)
            say(f"styleplugin: unexpected {type(error).__name__}; please report it with the lines above.", sys.stderr)
            return 1
    return 0


def _parse(args: list[str]) -> Callable[[], None]:
    """Return the work that a command line asks for."""
    # A command cannot be a group and take a recipe as well.
    if args[:2] == ["train", "new"]:
        return tyro.cli(parsed(train_new), prog="styleplugin train new", args=args[2:])
    return app.cli(args=args, prog="styleplugin", description=_ABOUT)


def _fail(error: StylePluginError) -> int:
    say(f"styleplugin: {error.code}: {in_command_words(str(error))}", sys.stderr)
    return error.exit_code


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, StylePluginWarning):
        with tqdm.external_write_mode(file=sys.stderr):
            say(f"styleplugin: warning: {in_command_words(str(message))}", sys.stderr)


def _stop_on_sigterm() -> None:
    def stop(signum: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise Cancelled("Stopped by a signal.")

    signal.signal(signal.SIGTERM, stop)
