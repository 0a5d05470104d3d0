"""All of a run that is not in its recipe: where, how long, and who listens."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from styleplugin.errors import Cancelled
from styleplugin.train.data.pictures import Pictures, load_set
from styleplugin.train.loop.distributed import Workers
from styleplugin.train.loop.logbook import Row
from styleplugin.train.recipe.options import DataOptions
from styleplugin.train.recipe.plan import Plan


@dataclass(kw_only=True)
class Setting:
    """All of a run that is not in its recipe: where, how long, and who listens."""

    device: str = "auto"
    seconds: float = math.inf
    """Time budget of all runs together."""
    on_event: Callable[[Row], None] | None = None
    """Gets every row of the log."""
    should_stop: Callable[[], bool] = lambda: False
    """Asked after every step and every picture that is read."""
    plan: Plan = field(default_factory=Plan)
    """What is ahead, where it was measured."""
    owns_process: bool = True
    """Whether the process does nothing but train, so that its allocator may be told to keep memory."""

    def __post_init__(self) -> None:
        self.workers = Workers(cpu=self.device == "cpu")
        self.place = self.workers.place(self.device)
        self.end = time.monotonic() + self.seconds
        # Pairs of a bundle share their pictures.
        self.pictures = cache(self._pictures)

    @property
    def seconds_left(self) -> float:
        """What is left of the time budget."""
        return self.end - time.monotonic()

    def check_stop(self) -> None:
        """Raise Cancelled if somebody wants the run to stop."""
        if self.workers.any_process(self.should_stop()):
            raise Cancelled("Stopped on request.")

    def _pictures(self, data: DataOptions, *, styles: bool) -> tuple[Pictures, Pictures]:
        training, validation = load_set(data, styles=styles, should_stop=self.should_stop)
        return training.to(self.place), validation.to(self.place)
