"""From a function to a command: what its help calls each argument, and errors in our own words."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
from collections.abc import Callable
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from typing_extensions import Doc
from tyro.conf import OmitArgPrefixes, arg
from tyro.extras import SubcommandApp

from styleplugin.cli.paths import FOLDER, Also, marks_of, paths_read, paths_written
from styleplugin.cli.values import read_by_us, refuse_unread
from styleplugin.options import EngineOptions, OptimizeOptions, StylizeOptions
from styleplugin.paths import Reads, Writes, check_paths, source_paths

_OPTIONS = (StylizeOptions, OptimizeOptions, EngineOptions)
_FIELD = re.compile(r"`([a-z][a-z_]*)(?:=([^`\s]+))?`")


def command(app: SubcommandApp, name: str, *, also: Also | None = None) -> Callable[[Callable[..., None]], Any]:
    """Make a function a command; its paths are checked before it runs, see `styleplugin.paths`.

    Args:
        app: What it is a command of.
        name: Its name.
        also: Files that it writes beside those that its arguments name.
    """

    def register(function: Callable[..., None]) -> Callable[..., None]:
        app.command(name=name)(parsed(function, also))
        return function

    return register


def parsed(function: Callable[..., None], also: Also | None = None) -> Callable[..., Callable[[], None]]:
    """Return what the parser calls in a function's place: it returns what is left to do.

    So nothing of ours runs inside the parser, which would take our errors for its own.
    """

    arguments = arguments_of(function)
    hints = {name: argument.annotation for name, argument in arguments.items()}

    @functools.wraps(function)
    def parse(*args: Any, **kwargs: Any) -> Callable[[], None]:
        def work() -> None:
            given = inspect.Signature(list(arguments.values())).bind(*args, **kwargs)
            given.apply_defaults()
            values = {name: _checked(value) for name, value in given.arguments.items()}
            for name, value in values.items():
                refuse_unread(name, value)
            check_paths(paths_read(hints, values), paths_written(hints, values, also))
            function(*args, **_grouped(function, values))

        return work

    parameters = [_shown(argument) for argument in arguments.values()]
    # The parser would look through the wrapping, at the function's own signature.
    del parse.__wrapped__  # type: ignore[attr-defined]
    parse.function = function  # type: ignore[attr-defined]
    parse.__annotations__ = {p.name: p.annotation for p in parameters}
    parse.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return parse


def arguments_of(owner: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the arguments of a command: its function's parameters, and in a group's place the group's fields."""
    hints = get_type_hints(owner, include_extras=True)
    arguments: dict[str, inspect.Parameter] = {}
    for name, parameter in inspect.signature(owner).parameters.items():
        hint = hints[name]
        arguments |= arguments_of(hint) if _is_group(hint) else {name: parameter.replace(annotation=hint)}
    return arguments


def _grouped(function: Callable[..., Any], values: dict[str, Any]) -> dict[str, Any]:
    """Return a command's arguments as its function takes those with a keyword: groups made of their fields."""
    hints = get_type_hints(function)
    keywords: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if _is_group(hints[name]):
            keywords[name] = hints[name](**{f.name: values[f.name] for f in dataclasses.fields(hints[name])})
        elif parameter.kind is not inspect.Parameter.POSITIONAL_ONLY:
            keywords[name] = values[name]
    return keywords


def _is_group(hint: Any) -> bool:
    return dataclasses.is_dataclass(hint) and hint not in _OPTIONS


def in_command_words(text: str) -> str:
    """Return a message with the command line's spelling of options: `style_scale` is --style-scale."""
    return _FIELD.sub(_spelled, text)


def _spelled(match: re.Match[str]) -> str:
    option = "--" + match[1].replace("_", "-")
    return option if match[2] in (None, "True") else f"{option} {match[2].strip(chr(34))}"


def _shown(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return a parameter as the parser shall see it."""
    for options in _OPTIONS:
        if isinstance(parameter.default, options):
            twin = _unchecked(options)
            return parameter.replace(annotation=OmitArgPrefixes[twin], default=twin())
    is_positional = parameter.kind is inspect.Parameter.POSITIONAL_ONLY
    named = _named(parameter.annotation, parameter.name, parameter.default, is_positional=is_positional)
    return parameter.replace(annotation=named)


def _named(hint: Any, name: str, default: Any, *, is_positional: bool = False) -> Any:
    """Return a type hint that tells the parser what to call its values, and that it has no default to show."""
    name = name.upper().replace("_", "-")
    metavar = name if is_positional else _metavar(hint, name)
    if is_positional and default is None:
        metavar = f"[{metavar}]"
    has_default = default is not None and default != ()
    text = next((doc.documentation for doc in marks_of(hint, Doc)), None)
    return Annotated[read_by_us(hint), arg(metavar=metavar, help=text, help_behavior_hint=None if has_default else "")]


def _metavar(hint: Any, name: str) -> str | None:
    """Return what help calls the values of a type: by the type, or else as the option; None for switches."""
    if any(mark is FOLDER for mark in marks_of(hint, type(FOLDER))):
        return "FOLDER"
    if list(marks_of(hint, Writes)):
        return "PATH"
    for mark in marks_of(hint, Reads):
        return "MODEL" if mark.paths is source_paths else mark.metavar
    kinds = _kinds(hint)
    for kind, noun in ((float, "NUMBER"), (int, "INTEGER"), (str, name)):
        if kind in kinds:
            return f"{noun} [{noun} ...]" if _is_list(hint) else noun
    words = [word for word in kinds if isinstance(word, str)]
    return "{" + ",".join(words) + "}" if words else None


def _kinds(hint: Any) -> list[Any]:
    """Return the plain types and the words inside a type hint."""
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    inner = get_args(hint)[:1] if get_origin(hint) is Annotated else get_args(hint)
    return [kind for part in inner for kind in _kinds(part)] if inner else [] if hint is NoneType else [hint]


def _is_list(hint: Any) -> bool:
    return get_origin(hint) is tuple or any(map(_is_list, get_args(hint)))


@functools.cache
def _unchecked(options: type) -> type:
    """Return the same options without checks of their own, whose errors the parser would make its own."""
    hints = get_type_hints(options, include_extras=True)
    fields = [
        (
            f.name,
            _named(hints[f.name], f.name, f.default),
            dataclasses.field(default=f.default),
        )
        for f in dataclasses.fields(options)
    ]
    twin = dataclasses.make_dataclass(options.__name__, fields, kw_only=True, frozen=True)
    twin.__doc__ = (options.__doc__ or "").partition("\n")[0]
    return twin


def _checked(value: Any) -> Any:
    """Return the options for what the parser has made; other values as they are.

    Raises:
        UsageError: SP101 to SP103, a value out of range.
    """
    for options in _OPTIONS:
        if type(value) is _unchecked(options):
            return options(**vars(value))
    return value
