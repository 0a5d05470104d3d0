"""What a command reads and writes stands in its signature, and is checked before it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from tyro.conf import arg

from styleplugin.files import PathLike
from styleplugin.kinds import JSON, PICTURE
from styleplugin.options import parse_style_weight
from styleplugin.paths import Reads, Writes, Written, source_paths

Values = dict[str, Any]
Hints = dict[str, Any]
Also = Callable[[Values], list[Written]]
"""From a command's arguments to files that it writes beside those that they name."""

Input = Annotated[str, Reads()]
ModelSource = Annotated[str, Reads(source_paths)]
WeightedStyle = Annotated[str, Reads(lambda text: (parse_style_weight(text).style,), "PATH[:WEIGHT]")]
Region = Annotated[str, Reads(lambda path: () if path == "-" else (path,))]
FOLDER = object()
"""Marks a parameter whose value is a folder."""
Folder = Annotated[str, FOLDER, arg(aliases=["-o"])]
"""Where files go that are named by what is in them; their command checks them."""
OutputPicture = Annotated[str, arg(aliases=["-o"]), Writes(PICTURE)]
OtherPicture = Annotated[str, Writes(PICTURE)]
ReportFile = Annotated[str, Writes(JSON)]


def paths_read(hints: Hints, values: Values) -> list[PathLike]:
    """Return what a command reads, given the types and the values of its arguments."""
    return [path for marks, value in _marked(hints, values, Reads) for path in marks.paths(value)]


def paths_written(hints: Hints, values: Values, also: Also | None = None) -> list[Written]:
    """Return the files that a command writes, given the types and the values of its arguments."""
    overwrite = bool(values.get("overwrite"))
    written = [
        Written(value, marks.kind, overwrite or bool(values.get(marks.unless)))
        for marks, value in _marked(hints, values, Writes)
    ]
    return written + (also(values) if also else [])


def _marked(hints: Hints, values: Values, mark: type) -> Iterator[tuple[Any, str]]:
    """Yield the mark and the value of every argument, or field of options, that has one."""
    for name, hint in hints.items():
        value = values.get(name)
        if hasattr(value, "__dataclass_fields__"):
            yield from _marked(get_type_hints(type(value), include_extras=True), vars(value), mark)
        for found in marks_of(hint, mark):
            for text in value if isinstance(value, tuple) else [value]:
                if text:
                    yield found, text


def marks_of(hint: Any, mark: type) -> Iterator[Any]:
    """Yield the marks of a class inside a type hint."""
    if get_origin(hint) is Annotated:
        yield from (part for part in hint.__metadata__ if isinstance(part, mark))
    for inner in get_args(hint):
        yield from marks_of(inner, mark)
