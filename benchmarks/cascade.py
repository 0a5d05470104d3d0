"""What decoders learn in a row: benchmarks/cascade.py --start MODEL [--recipe FILE] [--steps 150].

MODEL is a WCT model whose pairs were trained one by one, FILE the recipe of a cascade. The decoders are trained on, the
same number of steps from the same start, with parts of the loss. Prints the reconstruction of the validation pictures,
and figures of the evaluation's selection pairs, and writes them to benchmarks/results/cascade.json.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from common import ROOT, machine, table, write
from evaluation import Evaluator, Pair, pairs, read

import styleplugin
from styleplugin.methods.wct.train.cascade import CascadeRecipe
from styleplugin.tensorfile import read_weights
from styleplugin.train import read_recipe, run

VARIANTS = {
    "pairs alone": {"steps": 0},
    "pictures": {"style": 0.0, "content": 0.0},
    "pictures, style": {"content": 0.0},
    "pictures, style, content": {},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--start", required=True, help="name or source of the model")
    parser.add_argument("--recipe", type=Path, default=ROOT / "recipes" / "cd-wct-cascade.toml")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--limit", type=int, default=12, help="most pairs")
    parser.add_argument("--out", type=Path, default=Path("runs/cascade-study"))
    arguments = parser.parse_args()
    recipe = read_recipe(arguments.recipe)
    assert isinstance(recipe, CascadeRecipe)
    chosen = pairs("selection")[: arguments.limit]
    evaluator = Evaluator()
    rows = []
    for name, changes in VARIANTS.items():
        decoders = replace(recipe.decoders, **({"steps": arguments.steps} | changes))
        out = arguments.out / name.replace(", ", "-").replace(" ", "-")
        path = run(replace(recipe, start=arguments.start, decoders=decoders), out, resume=True)
        rows.append({"learned from": name} | figures(path, chosen, evaluator))
        print(json.dumps(rows[-1]), flush=True)
    settings = {"steps": arguments.steps, "pairs": len(chosen)}
    write("cascade", {"machine": machine(), "settings": settings, "rows": rows})
    print(machine())
    print(table(list(rows[0]), [[v if isinstance(v, str) else f"{v:.3f}" for v in row.values()] for row in rows]))


def figures(path: Path, chosen: list[Pair], evaluator: Evaluator) -> dict[str, float]:
    """Return means over the pairs, and the decibels of each level."""
    stylizer = styleplugin.load(path, allow_unknown_model=True)
    found = []
    for pair in chosen:
        content, style = read(pair.content), read(pair.style)
        found.append(evaluator(content, style, stylizer(content, style).tensor))
    known = read_weights(path).metadata["card"]["metrics"]
    means = {name: float(np.mean([own[name] for own in found])) for name in found[0]}
    return means | {f"dB, {name}": own["psnr"] for name, own in sorted(known.items())}


if __name__ == "__main__":
    main()
