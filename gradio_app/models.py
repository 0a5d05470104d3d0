"""The models that the page offers: the embedded ones, and those that its owner named at the start; no others."""

from __future__ import annotations

from functools import lru_cache

import styleplugin
from gradio_app.controls import shown
from gradio_app.limits import MOST_MEGAPIXELS
from styleplugin import Stylizer
from styleplugin.errors import UsageError
from styleplugin.methods import default_models

_own: dict[str, str] = {}
"""Methods of the models that were named at the start, by source."""


def admit(source: str) -> None:
    """Offer a model of the owner: a name, file:PATH, or hub:OWNER/REPO@REVISION/FILE, which is downloaded now.

    Raises:
        StylePluginError: It cannot be used.
    """
    _own[source] = styleplugin.load(source, allow_unknown_model=True).info.method


def models_of(*methods: str) -> list[tuple[str, str]]:
    """Return the models of some methods as (label, source): the methods' own ones first, the owner's last."""
    first = [default_models()[method] for method in methods]
    entries = [entry for entry in styleplugin.list_models() if entry.method in methods]
    entries.sort(key=lambda entry: first.index(entry.name) if entry.name in first else len(first))
    own = [(_label(source), source) for source, method in _own.items() if method in methods]
    return [*((f"{entry.name}: {entry.description}", entry.name) for entry in entries), *own]


@lru_cache(maxsize=16)
def loaded(model: str, memory_limit_mb: int | None = None) -> Stylizer:
    """Return a model of the list, loaded once.

    Raises:
        UsageError: SP102, it is not on the list.
    """
    if model not in _own and model not in [entry.name for entry in styleplugin.list_models()]:
        raise UsageError("SP102", f"There is no model {shown(model)} on this page.", "Choose one of the list.")
    return styleplugin.load(
        model,
        allow_unknown_model=model in _own,
        memory_limit_mb=memory_limit_mb,
        # The page's own limit has been checked when a picture came in.
        max_megapixels=MOST_MEGAPIXELS,
    )


def _label(source: str) -> str:
    """Return what people read: no folders of this machine, no hashes."""
    kind, _, rest = source.partition(":")
    if kind == "hub":
        repo, _, file = rest.partition("#")[0].partition("@")
        return f"{file.partition('/')[2] or repo} of {repo}"
    return source.rpartition("/")[2].removesuffix(".safetensors")
