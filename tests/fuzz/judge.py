"""The rule: our error or a result, within bounds of time and memory."""

from __future__ import annotations

import contextlib
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

from fuzz.parsers import PARSERS

from styleplugin.errors import StylePluginError

LIMIT_S = 1.0
LIMIT_MB = 256
_MARGIN = 10
"""For times that are not exact: a busy machine's caches are cold."""
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Verdict:
    """What a parser made of an input."""

    accepted: bool
    failure: str
    """Empty where the rule was kept."""


def judge(name: str, data: bytes, folder: Path, *, exact: bool) -> Verdict:
    """Give an input to a parser.

    Args:
        name: Of the parser.
        data: The file.
        folder: Where it may lie meanwhile.
        exact: Whether memory counts, and time to the second; not where other work shares the process.
    """
    parser = PARSERS[name]
    path = folder / f"input{parser.suffix}"
    path.write_bytes(data)
    before = _resident_mb(reset=True) if exact else 0.0
    started = time.process_time()
    accepted, failure = False, ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parser.read(path)
        accepted = True
    except StylePluginError:
        pass
    except Exception as error:
        failure = f"{type(error).__name__}: {error}"[:200]
    spent = time.process_time() - started
    grown = _resident_mb(peak=True) - before if exact else 0.0
    if not failure and (spent > LIMIT_S * (1 if exact else _MARGIN) or grown > LIMIT_MB):
        failure = f"{spent:.1f} s, {grown:.0f} MB"
    return Verdict(accepted, failure)


def _resident_mb(*, peak: bool = False, reset: bool = False) -> float:
    """Return the resident memory, or its peak since the last reset; 0 where the system does not say."""
    with contextlib.suppress(OSError):
        if reset:
            _CLEAR.write_text("5")
        key = "VmHWM:" if peak else "VmRSS:"
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(key))
        return int(line.split()[1]) / 1024
    return 0.0
