"""ZeroGPU: on a Space that lends a GPU for the time of a call, events run on it; elsewhere nothing changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

SECONDS = 120
"""What an event may take there."""

try:
    # Must be imported before torch touches a device.
    import spaces  # pyright: ignore[reportMissingImports]
except ImportError:
    spaces = None


def gpu(event: Callable[..., Any]) -> Callable[..., Any]:
    """Let an event have the Space's GPU while it runs."""
    return event if spaces is None else spaces.GPU(duration=SECONDS)(event)
