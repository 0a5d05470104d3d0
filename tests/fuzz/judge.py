"""The rule: our error or a right result, within bounds of time and memory."""

from __future__ import annotations

import os
import resource
import signal
import time
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path

from fuzz.parsers import PARSERS

from styleplugin.errors import ResourceError, StylePluginError

LIMIT_S = 1.0
"""Of the process's own time, which does not count what others do meanwhile."""
LIMIT_MB = 256
HANG_S = 30.0
"""Of its own time after which the process ends itself; its parent sees that."""
_STATM, _CLEAR = Path("/proc/self/statm"), Path("/proc/self/clear_refs")
_RESET_PEAK = b"5"


@dataclass(frozen=True)
class Verdict:
    """What a parser made of an input."""

    accepted: bool
    failure: str
    """Empty where the rule was kept."""
    place: str = ""
    """Where it was broken: equal for inputs with one fault."""


def input_path(name: str, folder: Path) -> Path:
    """Return where the inputs of a parser lie, one after the other; the last one stays when the process dies."""
    return folder / f"input{PARSERS[name].suffix}"


class Judge:
    """Gives inputs to a parser, in a process that does nothing else.

    Args:
        name: Of the parser.
        folder: Where the inputs may lie.
        patience: Factor on the limit of time, for machines that are slower than the rule's.
    """

    def __init__(self, name: str, folder: Path, patience: float = 1) -> None:
        self._parser = PARSERS[name]
        self._path = input_path(name, folder)
        self._limit_s = LIMIT_S * patience
        self._memory = _Memory()

    def __call__(self, data: bytes) -> Verdict:
        """Return what became of an input."""
        self._path.write_bytes(data)
        self._memory.start()
        signal.setitimer(signal.ITIMER_PROF, HANG_S)
        started = time.process_time()
        accepted, failure, place = False, "", ""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._parser.read(self._path)
            accepted = True
        except ResourceError as error:
            failure = place = str(error)
        except StylePluginError:
            pass
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"[:200]
            place = f"{type(error).__name__} {traceback.extract_tb(error.__traceback__)[-1]}"
        spent, grown = time.process_time() - started, self._memory.grown_mb()
        signal.setitimer(signal.ITIMER_PROF, 0)
        if not failure and (spent > self._limit_s or grown > LIMIT_MB):
            failure, place = f"{spent:.1f} s, {grown:.0f} MB", "limits"
        return Verdict(accepted, failure, place)


class _Memory:
    """Measures how far the resident memory rises; where the system does not reset its peak, it is not known."""

    def __init__(self) -> None:
        known = _CLEAR.exists()
        self._files = (os.open(_STATM, os.O_RDONLY), os.open(_CLEAR, os.O_WRONLY)) if known else None
        self._before = 0.0

    def start(self) -> None:
        if self._files is not None:
            statm, clear = self._files
            os.pwrite(clear, _RESET_PEAK, 0)
            self._before = int(os.pread(statm, 100, 0).split()[1]) * resource.getpagesize() / 1024

    def grown_mb(self) -> float:
        if self._files is None:
            return 0.0
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - self._before) / 1024

    def __del__(self) -> None:
        for file in self._files or ():
            os.close(file)
