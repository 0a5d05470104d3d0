"""Values as people have them: what NumPy and torch call numbers and lists becomes plain, or one sentence refuses it."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from numbers import Real
from typing import Any

from styleplugin.errors import UsageError

_LONGEST = 80


def number(name: str, value: Any, low: float, high: float, *, whole: bool = False) -> float:
    """Return a number of any library as a plain one; an int where a whole number is asked for.

    Args:
        name: Of the field, for the message.
        value: What was given; 3.0 is a whole number, True is none.
        low: Smallest value.
        high: Largest.
        whole: Whether it must be a whole number.

    Raises:
        UsageError: SP101, no such number.
    """
    plain = _real(value)
    if plain is None or not low <= plain <= high or (whole and plain != int(plain)):
        kind = "a whole number" if whole else "a number"
        raise UsageError(
            "SP101",
            f"`{name}` was {shown(value)}; it must be {kind} from {_limit(low)} to {_limit(high)}.",
            "Give a value in this range.",
        )
    return int(plain) if whole else float(plain)


def switch(name: str, value: Any) -> bool:
    """Return a truth value of any library as a plain one.

    Raises:
        UsageError: SP102, something else.
    """
    plain = _plain(value)
    if not isinstance(plain, bool):
        raise UsageError("SP102", f"`{name}` was {shown(value)}; it must be true or false.", "Use one of these values.")
    return plain


def integers(name: str, value: Any) -> tuple[int, ...]:
    """Return one whole number, or several in any form, as a tuple.

    Raises:
        UsageError: SP101, something else.
    """
    is_list = isinstance(value, Iterable) and not isinstance(value, (str, bytes, dict)) and getattr(value, "ndim", 1)
    plain = [_real(part) for part in (value if is_list else [value])]
    whole = tuple(int(part) for part in plain if part is not None and part == int(part))
    if len(whole) != len(plain):
        raise UsageError(
            "SP101", f"`{name}` was {shown(value)}; it must be one or more whole numbers.", "For example 3, or 5, 4, 3."
        )
    return whole


def several(value: Any) -> Any:
    """Return what has a length and items, where a list is asked for.

    A path is a list of one; an iterator is read to its end.
    """
    if isinstance(value, (str, os.PathLike)):
        return [value]
    return value if hasattr(value, "__len__") and hasattr(value, "__getitem__") else list(value)


def stream(value: Any, single: tuple[type, ...] = ()) -> tuple[Iterator[Any], int | None]:
    """Return the items one by one, each taken when it is asked for, and their number where it is known beforehand.

    A path, or something of a type in `single`, is a list of one; an iterator is never read ahead.
    """
    if isinstance(value, (str, os.PathLike, *single)):
        return iter([value]), 1
    if hasattr(value, "__len__") and hasattr(value, "__getitem__"):
        return (value[i] for i in range(len(value))), len(value)
    return iter(value), None


def shown(value: Any) -> str:
    """Return a wrong value for a message, cut to a sensible length."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _plain(value: Any) -> Any:
    """Return the number inside a scalar of NumPy or torch; everything else as it is."""
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", None) == 0 else value


def _limit(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:g}"


def _real(value: Any) -> int | float | None:
    """Return a finite number as a plain one; None for everything else."""
    plain = _plain(value)
    if isinstance(plain, bool) or not isinstance(plain, Real):
        return None
    plain = plain if isinstance(plain, int) else float(plain)
    return plain if math.isfinite(plain) else None
