"""Recipes as files: TOML that is read with all names and types checked, and written with comments."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from textwrap import wrap
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from styleplugin.errors import UsageError
from styleplugin.files import check_regular_file
from styleplugin.options import help_of
from styleplugin.tensorfile import shortened
from styleplugin.train.recipe.config import (
    AnyRecipe,
    BundleRecipe,
    CascadeRecipe,
    EncoderRecipe,
    KBRecipe,
    MetricRecipe,
    PhotoRecipe,
    Recipe,
)

_MAX_BYTES = 256 << 10
_MAX_DOTS = 200
"""Of a line: readers of TOML need a time that grows with the square of the parts of a dotted key."""
_MAX_PAIRS = 5
_MAX_ITEMS = 64
_LARGEST = 2**63 - 1
_LONGEST_NAME = 100
_NO_FILE_NAME = '/\\:*?"<>|'

KINDS: dict[str, type] = {
    "pair": Recipe,
    "photorealistic": PhotoRecipe,
    "kbstyle": KBRecipe,
    "encoder": EncoderRecipe,
    "metrics": MetricRecipe,
    "cascade": CascadeRecipe,
    "bundle": BundleRecipe,
}


def recipe_text(recipe: AnyRecipe) -> str:
    """Write a recipe as TOML: every key that is not at its default, the first of its kind with its description."""
    return _Writer().write(recipe)


class _Writer:
    """Writes a recipe; remembers what was described."""

    def __init__(self) -> None:
        self._described: set[tuple[type, str]] = set()

    def write(self, recipe: AnyRecipe) -> str:
        """Return the text."""
        lines = ["# Train it with: styleplugin train THIS_FILE"]
        if isinstance(recipe, BundleRecipe):
            lines += ['kind = "bundle"', *self._keys(recipe, skip="pairs")]
            for pair in recipe.pairs:
                lines += ["", "[[pairs]]", *self._keys(pair), *self._tables(pair, "pairs.")]
            lines += self._tables(recipe)
        else:
            kind = next(name for name, cls in KINDS.items() if cls is type(recipe))
            lines += [f'kind = "{kind}"', *self._keys(recipe), *self._tables(recipe)]
        return "\n".join(lines) + "\n"

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

    def _keys(self, value: Any, *, skip: str = "") -> list[str]:
        """Return the other fields, as far as they are not at their defaults."""
        lines = []
        for entry in fields(value):
            content = getattr(value, entry.name)
            if not is_dataclass(content) and entry.name != skip and content != _default(entry):
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


def _default(entry: Field[Any]) -> Any:
    if entry.default_factory is not MISSING:
        return entry.default_factory()
    return entry.default if entry.default is not MISSING else None


def read_recipe(path: str | Path) -> AnyRecipe:
    """Read a TOML recipe.

    Its `kind` is "pair" (the default), "photorealistic", "kbstyle", "encoder", "metrics", "cascade", or "bundle".

    Raises:
        UsageError: SP125, the file cannot be read or is not TOML; SP126, a key is unknown, missing or of the wrong
            type, named; SP120 to SP124, values out of range.
    """
    path = check_regular_file(path, UsageError, "SP125")
    data, kind = _parse(path)
    return _build_bundle(data, path) if kind == "bundle" else _build_run(data, kind, path)


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
    if not isinstance(kind, str) or kind not in KINDS:
        raise UsageError("SP126", f"{path.name} has the kind {shortened(kind)}; {', '.join(KINDS)} are possible.")
    return data, kind


def _build_run(data: dict[str, Any], kind: str, path: Path) -> Any:
    recipe = _build(KINDS[kind], data, path.name)
    return _at(path, recipe) if isinstance(recipe, Recipe) else recipe


def _build_bundle(data: dict[str, Any], path: Path) -> BundleRecipe:
    """Fill a bundle, whose parts are names of files or tables."""

    def part(entry: Any, cls: type, what: str) -> Any:
        if not isinstance(entry, str):
            return _build(cls, entry, path.name)
        file = check_regular_file(path.parent / entry, UsageError, "SP125")
        data, kind = _parse(file)
        # Looked at before it is built: a bundle might name itself.
        if KINDS[kind] is not cls:
            raise UsageError("SP143", f"{entry} is not the recipe of a {what}.", f"Name the recipe of a {what}.")
        return _build_run(data, kind, file)

    entries = data.pop("pairs", [])
    if not isinstance(entries, list) or not 0 < len(entries) <= _MAX_PAIRS:
        raise UsageError("SP126", f"{path.name} lacks the key pairs, or it is not a list of 1 to {_MAX_PAIRS} recipes.")
    pairs = tuple(part(entry, Recipe, "pair") for entry in entries)
    cascade = part(data.pop("cascade"), CascadeRecipe, "cascade") if "cascade" in data else None
    return replace(_build(BundleRecipe, data | {"pairs": []}, path.name), pairs=pairs, cascade=cascade)


def _at(path: Path, recipe: Recipe) -> Recipe:
    """Return a recipe whose `grow_from` counts from the folder of its file."""
    return replace(recipe, grow_from=str(path.parent / recipe.grow_from)) if recipe.grow_from else recipe


def _build(cls: type, data: Any, where: str) -> Any:
    """Fill a dataclass from a table, checking names and types."""
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
    values = {name: _value(hints[name], value, f"{where}: {name}") for name, value in data.items()}
    if "name" in values and cls in KINDS.values():
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


def _value(hint: Any, value: Any, where: str) -> Any:
    if is_dataclass(hint):
        return _build(hint, value, where)  # type: ignore[arg-type]
    if isinstance(hint, UnionType):
        # One of a kind, or several in a list.
        hint = next(kind for kind in get_args(hint) if (get_origin(kind) is tuple) == isinstance(value, list))
    if get_origin(hint) is tuple and isinstance(value, list) and len(value) <= _MAX_ITEMS:
        return tuple(_plain(get_args(hint)[0], item, where) for item in value)
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
