"""What each quarter of strength brings: the share of the whole change of e_style, on selection pairs.

python benchmarks/strength.py [--models NAME ...] [--pairs COUNT]
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from common import machine, table
from evaluation import Evaluator, pairs, photo_pairs, read

import styleplugin
from styleplugin.loading import index

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=[entry.name for entry in index.list_models()])
    parser.add_argument("--pairs", type=int, default=4, help="how many")
    options = parser.parse_args()
    torch.set_num_threads(1)
    evaluator = Evaluator()
    rows = []
    for name in options.models:
        stylizer = styleplugin.load(name, device="cpu")
        chosen = (photo_pairs if stylizer.info.method == "photorealistic" else pairs)("selection")[: options.pairs]
        values = []
        for pair in chosen:
            content, style = read(pair.content), read(pair.style)
            code = stylizer.prepare(style)
            pictures = (stylizer(content, code, strength=strength).tensor for strength in STRENGTHS)
            values.append([evaluator(content, style, picture)["e_style"] for picture in pictures])
        means = np.array(values).mean(0)
        shares = -np.diff(means) / (means[0] - means[-1])
        rows.append([name, *(f"{value:.3f}" for value in means), *(f"{share:.0%}" for share in shares)])
    print(f"{options.pairs} selection pairs at their own size; {machine()}\n")
    quarters = ("first quarter", "second", "third", "fourth")
    print(table(["model", *(f"e_style at {strength:g}" for strength in STRENGTHS), *quarters], rows))


if __name__ == "__main__":
    main()
