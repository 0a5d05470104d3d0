"""Put small faults into the core, one at a time, and see whether the tests that cover the place notice.

    python scripts/mutate.py --count 300 --seed 0        # goes on where it was stopped; results in runs/mutants.csv
    python scripts/mutate.py --table                     # those results, survivors with their places

Each fault is tried in a copy of the tree and a process of its own.
"""

from __future__ import annotations

import argparse
import ast
import copy
import csv
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "runs" / "mutants.csv"
TIMEOUT_S = 600
COVERED_BY = {
    "styleplugin/transforms": ("tests/transforms", "tests/test_formulas.py"),
    "styleplugin/engine": ("tests/engine", "tests/test_formulas.py", "tests/test_stylizer.py"),
    "styleplugin/methods/run.py": ("tests/engine/test_stream.py", "tests/test_formulas.py", "tests/test_frames.py"),
    "styleplugin/stylizer.py": ("tests/test_stylizer.py", "tests/test_formulas.py", "tests/test_frames.py"),
    "styleplugin/finish.py": ("tests/test_formulas.py", "tests/test_stylizer.py", "tests/test_frames.py"),
    "styleplugin/losses.py": ("tests/test_losses.py", "tests/train/test_tasks.py", "tests/train/test_faults.py"),
    "styleplugin/train/loop.py": ("tests/train/test_loop.py", "tests/train/test_faults.py"),
    "styleplugin/train/state.py": ("tests/train/test_state.py", "tests/train/test_loop.py"),
}
"""Files that are mutated, and the tests that must notice."""
SWAPS: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
NAMES = {"min": "max", "max": "min", "amin": "amax", "amax": "amin", "sum": "max", "sorted": "list", "all": "any"}


@dataclass(frozen=True)
class Mutant:
    """A fault: a file, the number of its place in the order of the syntax tree, and what it does."""

    file: str
    place: int
    line: int
    what: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", action="store_true", help="print the results so far")
    arguments = parser.parse_args()
    if arguments.table:
        print(table())
        return
    known = {(row["file"], int(row["place"])) for row in rows()}
    for mutant in draw(arguments.count, arguments.seed):
        if (mutant.file, mutant.place) not in known:
            outcome = try_out(mutant)
            record(mutant, outcome)
            print(f"{outcome}: {mutant.file}:{mutant.line} {mutant.what}", flush=True)


def draw(count: int, seed: int) -> list[Mutant]:
    """Return the faults that a seed chooses among all."""
    files = sorted(path for root in COVERED_BY for path in ([ROOT / root] if root.endswith(".py") else python_in(root)))
    found = [mutant for path in files for mutant in mutants_of(path)]
    return random.Random(seed).sample(found, min(count, len(found)))


def python_in(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def mutants_of(path: Path) -> Iterator[Mutant]:
    """Yield all faults of a file."""
    name = path.relative_to(ROOT).as_posix()
    for place, (node, what, _) in enumerate(places(ast.parse(path.read_text()))):
        yield Mutant(name, place, getattr(node, "lineno", 0), what)


def places(tree: ast.AST) -> Iterator[tuple[ast.AST, str, Callable[[], None]]]:
    """Yield where a fault can be put, what it is, and the function that puts it there."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.BinOp, ast.AugAssign, ast.BoolOp)) and type(node.op) in SWAPS:
            new = SWAPS[type(node.op)]
            yield node, f"{type(node.op).__name__} -> {new.__name__}", lambda n=node, new=new: setattr(n, "op", new())
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
            new = SWAPS[type(node.ops[0])]
            what = f"{type(node.ops[0]).__name__} -> {new.__name__}"
            yield node, what, lambda n=node, new=new: n.ops.__setitem__(0, new())
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float, bool):
            value = node.value
            changed = not value if isinstance(value, bool) else value + 1
            yield node, f"{value} -> {changed}", lambda n=node, v=changed: setattr(n, "value", v)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            yield node, "-x -> +x", lambda n=node: setattr(n, "op", ast.UAdd())
        elif isinstance(node, (ast.Name, ast.Attribute)):
            field = "id" if isinstance(node, ast.Name) else "attr"
            new = NAMES.get(getattr(node, field))
            if new and isinstance(getattr(node, "ctx", None), ast.Load):
                what = f"{getattr(node, field)} -> {new}"
                yield node, what, lambda n=node, f=field, new=new: setattr(n, f, new)


def mutated(mutant: Mutant) -> str:
    """Return the source of a file with its fault."""
    tree = copy.deepcopy(ast.parse((ROOT / mutant.file).read_text()))
    _, _, put = list(places(tree))[mutant.place]
    put()
    return ast.unparse(ast.fix_missing_locations(tree))


def try_out(mutant: Mutant) -> str:
    """Return "killed", "survived" or "timeout"."""
    tests = next(tests for root, tests in COVERED_BY.items() if mutant.file.startswith(root))
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "styleplugin_mutant"
        ignored = shutil.ignore_patterns(".git", ".venv", "runs", "docs", "results", "__pycache__", ".*_cache")
        shutil.copytree(ROOT, tree, ignore=ignored, symlinks=True)
        (tree / mutant.file).write_text(mutated(mutant))
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", *tests]
        try:
            done = subprocess.run(command, cwd=tree, capture_output=True, timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return "timeout"
    return "survived" if done.returncode == 0 else "killed"


def rows() -> list[dict[str, str]]:
    """Return the results so far."""
    if not RESULTS.exists():
        return []
    with RESULTS.open(newline="") as file:
        return list(csv.DictReader(file))


def record(mutant: Mutant, outcome: str) -> None:
    """Append a result."""
    RESULTS.parent.mkdir(exist_ok=True)
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["file", "place", "line", "what", "outcome"])
        writer.writerow([mutant.file, mutant.place, mutant.line, mutant.what, outcome])


def table() -> str:
    """Return counts by outcome, and the survivors."""
    found = rows()
    survivors = [row for row in found if row["outcome"] == "survived"]
    killed = len(found) - len(survivors)
    lines = [f"{killed} of {len(found)} faults were noticed.", "", "| place | fault |", "| --- | --- |"]
    return "\n".join([*lines, *(f"| {row['file']}:{row['line']} | {row['what']} |" for row in survivors)])


if __name__ == "__main__":
    main()
