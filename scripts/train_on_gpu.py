"""Train several pairs at once within a time limit on one GPU, and pack the results for the way home.

    PYTHONPATH=. python scripts/train_on_gpu.py --seconds 540 --data runs/pack --out runs/gpu --pack "$OUT"
    cat PACK/results.tar.* | tar x -C runs/gpu          # at home

Each job is a process of its own with its log in OUT/JOB.log; `level1:120` gives a job fewer seconds. `--init` continues
from the results of an earlier run of this script.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from pathlib import Path

RECIPES = {f"level{k}": f"recipes/cd-wct-level{k}.toml" for k in range(1, 6)} | {"adain": "recipes/cd-adain.toml"}
CHUNK = 15 << 20
PACK_LIMIT = 60 << 20
GRACE_S = 25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", default="level1:150,level2:300,level3,level4,level5,adain")
    parser.add_argument("--seconds", type=float, default=540, help="from start to packed results")
    parser.add_argument("--data", default="runs/pack")
    parser.add_argument("--teachers", help="folder of the teacher's files; DATA/teachers by default")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu"))
    parser.add_argument("--pack", type=Path, help="folder for the packed results")
    parser.add_argument("--init", type=Path, help="OUT of an earlier run to continue from")
    parser.add_argument("--skip", default="", help="phases to take from --init as they are, with commas")
    parser.add_argument("--lr-scale", type=float, default=1.0)
    parser.add_argument("--batch", type=int, help="crops per step instead of the recipes'")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        train_one(arguments)
    else:
        train_all(arguments)


def train_all(arguments: argparse.Namespace) -> None:
    begin = time.monotonic()
    end = begin + arguments.seconds - GRACE_S
    arguments.out.mkdir(parents=True, exist_ok=True)
    processes = {}
    environment = os.environ | {"OMP_NUM_THREADS": "2", "PYTHONUNBUFFERED": "1"}
    for job in arguments.jobs.split(","):
        name, _, own = job.partition(":")
        seconds = min(float(own or 1e9), end - time.monotonic())
        command = [sys.executable, __file__, *sys.argv[1:], "--one", name, "--seconds", str(seconds)]
        with (arguments.out / f"{name}.log").open("w") as log:
            processes[name] = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    report = begin
    while running := [process for process in processes.values() if process.poll() is None]:
        time.sleep(1)
        if time.monotonic() > report:
            report += 30
            for name in processes:
                lines = (arguments.out / f"{name}.log").read_text().splitlines()
                print(f"{time.monotonic() - begin:4.0f} s {name}: {lines[-1] if lines else '...'}", flush=True)
        if time.monotonic() > end + 15:
            for process in running:
                process.send_signal(signal.SIGTERM if time.monotonic() < end + 20 else signal.SIGKILL)
    print({name: process.returncode for name, process in processes.items()})
    for name, process in processes.items():
        if process.returncode:
            print(f"--- {name}\n" + (arguments.out / f"{name}.log").read_text()[-1500:])
    if arguments.pack:
        pack(arguments.out, list(processes), arguments.pack)


def train_one(arguments: argparse.Namespace) -> None:
    from styleplugin.train import Recipe, read_recipe, run
    from styleplugin.train.config import PHASES

    recipe = read_recipe(RECIPES[arguments.one])
    assert isinstance(recipe, Recipe)
    # The jobs run side by side, so none can wait for another to grow from.
    recipe = replace(recipe, grow_from="")
    for phase in PHASES:
        options = recipe.phase(phase)
        options = replace(options, lr=options.lr * arguments.lr_scale, batch=arguments.batch or options.batch)
        init = arguments.init and find_init(arguments.init / arguments.one, phase)
        if init:
            options = replace(options, init=str(init))
            if phase in arguments.skip.split(","):
                options = replace(options, steps=0)
        recipe = replace(recipe, **{phase: options})
    out = arguments.out / arguments.one
    teachers = arguments.teachers or f"{arguments.data}/teachers"
    run(
        recipe,
        out,
        photos=f"{arguments.data}/photos*",
        paintings=f"{arguments.data}/paintings*",
        teachers=teachers,
        device=arguments.device,
        seconds=arguments.seconds,
        on_event=lambda row: print({k: float(f"{v:.4g}") if type(v) is float else v for k, v in row.items()}),
    )


def find_init(folder: Path, phase: str) -> Path | None:
    names = [f"{phase}.safetensors"] + ([] if phase == "teacher_decoder" else ["pair.safetensors"])
    return next((folder / name for name in names if (folder / name).exists()), None)


def pack(out: Path, jobs: list[str], target: Path) -> None:
    """Write one tar of what matters most first, in chunks; the largest files are left out where it gets too big."""
    files = [out / f"{job}.log" for job in jobs]
    for pattern in ("pair.safetensors", "recipe.json", "log.jsonl", "loss.png"):
        files += [out / job / pattern for job in jobs]
    files += [path for job in jobs for path in last_sheets(out / job)]
    decoders = [out / job / "teacher_decoder.safetensors" for job in jobs]
    files += sorted((path for path in decoders if path.exists()), key=lambda path: path.stat().st_size)
    buffer, size = io.BytesIO(), 0
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path in files:
            if not path.exists():
                continue
            size += path.stat().st_size + 1024
            if size > PACK_LIMIT:
                print(f"left out: {path.relative_to(out)}")
                continue
            archive.add(path, path.relative_to(out).as_posix())
    data = buffer.getvalue()
    target.mkdir(parents=True, exist_ok=True)
    for number, begin in enumerate(range(0, len(data), CHUNK)):
        (target / f"results.tar.{number}").write_bytes(data[begin : begin + CHUNK])
    print(f"packed {len(data) / 2**20:.1f} MiB")


def last_sheets(folder: Path) -> list[Path]:
    sheets = sorted((folder / "sheets").glob("*.jpg"))
    newest = {sheet.name.rpartition("-")[0]: sheet for sheet in sheets}
    return list(newest.values())


if __name__ == "__main__":
    main()
