"""The released Collaborative-Distillation code against this package: same students, same pictures, alternating runs.

python benchmarks/side_by_side.py --clone FOLDER [--sizes 1024x1024 2048x1080 3840x2160] [--repeats 2]

FOLDER is your own clone of the authors' repository with its trained_models. Its code runs on the CPU as it is. Around
it there are stubs for `load_lua`, which torch no longer has, and for torchvision, which it imports and does not use;
the loop over the levels, since theirs sits in a script that wants CUDA; and in this loop a buffer of the right size
for each transform, because resizing one through `.data` has no effect in current torch.

Every run is a process of its own, in turns, each picture made twice and the faster run counted; both programs
encode the style each time. "Tuned" gives the released code an allocator (glibc's) that keeps freed memory. "Compact" is
this package with the same students imported without the encoders' dead channels (`--compact`): same picture.
"""

from __future__ import annotations

import argparse
import json
import tempfile
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
    picture,
    seconds,
    size_of,
    table,
    write,
)
from rivals import imported_wct, released_wct
from torch import Tensor

from styleplugin.transforms import metrics

OURS = ("ours", "compact")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clone", type=Path)
    parser.add_argument("--sizes", nargs="+", default=["1024x1024", "2048x1080", "3840x2160"])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--child", type=json.loads)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(**options.child)))
        return
    if options.clone is None:
        parser.error("--clone is needed: the folder of a clone of the released code")
    rows, data = [], []
    with tempfile.TemporaryDirectory() as folder:
        for size in options.sizes:
            runs: dict[str, list[dict]] = {"released": [], "tuned": [], "ours": [], "compact": []}
            for _ in range(options.repeats):
                for name, collected in runs.items():
                    given = {"clone": str(options.clone), "size": size, "folder": folder}
                    given["code"] = "released" if name == "tuned" else name
                    collected.append(child(__file__, given, ALLOCATOR if name == "tuned" else None))
            *results, theirs = (torch.load(Path(folder) / f"{code}.pt") for code in ("ours", "compact", "released"))
            times = {name: [min(run["seconds"]) for run in collected] for name, collected in runs.items()}
            memory = {name: max(run["memory_mb"] for run in collected) for name, collected in runs.items()}
            best = {name: min(values) for name, values in times.items()}
            theirs = _eight_bit(theirs)
            # The released networks drop rows and columns beyond a multiple of 16.
            results = [_eight_bit(result[..., : theirs.shape[2], : theirs.shape[3]]) for result in results]
            difference = max(int((result - theirs).abs().max()) for result in results)
            similarity = min(metrics.psnr(result / 255, theirs / 255) for result in results)
            rows.append(
                [
                    size,
                    *(middle(times[name]) for name in runs),
                    *(f"{best['released'] / best[name]:.1f} / {best['tuned'] / best[name]:.1f}" for name in OURS),
                    " / ".join(f"{memory[name]:.0f}" for name in runs),
                    f"{difference} ({similarity:.1f} dB)",
                ]
            )
            comparison = {"largest_difference": difference, "psnr": similarity}
            data.append({"size": size, "times": times, "memory_mb": memory} | comparison)
    write("side_by_side", {"machine": machine(), "runs": data})
    print(f"{machine()}; five levels, 512x512 style encoded each time; median (minimum) seconds\n")
    header = [
        "size",
        "released",
        "tuned",
        "ours",
        "compact",
        "ours: times as fast as released / tuned",
        "compact: the same",
        "peak MB of each",
        "largest 8-bit difference",
    ]
    print(table(header, rows))


def measure(clone: str, size: str, code: str, folder: str) -> dict:
    run = released_wct(clone) if code == "released" else imported_wct(clone, compact=code == "compact")
    run(torch.rand(1, 3, 128, 128), torch.rand(1, 3, 128, 128))
    before = memory_now()
    content, style = picture(SAMPLES / "lake.jpg", *size_of(size)), picture(SAMPLES / "swirls.jpg", 512, 512)
    results: list[Tensor] = []

    def once() -> None:
        results.clear()
        results.append(run(content, style))

    times = seconds(once, 2)
    memory = memory_peak() - before
    torch.save(results[0], Path(folder) / f"{code}.pt")
    return {"seconds": times, "memory_mb": memory}


def _eight_bit(picture: Tensor) -> Tensor:
    return picture.clamp(0, 1).mul(255).round()


if __name__ == "__main__":
    main()
