"""Recipes as commented TOML, which `config.read_recipe` reads again."""

from __future__ import annotations

import json
from dataclasses import MISSING, Field, fields, is_dataclass
from textwrap import wrap
from typing import Any

from styleplugin.options import help_of
from styleplugin.train.config import AnyRecipe, BundleRecipe, EncoderRecipe, KBRecipe, PhotoRecipe, Recipe

_KINDS = {Recipe: "pair", PhotoRecipe: "photorealistic", KBRecipe: "kbstyle", EncoderRecipe: "encoder"}


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
        else:
            kind = _KINDS.get(type(recipe), "metrics")
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
