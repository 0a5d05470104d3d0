"""What a decoder learns from transformed features: benchmarks/robust.py RUN PAIRS --recipe FILE [--steps 240].

RUN is the folder of a finished WCT pair and FILE its recipe, PAIRS a folder of `pairs.py`. The decoder of the phase
"student_pair" is trained on, the same number of steps from the same start, with parts of the loss of the phase
"robust_decoder". Prints reconstruction of the validation pictures, and style and content of the pairs with this level
alone, and writes them to benchmarks/results/robust-LEVEL.json.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from common import ROOT, machine, table, write
from pairs import Pair, read_fitted, read_pairs

import styleplugin
from styleplugin import metrics
from styleplugin.checkpoint import read_weights
from styleplugin.train import run
from styleplugin.train.config import PhaseOptions, Recipe, TeacherOptions
from styleplugin.train.teachers import Judge, build_judge
from styleplugin.train.toml import read_recipe

VARIANTS = {
    "not trained on": None,
    "pictures": {"style": 0.0, "feature": 0.0},
    "pictures, features": {"style": 0.0},
    "pictures, style": {"feature": 0.0},
    "pictures, style, features": {},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--recipe", type=Path, required=True, help="that the run was made with")
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--limit", type=int, default=12, help="most pairs")
    parser.add_argument("--side", type=int, default=384)
    parser.add_argument("--out", type=Path, default=Path("runs/robust"))
    arguments = parser.parse_args()
    recipe = read_recipe(arguments.recipe)
    assert isinstance(recipe, Recipe)
    pairs = read_pairs(arguments.pairs, "artistic")[: arguments.limit]
    teachers = TeacherOptions(root=str(ROOT.parent / "shared" / "data" / "teachers"))
    judge = build_judge(teachers, 5, torch.zeros(1, 3, 32, 32))
    rows = []
    for name, losses in VARIANTS.items():
        out = arguments.out / f"level{recipe.level}-{name.replace(', ', '-').replace(' ', '-')}"
        rows.append({"variant": name} | figures(train(recipe, arguments, losses, out), pairs, arguments.side, judge))
        print(json.dumps(rows[-1]), flush=True)
    settings = {"steps": arguments.steps, "pairs": len(pairs), "side": arguments.side}
    write(f"robust-{recipe.level}", {"machine": machine(), "settings": settings, "rows": rows})
    print(machine())
    print(table(list(rows[0]), [[v if isinstance(v, str) else f"{v:.3f}" for v in row.values()] for row in rows]))


def train(recipe: Recipe, arguments: argparse.Namespace, losses: dict[str, float] | None, out: Path) -> Path:
    still = PhaseOptions(steps=0, init=str(arguments.run / "student_pair.safetensors"))
    robust = replace(recipe.robust_decoder, steps=arguments.steps, **(losses or {}))
    variant = replace(
        recipe,
        grow_from="",
        teacher_decoder=PhaseOptions(steps=0),
        student_encoder=still,
        student_decoder=still,
        student_pair=PhaseOptions(steps=0),
        robust_decoder=PhaseOptions(steps=0) if losses is None else robust,
    )
    return run(variant, out, resume=True)


@torch.inference_mode()
def figures(path: Path, pairs: list[Pair], side: int, judge: Judge) -> dict[str, float]:
    stylizer = styleplugin.load(path, allow_unknown_model=True)
    distances, similarity, cells = [], [], []
    for pair in pairs:
        content, style = read_fitted(pair.content, side), read_fitted(pair.style, side)
        output = stylizer(content, style).tensor
        distances.append(metrics.style_distances(judge.features, output, style))
        similarity.append(metrics.ssim(content, output))
        cells.append(metrics.cells(output))
    levels = {f"style {k}": float(value) for k, value in enumerate(np.mean(distances, 0), 1)}
    found = {"psnr": read_weights(path).metadata["card"]["metrics"]["psnr"], "content SSIM": float(np.mean(similarity))}
    return found | {"style distance": float(np.mean(distances))} | levels | {"cells %": float(np.mean(cells))}


if __name__ == "__main__":
    main()
