"""Numbers and words on the command line: what is none of them gets our sentence, with a code, and not the parser's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from tyro.constructors import PrimitiveConstructorSpec

from styleplugin.errors import UsageError
from styleplugin.values import shown


class Unread(str):
    """A text that is no value of its type."""

    needed = ""
    """What it must be."""


def read_by_us(hint: Any) -> Any:
    """Return a type hint whose numbers and words the parser leaves to us: what is none of them becomes `Unread`."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is int:
        return Annotated[int, _reader(int, "a whole number")]
    if hint is float:
        return Annotated[float, _reader(float, "a number")]
    if origin is Literal:
        return Annotated[hint, _reader(inner.__getitem__, f"one of {', '.join(inner)}", inner)]
    if origin is Annotated:
        return Annotated[(read_by_us(inner[0]), *hint.__metadata__)]
    if origin is tuple:
        return tuple[tuple(part if part is Ellipsis else read_by_us(part) for part in inner)]
    if origin in (Union, UnionType):
        return Union[tuple(map(read_by_us, inner))]  # noqa: UP007 - of parts that are known only now
    return hint


def refuse_unread(name: str, value: Any) -> None:
    """Refuse an argument that could not be read.

    Raises:
        UsageError: SP101, it is no number; SP102, none of the words.
    """
    for part in value if isinstance(value, tuple) else (value,):
        if isinstance(part, Unread):
            code = "SP102" if part.needed.startswith("one of") else "SP101"
            raise UsageError(code, f"`{name}` was {shown(str(part))}; it must be {part.needed}.", "Give such a value.")


def _reader(read: Callable[[Any], Any], needed: str, words: tuple[str, ...] = ()) -> PrimitiveConstructorSpec[Any]:
    def instance(texts: list[str]) -> Any:
        (text,) = texts
        # Where nothing may be given, the parser reads this as nothing.
        if text == "None":
            raise ValueError(text)
        try:
            return read(words.index(text) if words else text)
        except ValueError:
            unread = Unread(text)
            unread.needed = needed
            return unread

    def is_instance(value: Any) -> bool:
        return value in words if words else isinstance(value, (int, float))

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="VALUE",
        instance_from_str=instance,
        is_instance=is_instance,
        str_from_instance=lambda value: [str(value)],
    )


def fields_of(options: Any) -> dict[str, Any]:
    """Return an options class's fields, without those of what is in them."""
    return {f.name: getattr(options, f.name) for f in dataclasses.fields(options)}
