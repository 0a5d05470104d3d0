"""The released MicroAST code against KBStyle: time and memory, in alternating runs; `quality.py` compares the pictures.

python benchmarks/side_by_side_microast.py --clone FOLDER [--sizes 512x512 2048x1080 3840x2160] [--repeats 3]

FOLDER is your own clone of the authors' repository with its models. Its networks run on the CPU as they are, content
and style both of the size named; both programs encode the style each time. Every run is a process of its own, in
turns, each picture made three times and the fastest counted. "Tuned" gives both an allocator (glibc's) that keeps freed
memory. --model file:PATH measures a student of your own; what a palette adds, `"kbstyle.200k?palette=level1"`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from common import (
    ALLOCATOR,
    SAMPLES,
    child,
    machine,
    memory_now,
    memory_peak,
    middle,
    model_and_options,
    picture,
    seconds,
    size_of,
    table,
    write,
)
from rivals import released_microast
from torch import Tensor

import styleplugin
from styleplugin import Result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clone", type=Path)
    parser.add_argument("--model", default="kbstyle.200k?palette=off")
    parser.add_argument("--sizes", nargs="+", default=["512x512", "2048x1080", "3840x2160"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", type=json.loads)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(**options.child)))
        return
    if options.clone is None:
        parser.error("--clone is needed: the folder of a clone of the released code")
    rows, data = [], []
    for size in options.sizes:
        runs: dict[str, list[dict]] = {"released": [], "ours": [], "released tuned": [], "ours tuned": []}
        for _ in range(options.repeats):
            for name, collected in runs.items():
                clone = str(options.clone) if name.startswith("released") else None
                given = {"clone": clone, "model": options.model, "size": size}
                collected.append(child(__file__, given, ALLOCATOR if name.endswith("tuned") else None))
        times = {name: [min(run["seconds"]) for run in collected] for name, collected in runs.items()}
        memory = {name: max(run["memory_mb"] for run in collected) for name, collected in runs.items()}
        best = {name: min(values) for name, values in times.items()}
        ratios = (best["released" + tuned] / best["ours" + tuned] for tuned in ("", " tuned"))
        rows.append(
            [
                size,
                *(middle(values) for values in times.values()),
                " / ".join(f"{ratio:.1f}" for ratio in ratios),
                f"{memory['released']:.0f} / {memory['ours']:.0f}",
            ]
        )
        data.append({"size": size, "times": times, "memory_mb": memory})
    write("side_by_side_microast", {"machine": machine(), "model": options.model, "runs": data})
    print(f"{machine()}; {options.model}, style of the same size encoded each time; median (minimum) seconds\n")
    names = ["released", "ours", "released, tuned", "ours, tuned"]
    print(table(["size", *names, "times as fast / tuned", "peak MB, released / ours"], rows))


def measure(clone: str | None, model: str, size: str) -> dict:
    run = released_microast(clone) if clone else ours(model)
    run(torch.rand(1, 3, 128, 128), torch.rand(1, 3, 128, 128))
    before = memory_now()
    content, style = (picture(SAMPLES / name, *size_of(size)) for name in ("lake.jpg", "swirls.jpg"))
    times = seconds(lambda: run(content, style), 3)
    return {"seconds": times, "memory_mb": memory_peak() - before}


def ours(model: str) -> Callable[[Tensor, Tensor], Result]:
    """Return one of our models, with its options."""
    source, options = model_and_options(model)
    return partial(styleplugin.load(source, device="cpu", allow_unknown_model=True), **options)


if __name__ == "__main__":
    main()
