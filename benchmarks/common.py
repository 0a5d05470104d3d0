"""What the benchmarks share: the machine's name, pictures, tables, and a child process that is measured."""

from __future__ import annotations

import ast
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from styleplugin.images.picture import Picture
from styleplugin.images.read import read_image

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
SAMPLES = ROOT / "styleplugin" / "samples"
ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "17179869184"}
"""Keeps freed memory in the process: no page faults for buffers that are allocated again and again."""


def machine() -> str:
    """Name processor, threads and torch."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    name = f"{names[0]} x {len(names)}" if names else platform.processor()
    if torch.cuda.is_available():
        name += f", {torch.cuda.get_device_name()}"
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def picture(path: Path, width: int, height: int) -> Tensor:
    """Read a picture and scale it to a size: (1, 3, H, W) in [0, 1]."""
    return resized(read_image(path), (height, width))


def resized(source: Picture, size: tuple[int, int]) -> Tensor:
    return F.interpolate(source.rgb, size=size, mode="bicubic", antialias=True).clamp(0, 1)


def label(model: str) -> str:
    """Return a model's name without folder and file extension."""
    return Path(model.removeprefix("file:")).name.removesuffix(".safetensors")


def model_and_options(spec: str) -> tuple[str, dict[str, Any]]:
    """Read a model's name or source, with options behind a question mark: `cd-wct.x16?levels=4,3,2,1&strength=0.7`."""
    source, _, query = spec.partition("?")
    return source, {key: _value(text) for key, _, text in (part.partition("=") for part in query.split("&") if part)}


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def size_of(text: str) -> tuple[int, int]:
    """Read WIDTHxHEIGHT."""
    width, height = map(int, text.split("x"))
    return width, height


def memory_now() -> float:
    """Return the MB this process has, and forget its peak so far, where the system allows it."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _memory_mb("VmRSS")


def memory_peak() -> float:
    """Return the most MB this process had, since `memory_now` where possible."""
    return _memory_mb("VmHWM")


def _memory_mb(entry: str) -> float:
    status = Path("/proc/self/status")
    if status.exists():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith(entry)) / 1024
    # The second choice, because a child process starts with its parent's figure. Bytes on macOS, kB elsewhere.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def seconds(run: Callable[[], object], repeats: int) -> list[float]:
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        run()
        times.append(time.perf_counter() - begin)
    return times


def child(
    script: str, arguments: dict, environment: dict[str, str] | None = None, python: str = sys.executable
) -> dict:
    """Run a benchmark in a process of its own, so that memory and allocator are its own; returns its JSON."""
    command = [python, script, "--child", json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | (environment or {}))
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def middle(times: Sequence[float]) -> str:
    return f"{statistics.median(times):.2f} ({min(times):.2f})"


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Format a markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def write(name: str, data: object) -> None:
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(data, indent=1))
