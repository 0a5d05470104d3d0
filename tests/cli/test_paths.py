"""Every command's paths, found by its signature, so that a new command is tested by itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from PIL import Image
from tyro.extras import SubcommandApp

import styleplugin
from styleplugin import cli
from styleplugin.cli.main import app
from styleplugin.cli.parser import arguments_of, in_command_words
from styleplugin.cli.paths import marks_of
from styleplugin.cli.train import train_new
from styleplugin.options import EngineOptions, OptimizeOptions, StylizeOptions
from styleplugin.paths import Reads, Writes

PLAIN = {
    "models pull": {"source", "output"},
    "models publish": {"repo"},
    "models import collaborative-distillation": {"output"},
    "models import pca-distillation": {"output"},
    "models import adain": {"output"},
    "train": {"out", "device"},
    "train new": {"name", "license"},
}
"""Parameters that are words, or folders whose commands check what goes into them."""
OPTIONS = {StylizeOptions: set(), EngineOptions: {"device", "tile"}, OptimizeOptions: set()}


def commands(app: SubcommandApp, before: str = "") -> Iterator[tuple[str, Callable[..., None]]]:
    for name, command in app._subcommands.items():
        if isinstance(command.target, SubcommandApp):
            yield from commands(command.target, f"{before}{name} ")
        else:
            yield before + name, command.target.function


COMMANDS = {name: arguments_of(command) for name, command in [*commands(app), ("train new", train_new)]}


def holds_text(hint: Any) -> bool:
    return hint is str or any(map(holds_text, get_args(hint)))


def marks(command: dict[str, inspect.Parameter], kind: type) -> dict[str, list[Any]]:
    return {name: found for name, p in command.items() if (found := list(marks_of(p.annotation, kind)))}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_text_of_a_command_says_whether_it_is_a_path(name):
    for parameter, hint in ((p.name, p.annotation) for p in COMMANDS[name].values()):
        marked = list(marks_of(hint, Reads)) + list(marks_of(hint, Writes))
        assert marked or not holds_text(hint) or parameter in PLAIN.get(name, ()), parameter


@pytest.mark.parametrize("options", OPTIONS)
def test_every_text_of_the_options_says_whether_it_is_a_path(options):
    for field, hint in get_type_hints(options, include_extras=True).items():
        assert not holds_text(hint) or list(marks_of(hint, Reads)) or field in OPTIONS[options], field


def arguments(name: str, command: dict[str, inspect.Parameter], given: dict[str, str]) -> list[str]:
    """Return a command line with values for the given parameters, and for those that must be there."""
    words = name.split()
    for parameter in command.values():
        positional = parameter.kind is inspect.Parameter.POSITIONAL_ONLY
        needed = parameter.default is inspect.Parameter.empty
        if parameter.name not in given and not needed:
            continue
        value = given.get(parameter.name, f"missing-{parameter.name}.png")
        words += [value] if positional else [f"--{parameter.name.replace('_', '-')}", value]
    return words


WRITING = [(name, parameter) for name, command in COMMANDS.items() for parameter in marks(command, Writes)]


@pytest.mark.parametrize(("name", "written"), WRITING)
def test_D04_no_command_writes_what_it_reads_or_writes_twice(name, written, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = COMMANDS[name]
    Image.new("RGB", (4, 4)).save("photo.png")
    Path("soft.png").symlink_to("photo.png")
    Path("hard.png").hardlink_to("photo.png")
    before = Path("photo.png").read_bytes()
    reads = marks(command, Reads)
    if "optimization" in command:
        reads |= marks(arguments_of(OptimizeOptions), Reads)
    assert reads
    for read, (mark,) in reads.items():
        # The source of a model is a name, unless it says that it is a file.
        source = "photo.png" if mark.paths("photo.png") else "file:photo.png"
        for target in ("photo.png", "./photo.png", "soft.png", "hard.png"):
            line = arguments(name, command, {read: source, written: target})
            if read not in command:
                line += [f"--{read.replace('_', '-')}", source]
            assert cli.run([*line, "--overwrite"]) == 7, (read, target)
            assert "SP607" in capsys.readouterr().err
    assert Path("photo.png").read_bytes() == before and Path("hard.png").samefile("photo.png")
    for other in marks(command, Writes):
        if other != written:
            assert cli.run(arguments(name, command, {written: "new.png", other: "./new.png"})) == 7
            assert "SP607" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_help_calls_things_by_their_names(name, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.run([*name.split(), "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for internal in ("STR", "FLOAT", "None", "options options", "optimize options", "tyro", "train-new"):
        assert internal not in text, internal


def test_the_commands_and_the_version_are_shown(capsys):
    with pytest.raises(SystemExit):
        cli.run(["--help"])
    text = capsys.readouterr().out
    assert "--version" in text and "train-new" not in text
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"styleplugin {styleplugin.__version__}\n"


def test_the_command_line_adds_the_dashes():
    assert in_command_words("`style_scale` was 9") == "--style-scale was 9"
    assert in_command_words("Use `overwrite=True`, or `tile=auto`.") == "Use --overwrite, or --tile auto."
    assert in_command_words("Run `hf auth login`.") == "Run `hf auth login`."
