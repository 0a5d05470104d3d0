"""How good the pictures are, by figures of networks that trained nothing of ours: tables in markdown.

python benchmarks/quality.py --pairs selection|reporting [--kind artistic|photo] [--systems NAME ...] [--sheet FILE]

Systems are models, `cd-wct.x16`, `file:PATH`, with options behind a question mark
(`cd-wct.x16?levels=3,2,1&grain=0.5`), or rivals by their names in `rivals.py`. Pairs, networks, figures and curves are
those of `benchmarks/evaluation`. What a system painted, its figures and its curves are kept in
benchmarks/results/quality, so that a rerun is cheap.

Selection pairs may be looked at as often as one likes. Reporting pairs are for what is published, so that nothing is
selected on them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from common import machine, table
from evaluation import FIGURES, Evaluator, Pair, pairs, photo_pairs
from evaluation.curves import content_at_equal_style, style_at_equal_content
from evaluation.intervals import Interval, interval
from judged import Judged, judge
from rivals import RIVALS, UNCHANGED, System, open_system
from sheet import write_sheet

SYSTEMS = {
    "artistic": (
        "content",
        "cd-wct.x16",
        "cd-wct.x16?levels=5,4,3,2,1",
        "cd-wct.x16?grain=0",
        "cd-adain.x16",
        "kbstyle.200k",
        "cd-16x",
        "adain",
        "microast",
    ),
    "photo": (
        "content",
        "pca-photo.vgg",
        "pca-photo.mobilenet",
        "pcakd-vgg",
        "pcakd-mobilenet",
        "mkl",
        "reinhard",
        "histogram",
    ),
}
DIGITS = {"color_distance": 1, "patch_distance": 2, "weave": 2, "halo": 2}
"""Decimals; three of all other figures."""
COMPARED = ("e_style", "e_content", "ssim", "patch_distance", "weave", "flat_deviation", "halo")
Results = Mapping[int, Judged]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", choices=("selection", "reporting"), required=True)
    parser.add_argument("--kind", choices=tuple(SYSTEMS), default="artistic")
    parser.add_argument("--systems", nargs="+", help=f"models, files, or of {', '.join(RIVALS)}")
    parser.add_argument("--limit", type=int, help="most pairs")
    parser.add_argument("--no-curves", action="store_true", help="leave out the comparisons at equal style and content")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet of all pairs and systems to this file")
    parser.add_argument("--only", type=int, nargs="+", help="numbers of the pairs on the sheet")
    parser.add_argument("--one-to-one", action="store_true", help="the middle of each picture on the sheet, unscaled")
    options = parser.parse_args()
    chosen = (pairs if options.kind == "artistic" else photo_pairs)(options.pairs)[: options.limit]
    evaluator = Evaluator()
    systems, results = [], {}
    for spec in options.systems or SYSTEMS[options.kind]:
        system = open_system(spec)
        systems.append(system)
        results[system.name] = judge(system, chosen, options.kind, evaluator, curves=not options.no_curves)
        print(f"{system.name}: judged", flush=True)
    print(f"\n{options.kind}, {len(chosen)} {options.pairs} pairs at their own size; {machine()}\n")
    print(figure_table(results))
    print("\nFirst less second, pair by pair: mean [95% interval], bold where it excludes 0\n")
    print(comparison_table(systems, results))
    if options.sheet:
        draw(options.sheet, chosen, results, options.only, one_to_one=options.one_to_one)


def figure_table(results: Mapping[str, Results]) -> str:
    """Return a row for each system: means, plus or minus half of the 95% interval."""
    names = _figures(results)
    rows = [
        [name, *(_mean([pair.figures[f] for pair in own.values()], f) for f in names)] for name, own in results.items()
    ]
    full = max(map(len, results.values()))
    for row, own in zip(rows, results.values(), strict=True):
        row[0] += f" ({len(own)} pairs)" if len(own) < full else ""
    return table(["system", *names], rows)


def comparison_table(systems: Sequence[System], results: Mapping[str, Results]) -> str:
    """Return a row for each of ours and each other system: differences over the pairs that both have."""
    names = [name for name in COMPARED if name in _figures(results)]
    rows = []
    for first, second in combinations(systems, 2):
        if UNCHANGED in (first.name, second.name) or not (first.is_ours or second.is_ours):
            continue
        ours, other = results[first.name], results[second.name]
        common = sorted(ours.keys() & other.keys())
        couples = [(ours[i], other[i]) for i in common]
        cells = [_difference(couples, lambda a, b, f=f: a.figures[f] - b.figures[f], DIGITS.get(f, 3)) for f in names]
        curves = [(a.curve, b.curve) for a, b in couples if a.curve and b.curve]
        cells += [
            _text(interval([read(*couple) for couple in curves]), 3) if curves else ""
            for read in (style_at_equal_content, content_at_equal_style)
        ]
        rows.append([first.name, second.name, *cells])
    return table(["first", "second", *names, "e_style at equal content", "e_content at equal style"], rows)


def draw(
    path: Path, chosen: Sequence[Pair], results: Mapping[str, Results], only: Sequence[int] | None, *, one_to_one: bool
) -> None:
    """Write the sheet of the pairs that all systems have."""
    shown = [
        pair
        for pair in chosen
        if all(pair.index in own for own in results.values()) and (only is None or pair.index in only)
    ]
    painted = {name: own for name, own in results.items() if name != UNCHANGED}
    rows = [[pair.content, pair.style, *(own[pair.index].picture for own in painted.values())] for pair in shown]
    write_sheet(path, ["content", "style", *painted], rows, one_to_one=one_to_one)


def _figures(results: Mapping[str, Results]) -> list[str]:
    """Return the names of the figures that were measured."""
    measured = next(iter(next(iter(results.values())).values())).figures
    return [*FIGURES, *(name for name in measured if name not in FIGURES)]


def _mean(values: Sequence[float], figure: str) -> str:
    found, digits = interval(values), DIGITS.get(figure, 3)
    return "" if np.isnan(found.mean) else f"{found.mean:.{digits}f} ± {found.half_width:.{digits}f}"


def _difference(
    couples: Sequence[tuple[Judged, Judged]], difference: Callable[[Judged, Judged], float], digits: int = 3
) -> str:
    return _text(interval([difference(*couple) for couple in couples]), digits)


def _text(found: Interval, digits: int) -> str:
    text = f"{found.mean:+.{digits}f} [{found.low:+.{digits}f}, {found.high:+.{digits}f}]"
    return f"**{text}**" if found.excludes_zero else text


if __name__ == "__main__":
    main()
