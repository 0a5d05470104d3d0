"""What a run will take: steps, time from measured steps, memory and disk; and how a time budget changes the steps."""

from __future__ import annotations

import math
import shutil
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from styleplugin.errors import ResourceError

MARGIN = 0.94
"""Share of a time budget that goes into steps; the rest is for validation, checkpoints and writing."""


@dataclass(frozen=True, kw_only=True)
class PhasePlan:
    """One phase of one run."""

    run: str
    """Name of its recipe."""
    phase: str
    steps: int
    seconds_per_step: float

    @property
    def seconds(self) -> float:
        """Time of all steps."""
        return self.steps * self.seconds_per_step


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All phases ahead, in their order."""

    phases: tuple[PhasePlan, ...] = ()
    device: str = ""
    memory_mb: int = 0
    """Most memory of the program while the steps were measured."""
    disk_mb: int = field(default=0)
    """Space for checkpoints and results."""

    @property
    def seconds(self) -> float:
        """Expected time."""
        return sum(phase.seconds for phase in self.phases) / MARGIN

    def __add__(self, other: Plan) -> Plan:
        """Return both, one after the other."""
        return Plan(
            phases=self.phases + other.phases,
            device=other.device or self.device,
            memory_mb=max(self.memory_mb, other.memory_mb),
            disk_mb=self.disk_mb + other.disk_mb,
        )

    def after(self, run: str, phase: str) -> float:
        """Return the expected seconds of all phases behind one."""
        names = [(plan.run, plan.phase) for plan in self.phases]
        place = names.index((run, phase)) + 1 if (run, phase) in names else 0
        return sum(plan.seconds for plan in self.phases[place:])

    def within(self, seconds: float) -> Plan:
        """Return a plan that takes so long: all steps are changed by one factor, but every phase has one at least."""
        total = sum(phase.seconds for phase in self.phases)
        factor = MARGIN * seconds / total if total and math.isfinite(seconds) else 1.0
        phases = [replace(phase, steps=max(1, round(factor * phase.steps))) for phase in self.phases]
        return replace(self, phases=tuple(phases))

    def steps_within(self, run: str, phase: str, seconds: float) -> int | None:
        """Return the steps of a phase if it and all phases behind it shall take so long; None if it is not planned."""
        names = [(plan.run, plan.phase) for plan in self.phases]
        if (run, phase) not in names:
            return None
        ahead = replace(self, phases=self.phases[names.index((run, phase)) :])
        return ahead.within(seconds).phases[0].steps

    def check_disk(self, folder: Path) -> None:
        """Raise ResourceError SP521 if the folder's disk has no room for the run."""
        free = shutil.disk_usage(folder).free >> 20
        if free < self.disk_mb:
            raise ResourceError(
                "SP521",
                f"The run needs {self.disk_mb} MB for checkpoints and results, and {free} MB are free in {folder}.",
                "Free some space, or choose another folder.",
            )

    def __str__(self) -> str:
        """Return a table for people."""
        lines = [f"{'run':24}{'phase':18}{'steps':>8}{'s/step':>9}{'time':>10}"]
        for phase in self.phases:
            times = f"{phase.seconds_per_step:9.3f}{duration(phase.seconds):>10}"
            lines.append(f"{phase.run[:23]:24}{phase.phase:18}{phase.steps:8}{times}")
        lines.append(
            f"about {duration(self.seconds)} on {self.device}, {self.memory_mb} MB of memory, {self.disk_mb} MB on disk"
        )
        return "\n".join(lines)


def duration(seconds: float) -> str:
    """Write a time for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def peak_memory_mb(device: torch.device) -> int:
    """Return the most memory that was held, in MB: of the accelerator, or of this process; 0 if that is not known."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) >> 20
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak >> 20 if sys.platform == "darwin" else peak >> 10
