"""Recipes as files: TOML that is read with all names and types checked, and written with comments."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from pathlib import Path
from textwrap import wrap
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from styleplugin.errors import UsageError
from styleplugin.files import check_regular_file
from styleplugin.options import help_of
from styleplugin.tensorfile import shortened
from styleplugin.train.recipe.options import AnyRecipe
from styleplugin.train.registry import kind_of, run_types

_MAX_BYTES = 256 << 10
_MAX_DOTS = 200
"""Of a line: readers of TOML need a time that grows with the square of the parts of a dotted key."""
_MAX_PARTS = 5
_MAX_ITEMS = 64
_LARGEST = 2**63 - 1
_LONGEST_NAME = 100
_NO_FILE_NAME = '/\\:*?"<>|'


def recipe_text(recipe: AnyRecipe) -> str:
    """Write a recipe as TOML: every key that is not at its default, the first of its kind with its description."""
    return _Writer().write(recipe)


class _Writer:
    """Writes a recipe; remembers what was described."""

    def __init__(self) -> None:
        self._described: set[tuple[type, str]] = set()

    def write(self, recipe: AnyRecipe) -> str:
        """Return the text."""
        kind = kind_of(type(recipe))
        lines = ["# Train it with: styleplugin train THIS_FILE", f'kind = "{kind}"', *self._keys(recipe)]
        for entry in fields(recipe):  # type: ignore[arg-type]
            value = getattr(recipe, entry.name)
            for part in value if _is_table(value) and isinstance(value, tuple) else ():
                lines += ["", f"[[{entry.name}]]", *self._keys(part), *self._tables(part, f"{entry.name}.")]
        return "\n".join([*lines, *self._tables(recipe)]) + "\n"

    def _tables(self, recipe: Any, prefix: str = "") -> list[str]:
        """Return the fields that are dataclasses themselves."""
        lines = []
        for entry in fields(recipe):
            value = getattr(recipe, entry.name)
            if is_dataclass(value) and value != _default(entry):
                about = self._about(recipe, entry.name)
                lines += ["", *about, f"[{prefix}{entry.name}]", *self._keys(value)]
                lines += self._tables(value, f"{prefix}{entry.name}.")
        return lines

    def _keys(self, value: Any) -> list[str]:
        """Return the other fields, as far as they are not at their defaults."""
        lines = []
        for entry in fields(value):
            content = getattr(value, entry.name)
            if not _is_table(content) and content != _default(entry):
                lines += self._about(value, entry.name)
                lines.append(f"{entry.name} = {json.dumps(list(content) if isinstance(content, tuple) else content)}")
        return lines

    def _about(self, value: Any, name: str) -> list[str]:
        """Return the description of a field as comment lines, once."""
        owner = next(base for base in type(value).__mro__ if name in vars(base).get("__annotations__", {}))
        if (owner, name) in self._described:
            return []
        self._described.add((owner, name))
        return wrap(help_of(owner, name), 110, initial_indent="# ", subsequent_indent="# ")


def _is_table(value: Any) -> bool:
    """Whether a value becomes a table of a file, or several."""
    return is_dataclass(value[0]) if isinstance(value, tuple) and value else is_dataclass(value)


def _default(entry: Field[Any]) -> Any:
    if entry.default_factory is not MISSING:
        return entry.default_factory()
    return entry.default if entry.default is not MISSING else None


def read_recipe(path: str | Path) -> AnyRecipe:
    """Read a TOML recipe.

    Its `kind` is one of the registry; "pair" by default.

    Raises:
        UsageError: SP125, the file cannot be read or is not TOML; SP126, a key is unknown, missing or of the wrong
            type, named; SP143, it names the recipe of another kind; SP120 to SP124, values out of range.
    """
    path = check_regular_file(path, UsageError, "SP125")
    data, kind = _parse(path)
    return _build(run_types()[kind].recipe_type, data, path.name, path.parent).relative_to(path.parent)


def _parse(path: Path) -> tuple[dict[str, Any], str]:
    """Return what a file holds, and its kind."""
    # Python 3.10 has no reader of its own; nobody but those who read recipes shall need one.
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            raise ValueError(f"it is larger than {_MAX_BYTES >> 10} kB")
        if any(line.count(b".") > _MAX_DOTS or line.count(b"[") > _MAX_DOTS for line in text.splitlines()):
            raise ValueError(f"a line has more than {_MAX_DOTS} dots or brackets")
        data = tomllib.loads(text.decode("utf-8-sig"))
    # What is no TOML or no UTF-8 is a ValueError; deep nesting ends the reader's recursion.
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError("SP125", f"The recipe {path} cannot be read: {str(error)[:100]}.") from error
    kind = data.pop("kind", "pair")
    if not isinstance(kind, str) or kind not in run_types():
        raise UsageError("SP126", f"{path.name} has the kind {shortened(kind)}; {', '.join(run_types())} are possible.")
    return data, kind


def _part(cls: type, entry: Any, where: str, folder: Path) -> Any:
    """Return a recipe within a recipe: a table, or the name of a file, from the folder of the recipe."""
    if not isinstance(entry, str):
        return _build(cls, entry, where, folder)
    file = check_regular_file(folder / entry, UsageError, "SP125")
    data, kind = _parse(file)
    # Looked at before it is built: a bundle might name itself.
    if run_types()[kind].recipe_type is not cls:
        what = kind_of(cls)
        raise UsageError("SP143", f"{entry} is not the recipe of a {what}.", f"Name the recipe of a {what}.")
    return _build(cls, data, file.name, file.parent).relative_to(file.parent)


def _build(cls: type, data: Any, where: str, folder: Path) -> Any:
    """Fill a dataclass from a table, checking names and types; recipes within it may lie in files of the folder."""
    hints = _hints(cls)
    if not isinstance(data, dict):
        raise UsageError("SP126", f"{where} must be a table of {cls.__name__}.")
    unknown = sorted(set(data) - set(hints))
    if unknown:
        names = ", ".join(unknown)[:200]
        raise UsageError("SP126", f"{where} has the unknown keys {names}.", f"Known are: {', '.join(hints)}.")
    missing = [f.name for f in fields(cls) if _is_required(f) and f.name not in data]
    if missing:
        raise UsageError("SP126", f"{where} lacks the keys {', '.join(missing)}.")
    values = {name: _value(hints[name], value, f"{where}: {name}", folder) for name, value in data.items()}
    if "name" in values and kind_of(cls):
        _check_file_name(values["name"], where)
    return cls(**values)


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _check_file_name(name: str, where: str) -> None:
    """Raise UsageError SP126 for a name that leads out of the folder that the results go to, or cannot be written."""
    if name in (".", "..") or not name.isprintable() or len(name) > _LONGEST_NAME or set(name) & set(_NO_FILE_NAME):
        raise UsageError(
            "SP126",
            f"{where} has the name {shortened(name)}, which cannot be that of a file.",
            f"Use 1 to {_LONGEST_NAME} letters, digits, '.', '_', '-'.",
        )


def _is_required(entry: Any) -> bool:
    return entry.default is MISSING and entry.default_factory is MISSING


def _value(hint: Any, value: Any, where: str, folder: Path) -> Any:
    if isinstance(hint, UnionType):
        # One of a kind, or several in a list; or something that may be left out.
        hint = next(kind for kind in get_args(hint) if (get_origin(kind) is tuple) == isinstance(value, list))
    if is_dataclass(hint):
        return (_part if kind_of(hint) else _build)(hint, value, where, folder)  # type: ignore[arg-type]
    item = get_args(hint)[0] if get_origin(hint) is tuple else None
    if item is not None and is_dataclass(item):
        if not isinstance(value, list) or not 0 < len(value) <= _MAX_PARTS:
            raise UsageError("SP126", f"{where} must be a list of 1 to {_MAX_PARTS} recipes.")
        return tuple(_part(item, entry, where, folder) for entry in value)  # type: ignore[arg-type]
    if item is not None and isinstance(value, list) and len(value) <= _MAX_ITEMS:
        return tuple(_plain(item, entry, where) for entry in value)
    return _plain(hint, value, where)


def _plain(kind: Any, value: Any, where: str) -> Any:
    """Return a number, a text or a truth value of exactly this kind; whole numbers are numbers too."""
    if kind is float and type(value) is int and abs(value) <= _LARGEST:
        return float(value)
    if type(value) is kind and (
        (kind is float and math.isfinite(value))
        or (kind is int and abs(value) <= _LARGEST)
        or (kind is str and "\0" not in str(value))
        or kind is bool
    ):
        return value
    raise UsageError("SP126", f"{where} was {shortened(value)}; a usable value of type {kind} is needed.")
