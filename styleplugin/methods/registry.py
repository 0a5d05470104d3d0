"""Who is registered: our own methods, those of installed packages, and those that a program adds.

A package offers methods by entry points of the group `styleplugin.methods`, each the `MethodSpec` of one method.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from styleplugin.errors import StylePluginWarning, UsageError
from styleplugin.methods.spec import Capability, MethodSpec
from styleplugin.values import shown

GROUP = "styleplugin.methods"
_OWN = ("wct", "adain", "kbstyle", "photorealistic", "optimization")
"""Folders of this package, the default first."""

_added: dict[str, MethodSpec] = {}


def register(spec: MethodSpec) -> None:
    """Make a method known to this process, for programs that cannot have entry points, such as packs of nodes.

    Raises:
        ValueError: The name is taken.

    Example:
        >>> register(MethodSpec(name="sepia", title="Sepia", papers=("A. Artist, 2024",), run="my_pack.sepia:run"))
        >>> names()[-1]
        'sepia'
    """
    if spec.name in names():
        raise ValueError(f"The method {spec.name} is registered already.")
    _added[spec.name] = spec


def specs() -> tuple[MethodSpec, ...]:
    """Return all methods, the default first.

    Example:
        >>> specs()[0].name
        'wct'
    """
    return (*_installed(), *_added.values())


def names(capability: Capability | None = None) -> tuple[str, ...]:
    """Return the names of all methods, or of those with a capability, the default first.

    Example:
        >>> names("iterative")
        ('optimization',)
    """
    return tuple(spec.name for spec in specs() if capability is None or capability in spec.capabilities)


def find(name: str | None) -> MethodSpec:
    """Return a method by its name; None is the default.

    Raises:
        UsageError: SP102, there is none of this name.

    Example:
        >>> find("kbstyle").default_model, find(None).name
        ('kbstyle.200k', 'wct')
    """
    known = {spec.name: spec for spec in specs()}
    return known[_checked(name, known)]


def default_models() -> dict[str, str]:
    """Return the model of each method that has models, when none is named.

    Example:
        >>> default_models()["adain"]
        'cd-adain.x16'
    """
    return {spec.name: spec.default_model for spec in specs() if spec.default_model}


def default_model(method: str | None) -> str:
    """Return the model of a method, None is the default, when none is named.

    Raises:
        UsageError: SP102, there is no method of this name, or it has no models.
    """
    known = default_models()
    return known[_checked(method, known)]


def _checked(name: str | None, known: Iterable[str]) -> str:
    """Return a name that is known, the first one for None."""
    known = list(known)
    name = known[0] if name is None else name
    if name not in known:
        raise UsageError(
            "SP102", f"`method` was {shown(name)}; it must be one of {', '.join(known)}.", "Use one of these."
        )
    return name


@cache
def imported(name: str) -> Any:
    """Return what a string `module:name` names."""
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


@cache
def _installed() -> tuple[MethodSpec, ...]:
    found = {name: import_module(f"styleplugin.methods.{name}").SPEC for name in _OWN}
    for point in entry_points(group=GROUP):
        try:
            spec = point.load()
            if not isinstance(spec, MethodSpec) or spec.name in found:
                raise TypeError(f"{point.value} is no MethodSpec, or one whose name is taken")
        except Exception as error:  # whatever a stranger's package does, the other methods work
            warnings.warn(f"The method {point.name} cannot be loaded: {error}", StylePluginWarning, stacklevel=2)
        else:
            found[spec.name] = spec
    return tuple(found.values())
