"""What decoders learn in a row: benchmarks/cascade.py PAIRS --start MODEL [--recipe FILE] [--steps 150].

MODEL is a WCT model whose pairs were trained one by one, FILE the recipe of a cascade, PAIRS a folder of `pairs.py`.
The decoders are trained on, the same number of steps from the same start, with parts of the loss. Prints the
reconstruction of the validation pictures, and style and content of the pairs, and writes them to
benchmarks/results/cascade.json.
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
from styleplugin.train import CascadeRecipe, read_recipe, run
from styleplugin.train.config import TeacherOptions
from styleplugin.train.teachers import Judge, build_judge

VARIANTS = {
    "pairs alone": {"steps": 0},
    "pictures": {"style": 0.0, "content": 0.0},
    "pictures, style": {"content": 0.0},
    "pictures, style, content": {},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--start", required=True, help="name or source of the model")
    parser.add_argument("--recipe", type=Path, default=ROOT / "recipes" / "cd-wct-cascade.toml")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--limit", type=int, default=12, help="most pairs")
    parser.add_argument("--side", type=int, default=384)
    parser.add_argument("--out", type=Path, default=Path("runs/cascade-study"))
    arguments = parser.parse_args()
    recipe = read_recipe(arguments.recipe)
    assert isinstance(recipe, CascadeRecipe)
    pairs = read_pairs(arguments.pairs, "artistic")[: arguments.limit]
    teachers = TeacherOptions(root=str(ROOT.parent / "shared" / "data" / "teachers"))
    judge = build_judge(teachers, 5, torch.zeros(1, 3, 32, 32))
    rows = []
    for name, changes in VARIANTS.items():
        decoders = replace(recipe.decoders, **({"steps": arguments.steps} | changes))
        out = arguments.out / name.replace(", ", "-").replace(" ", "-")
        path = run(replace(recipe, start=arguments.start, decoders=decoders), out, resume=True)
        rows.append({"learned from": name} | figures(path, pairs, arguments.side, judge))
        print(json.dumps(rows[-1]), flush=True)
    settings = {"steps": arguments.steps, "pairs": len(pairs), "side": arguments.side}
    write("cascade", {"machine": machine(), "settings": settings, "rows": rows})
    print(machine())
    print(table(list(rows[0]), [[v if isinstance(v, str) else f"{v:.3f}" for v in row.values()] for row in rows]))


@torch.inference_mode()
def figures(path: Path, pairs: list[Pair], side: int, judge: Judge) -> dict[str, float]:
    """Return the decibels of each level, and means over the pairs."""
    stylizer = styleplugin.load(path, allow_unknown_model=True)
    distances, similarity, cells = [], [], []
    for pair in pairs:
        content, style = read_fitted(pair.content, side), read_fitted(pair.style, side)
        output = stylizer(content, style).tensor
        distances.append(metrics.style_distances(judge.features, output, style))
        similarity.append(metrics.ssim(content, output))
        cells.append(metrics.cells(output))
    known = read_weights(path).metadata["card"]["metrics"]
    decibels = {f"dB, {name}": own["psnr"] for name, own in sorted(known.items())}
    found = {"content SSIM": float(np.mean(similarity)), "style distance": float(np.mean(distances))}
    levels = {f"style {k}": float(value) for k, value in enumerate(np.mean(distances, 0), 1)}
    return found | levels | {"cells %": float(np.mean(cells))} | decibels


if __name__ == "__main__":
    main()
