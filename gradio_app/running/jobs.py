"""Work in the one thread that computes, watched from an event of the page: progress, stop, memory in use."""

from __future__ import annotations

import ctypes
import queue
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from styleplugin.errors import Cancelled

T = TypeVar("T")

POLL_SECONDS = 0.25
"""Between two steps that are passed on: each costs the page more than most tiles cost the engine."""
ABANDONED_SECONDS = 30.0
"""A job that nobody has looked at for so long stops: its page was closed."""
STOP_SECONDS = 60.0
"""What is stopped ends at its next tile, writes what it has, and is shown; the page waits for it so long at most."""

_worker = ThreadPoolExecutor(1, "styleplugin")
"""One at a time: two jobs would share the memory planned for one. Always the same thread: PyTorch keeps a pool of its
own for each one that computes."""
_running: dict[str, set[Job[Any]]] = {}
"""Jobs of each browser session."""
_shown: dict[str, set[threading.Event]] = {}
"""For each event that a browser session has running, whether it is over."""


@dataclass(frozen=True)
class Step:
    """What a job has to say while it runs."""

    share: float
    """Of the work that is done, in [0, 1]."""
    text: str
    show: Any = None
    """Something to see already, or None."""


class Job(Generic[T]):
    """Work in a thread.

    Args:
        work: Called in the thread with the job, whose `tell` it calls often.
    """

    def __init__(self, work: Callable[[Job[T]], T]) -> None:
        self._work = work
        self._steps: queue.SimpleQueue[Step | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._seen = self._told = time.monotonic()
        self._future: Future[T] = Future()
        self.peak_memory = 0
        """Most bytes in use while it ran, by the whole program; 0 where it cannot be told."""

    def steps(self, session: str) -> Generator[Step | None, None, T]:
        """Run the work; yields its steps, and None where nothing happened, so that a cancelled event is noticed.

        Args:
            session: Of the browser, for `stop_session`. The work is stopped, too, when this is closed.

        Returns:
            What the work returned.
        """
        jobs = _running.setdefault(session, set())
        jobs.add(self)
        self._future = _worker.submit(self._do)
        # The future keeps it: were it to hold the job as well, pictures would stay until garbage is collected.
        end = self._steps.put
        self._future.add_done_callback(lambda _: end(None))
        try:
            while True:
                self._seen = time.monotonic()
                try:
                    step = self._steps.get(timeout=POLL_SECONDS)
                except queue.Empty:
                    self._measure()
                    yield None
                    continue
                if step is None:
                    break
                yield step
        finally:
            self.stop()
            jobs.discard(self)
            if not jobs:
                _running.pop(session, None)
        if self._future.cancelled():
            raise Cancelled()
        future, self._future = self._future, Future()
        try:
            return future.result()
        finally:
            # An error's trace holds this frame, which shall not hold the error.
            del future

    def tell(self, share: float, text: str, show: Any = None) -> None:
        """Say where the work stands.

        Raises:
            Cancelled: The work is to end.
        """
        self._measure()
        if self._stop.is_set() or time.monotonic() - self._seen > ABANDONED_SECONDS:
            raise Cancelled()
        if show is not None or time.monotonic() - self._told >= POLL_SECONDS:
            self._told = time.monotonic()
            self._steps.put(Step(share, text, show))

    def on_step(self, done: float, total: float, stage: str) -> None:
        """Say how much of a stage is done; what the core calls after every tile."""
        self.tell(done / total if total else 0, stage)

    def stop(self) -> None:
        """Let the next `tell` end the work; work that can, returns what it has. What still waits does not begin."""
        self._stop.set()
        self._future.cancel()

    def wait(self, seconds: float) -> None:
        """Wait until the work has ended, at most so long; what was cancelled before it began has."""
        # `wait` would wait for the worker to come by and see that it was cancelled.
        if not self._future.done():
            wait([self._future], seconds)

    def _do(self) -> T:
        try:
            return self._work(self)
        finally:
            give_back()

    def _measure(self) -> None:
        self.peak_memory = max(self.peak_memory, memory_in_use())


@contextmanager
def shown(session: str) -> Iterator[None]:
    """Keep in mind that an event of a browser session is running, until its last output has been taken."""
    over, events = threading.Event(), _shown.setdefault(session, set())
    events.add(over)
    try:
        yield
    finally:
        over.set()
        events.discard(over)
        if not events and _shown.get(session) is events:
            del _shown[session]


def stop_session(session: str) -> None:
    """Stop what a browser session has running, and wait until the page has the last of it.

    A page that is told that all has stopped takes nothing more: what a slow computer finishes after that is lost.
    """
    jobs, events = list(_running.get(session, ())), list(_shown.get(session, ()))
    for job in jobs:
        job.stop()
    for job in jobs:
        job.wait(STOP_SECONDS)
    for over in events:
        over.wait(STOP_SECONDS)


def give_back() -> None:
    """Return memory that is free to the system, where the C library keeps it: without this a page only ever grows."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def memory_in_use() -> int:
    """Return the bytes in use: of the accelerator if there is one, else of this process; 0 where it is not known."""
    if torch.cuda.is_available():
        return torch.cuda.memory_allocated()
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[1]) * 4096 if statm.exists() else 0
