"""The record of a method: all that the rest of the program has to know about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Capability = Literal["levels", "looks", "iterative"]
"""levels: which of its levels run can be chosen. looks: its pictures keep the content's shapes, so that a color table
can stand for them. iterative: a run has steps, previews and checkpoints, and needs no model of its own."""


@dataclass(frozen=True, kw_only=True)
class MethodSpec:
    """A method.

    It imports neither torch nor the method: everything with code in it is a string `module:name`, imported when it is
    used.

    Example:
        >>> spec = MethodSpec(name="sepia", title="Sepia", papers=("A. Artist, 2024",), run="my_pack.sepia:run")
        >>> spec.default_model, sorted(spec.capabilities)
        ('', [])
    """

    name: str
    """As users write it."""
    title: str
    """For people."""
    papers: tuple[str, ...]
    """What it is made after; the last is its source."""
    run: str = "styleplugin.api:feed_forward"
    """Stylizes one picture: called with content, style and method, and by name with `model`, `allow_unknown_model`, the
    dict `options`, and `mask`, `label` and `on_step`, as `styleplugin.stylize` gets them."""
    method: str = ""
    """The class with its stages and `solve`, made of a model and a tensor like those it computes; none where `run` does
    without."""
    default_model: str = ""
    """What is loaded when no model is named; none for methods without models of their own."""
    weights: str = "styleplugin:weights"
    """Folder of its embedded models, `package:folder`, with an `index.json` that lists them with their hashes."""
    architectures: Mapping[str, str] = field(default_factory=dict)
    """What builds a model from a weights file, by the architecture that the file names."""
    capabilities: frozenset[Capability] = frozenset()
    recipe_kinds: Mapping[str, str] = field(default_factory=dict)
    """The run of each kind of recipe that trains its models; one that several methods share stands at one of them."""
