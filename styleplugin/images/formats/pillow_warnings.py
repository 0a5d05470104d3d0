"""What Pillow warns of while a picture is read, without a change of the program's own warnings."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

_BY_PILLOW = r"PIL\."


class _Listener:
    """Hears the warnings of the threads that read pictures, as long as there are any.

    `warnings.catch_warnings` puts back what it found, which in threads is another thread's: whoever leaves last leaves
    its filter behind. So the first reader that comes sets one filter, for Pillow alone, and the last that goes takes
    it away.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._heard: dict[int, list[str]] = {}
        self._filter: Any = None
        self._show: Callable[..., Any] = warnings.showwarning

    @contextmanager
    def listening(self, heard: list[str]) -> Iterator[None]:
        """Append what is said in this thread."""
        thread = threading.get_ident()
        with self._lock:
            if not self._heard:
                self._begin()
            before, self._heard[thread] = self._heard.get(thread), heard
        try:
            yield
        finally:
            with self._lock:
                if before is not None:
                    self._heard[thread] = before
                else:
                    del self._heard[thread]
                if not self._heard:
                    self._end()

    def _begin(self) -> None:
        warnings.filterwarnings("always", module=_BY_PILLOW)
        self._filter = warnings.filters[0]
        self._show, warnings.showwarning = warnings.showwarning, self._hear

    def _end(self) -> None:
        with suppress(ValueError):  # The program has set its filters anew.
            warnings.filters.remove(self._filter)  # type: ignore[attr-defined]
        if warnings.showwarning == self._hear:
            warnings.showwarning = self._show

    def _hear(self, message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        heard = self._heard.get(threading.get_ident())
        if heard is None:
            self._show(message, category, *where, **more)
        elif category is UserWarning:
            heard.append(str(message))


pillow_warnings = _Listener().listening
"""Context in which what Pillow warns of in this thread is appended to a list."""
