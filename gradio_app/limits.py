"""What visitors may ask of the machine: numbers that its owner can change at the start."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field, fields
from typing import Any

MOST_MEGAPIXELS = 1000
"""No option lets a larger picture in."""


def _limit(default: int, most: int, meaning: str) -> Any:
    return field(default=default, metadata={"most": most, "help": f"{meaning} (default: {default})"})


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Most that a visitor may ask for; each field is an option of the command line."""

    max_megapixels: int = _limit(100, MOST_MEGAPIXELS, "of one picture, in million pixels")
    max_request_megapixels: int = _limit(200, 10 * MOST_MEGAPIXELS, "of all pictures of one request together")
    max_layers: int = _limit(8, 64, "layers of a drawing")
    max_regions: int = _limit(8, 64, "regions with a style of their own")
    max_upload_mb: int = _limit(64, 4096, "of one file, in MB")
    max_visitor_mb: int = _limit(1000, 1 << 20, "uploads of one visitor in a day, in MB")
    max_total_mb: int = _limit(8000, 1 << 24, "uploads of all visitors in a day, in MB")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Give a command line an option for each limit."""
    group = parser.add_argument_group("limits")
    for limit in fields(Limits):
        group.add_argument(
            "--" + limit.name.replace("_", "-"),
            type=lambda text, most=limit.metadata["most"]: _number(text, most),
            default=limit.default,
            metavar="NUMBER",
            help=limit.metadata["help"],
        )


def limits_of(options: argparse.Namespace) -> Limits:
    """Return the limits that a command line gave."""
    return Limits(**{limit.name: getattr(options, limit.name) for limit in fields(Limits)})


def _number(text: str, most: int) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9 or not 1 <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"it was {text[:40]!r}; it must be a whole number from 1 to {most}")
    return int(text)


def limits_for(request: Any) -> Limits:
    """Return the limits of the page that a request came to; the usual ones where there is no page."""
    app = getattr(getattr(request, "request", None), "app", None)
    return getattr(app and app.get_blocks(), "limits", None) or Limits()
