"""Out of memory: the same work once more, in smaller tiles. The only place that does this."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import torch
from typing_extensions import Self

from styleplugin.errors import ResourceError
from styleplugin.guard import is_out_of_memory
from styleplugin.report import noted_by


class TilePlan(Protocol):
    """How a run is cut up."""

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        ...

    @property
    def tile(self) -> int:
        """Side of a tile; 0 for the whole picture."""
        ...

    def halved(self) -> Self | None:
        """Return the plan to try after an allocation failed; None below the smallest tile."""
        ...


P = TypeVar("P", bound=TilePlan)
R = TypeVar("R")


def with_smaller_tiles(
    run: Callable[[P], R], plan: P, size: tuple[int, int], note: Callable[[str], None]
) -> tuple[R, P]:
    """Run within a plan; where an allocation fails all the same, within smaller ones, and say so.

    Args:
        run: The work, from its beginning.
        plan: The first to try.
        size: (height, width) of the picture, for the message.
        note: Takes a warning, those of `run` too.

    Returns:
        What `run` returned, and the plan that worked: the one to go on with.

    Raises:
        ResourceError: SP502, it fails with the smallest tiles as well.
    """
    while True:
        try:
            with noted_by(note):
                return run(plan), plan
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            smaller = plan.halved()
        if plan.device.type == "cuda":
            torch.cuda.empty_cache()
        if smaller is None:
            raise ResourceError(
                "SP502",
                f"A picture of {size[1]} x {size[0]} does not fit in memory, not even in the smallest tiles.",
                "Close other programs, use another device, or take a smaller picture.",
            )
        note(f"Out of memory with tiles of {plan.tile or 'the whole picture'}; went on with {smaller.tile}.")
        plan = smaller
