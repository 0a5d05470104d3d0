"""What a student should start from: benchmarks/pruning.py --out runs/pruning.

The level-3 pair of Collaborative Distillation at a quarter of VGG-19's widths, from random numbers, from the
L1-largest filters, and from what SPP, IncReg and GReg leave; then trained alike. One teacher's decoder serves all of
them. Prints a table of the reconstruction on validation pictures, and writes it to benchmarks/results/pruning.json.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from statistics import median

from common import ROOT, machine, write

from styleplugin.train import run
from styleplugin.train.loop.logbook import Logbook
from styleplugin.train.pairs.recipe import RULES, Recipe
from styleplugin.train.recipe.options import DataOptions, PhaseOptions, TeacherOptions

SHARED = ROOT.parent / "shared" / "data"
BATCH = 8
TIMED = ("pruning", "student_pair")
STARTS = ("random", "l1", "activation", *RULES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/pruning"))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--starts", default=",".join(STARTS))
    parser.add_argument("--result", default="pruning", help="name of the JSON file in benchmarks/results")
    parser.add_argument("--crop", type=int, default=96)
    parser.add_argument("--teacher-steps", type=int, default=300)
    parser.add_argument("--pruning-steps", type=int, default=400)
    parser.add_argument("--steps", type=int, default=600, help="of every student after its start")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    recipe = base_recipe(arguments)
    teacher = arguments.out / "teacher" / "teacher_decoder.safetensors"
    if not teacher.exists():
        run(recipe, teacher.parent, resume=True, device=arguments.device, on_event=show)
    rows = []
    for seed in range(arguments.seeds):
        for start in arguments.starts.split(","):
            rows.append(one(recipe, start, seed, teacher, arguments))
            print(rows[-1], flush=True)
    figures = {
        "machine": machine(),
        "settings": {name: str(value) for name, value in vars(arguments).items() if name != "out"},
        "rows": rows,
    }
    write(arguments.result, figures)
    print(table(rows))


def base_recipe(arguments: argparse.Namespace) -> Recipe:
    still = PhaseOptions(steps=0)
    return Recipe(
        name="pruning-study",
        level=3,
        log_every=25,
        validate_every=max(1, arguments.steps // 4),
        checkpoint_every=200,
        data=DataOptions(photos=f"{SHARED}/train/photos*", crop=arguments.crop, short_side=200),
        teacher=TeacherOptions(root=str(SHARED / "teachers")),
        teacher_decoder=PhaseOptions(steps=arguments.teacher_steps, batch=BATCH, lr=0.012, warmup=50),
        student_encoder=still,
        student_decoder=still,
    )


def one(recipe: Recipe, start: str, seed: int, teacher: Path, arguments: argparse.Namespace) -> dict:
    """Train one student and return its figures."""
    pruning = PhaseOptions(steps=arguments.pruning_steps if start in RULES else 0, batch=BATCH, lr=0.002, warmup=50)
    recipe = replace(
        recipe,
        importance=start,
        seed=seed,
        teacher_decoder=PhaseOptions(steps=0, init=str(teacher)),
        pruning=pruning,
        student_pair=PhaseOptions(
            steps=arguments.steps, batch=BATCH, lr=0.012, warmup=50, pixel=100.0, perceptual=0.3, embedding=1.0
        ),
    )
    out = arguments.out / f"{start}-{seed}"
    run(recipe, out, resume=True, device=arguments.device, on_event=show)
    log = Logbook(out).rows()
    curve = {row["step"]: row["psnr"] for row in log if row.get("phase") == "student_pair" and "psnr" in row}
    pruned = [row["forced"] for row in log if row.get("event") == "pruned"]
    speeds = {name: [r["images_per_s"] for r in log if r.get("phase") == name and "loss" in r] for name in TIMED}
    return {
        "start": start,
        "seed": seed,
        "psnr": next(row for row in log if row.get("event") == "evaluated")["psnr"],
        "curve": curve,
        "forced": pruned[0] if pruned else None,
        "seconds_per_step": {name: round(BATCH / median(values), 3) for name, values in speeds.items() if values},
    }


def table(rows: list[dict]) -> str:
    lines = ["| start | " + " | ".join(f"step {step}" for step in rows[0]["curve"]) + " | removed by force |"]
    lines.append("| --- |" + " --- |" * (len(rows[0]["curve"]) + 1))
    for start in dict.fromkeys(row["start"] for row in rows):
        mine = [row for row in rows if row["start"] == start]
        means = [sum(row["curve"][step] for row in mine) / len(mine) for step in mine[0]["curve"]]
        forced = ", ".join(str(row["forced"]) for row in mine if row["forced"] is not None) or "-"
        lines.append(f"| {start} | " + " | ".join(f"{value:.2f}" for value in means) + f" | {forced} |")
    return "\n".join(lines)


def show(row: dict) -> None:
    if "loss" in row or "psnr" in row or "event" in row:
        print({name: round(value, 4) if type(value) is float else value for name, value in row.items()}, flush=True)


if __name__ == "__main__":
    main()
