"""Recipes as files: TOML that is read with all names and types checked, and written with comments."""

from __future__ import annotations

import json
import sys
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from pathlib import Path
from textwrap import wrap
from typing import Any, get_args, get_origin, get_type_hints

from styleplugin.errors import UsageError
from styleplugin.options import help_of
from styleplugin.train.config import (
    AnyRecipe,
    BundleRecipe,
    CascadeRecipe,
    EncoderRecipe,
    KBRecipe,
    MetricRecipe,
    PhotoRecipe,
    Recipe,
)

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
    # Python 3.10 has no reader of its own; nobody but those who read recipes shall need one.
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib

    path = Path(path)
    try:
        data = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError("SP125", f"The recipe {path} cannot be read: {error}.") from error
    kind = data.pop("kind", "pair")
    if kind not in KINDS:
        raise UsageError("SP126", f"{path.name} has the kind {kind!r}; {', '.join(KINDS)} are possible.")
    if kind == "bundle":
        return _build_bundle(data, path)
    recipe = _build(KINDS[kind], data, path.name)
    return _at(path, recipe) if isinstance(recipe, Recipe) else recipe


def _build_bundle(data: dict[str, Any], path: Path) -> BundleRecipe:
    """Fill a bundle, whose parts are names of files or tables."""

    def part(entry: Any, cls: type, what: str) -> Any:
        built = read_recipe(path.parent / entry) if isinstance(entry, str) else _build(cls, entry, path.name)
        if not isinstance(built, cls):
            raise UsageError("SP143", f"{entry} is not the recipe of a {what}.", f"Name the recipe of a {what}.")
        return built

    pairs = tuple(part(entry, Recipe, "pair") for entry in data.pop("pairs", []))
    if not pairs:
        raise UsageError("SP126", f"{path.name} lacks the key pairs.")
    cascade = part(data.pop("cascade"), CascadeRecipe, "cascade") if "cascade" in data else None
    return replace(_build(BundleRecipe, data | {"pairs": []}, path.name), pairs=pairs, cascade=cascade)


def _at(path: Path, recipe: Recipe) -> Recipe:
    """Return a recipe whose `grow_from` counts from the folder of its file."""
    return replace(recipe, grow_from=str(path.parent / recipe.grow_from)) if recipe.grow_from else recipe


def _build(cls: type, data: Any, where: str) -> Any:
    """Fill a dataclass from a table, checking names and types."""
    hints = get_type_hints(cls)
    if not isinstance(data, dict):
        raise UsageError("SP126", f"{where} must be a table of {cls.__name__}.")
    unknown = sorted(set(data) - set(hints))
    if unknown:
        raise UsageError(
            "SP126", f"{where} has the unknown keys {', '.join(unknown)}.", f"Known are: {', '.join(hints)}."
        )
    missing = [f.name for f in fields(cls) if _is_required(f) and f.name not in data]
    if missing:
        raise UsageError("SP126", f"{where} lacks the keys {', '.join(missing)}.")
    return cls(**{name: _value(hints[name], value, f"{where}: {name}") for name, value in data.items()})


def _is_required(entry: Any) -> bool:
    return entry.default is MISSING and entry.default_factory is MISSING


def _value(hint: Any, value: Any, where: str) -> Any:
    if is_dataclass(hint):
        return _build(hint, value, where)  # type: ignore[arg-type]
    if hint is float and type(value) is int:
        return float(value)
    if get_origin(hint) is tuple:
        item = get_args(hint)[0]
        if item is float and isinstance(value, list):
            value = [float(v) if type(v) is int else v for v in value]
        if isinstance(value, list) and all(type(v) is item for v in value):
            return tuple(value)
    elif type(value) is hint:
        return value
    raise UsageError("SP126", f"{where} was {value!r}; a value of type {hint} is needed.")
