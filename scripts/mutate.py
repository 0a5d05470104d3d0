"""Put small faults into the core, one at a time, and see whether the tests that cover the place notice.

    python scripts/mutate.py --baseline      # whether those tests pass in a copy of the tree without any fault
    python scripts/mutate.py --count 20      # the next 20 of the faults that were drawn; goes on where it was stopped
    python scripts/mutate.py --table         # write the page anew, after reasons were added

The faults are drawn once, with a fixed seed, into docs/mutants.json, where their outcomes stand as well; the reason why
a survivor may live is added there by hand. Each fault is tried in a copy of the tree and a process of its own.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "docs" / "mutants.json", ROOT / "docs" / "mutants.md"
DRAWN, SEED = 300, 0
TIMEOUT_S = 1800
NO_TESTS = 5
"""Exit code of pytest."""
_QUICK_FIRST = ("not slow and not long", "slow")
COVERED_BY = {
    "styleplugin/transforms": ("tests/transforms", "tests/test_formulas.py"),
    "styleplugin/kernels": ("tests/kernels", "tests/transforms/test_blocks.py", "tests/test_formulas.py"),
    "styleplugin/engine": (
        "tests/kernels/test_kernels.py",
        "tests/engine",
        "tests/test_formulas.py",
        "tests/test_stylizer.py",
    ),
    "styleplugin/methods/run.py": ("tests/engine/test_stream.py", "tests/test_formulas.py", "tests/test_frames.py"),
    "styleplugin/stylizer.py": ("tests/test_stylizer.py", "tests/test_formulas.py", "tests/test_frames.py"),
    "styleplugin/finish.py": ("tests/test_formulas.py", "tests/test_stylizer.py", "tests/test_frames.py"),
    "styleplugin/transforms/losses.py": (
        "tests/transforms/test_losses.py",
        "tests/train/pairs/test_tasks.py",
        "tests/train/test_faults.py",
    ),
    "styleplugin/train/loop/fit.py": ("tests/train/loop/test_fit.py", "tests/train/test_faults.py"),
    "styleplugin/train/loop/state.py": ("tests/train/loop/test_state.py", "tests/train/loop/test_fit.py"),
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


@dataclass
class Mutant:
    """A fault, found again by what stands there: lines move."""

    file: str
    code: str
    """The expression, as it should be."""
    what: str
    """What the fault does."""
    number: int
    """Among the equal ones in the file."""
    outcome: str = ""
    """killed, survived, timeout, gone (with the code that it was in), or empty while it was not tried."""
    seconds: float = 0.0
    """Of the processors, for its tests."""
    reason: str = ""
    """Why a survivor may live; by hand."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=DRAWN)
    parser.add_argument("--baseline", action="store_true", help="only see whether the tests pass without a fault")
    parser.add_argument("--table", action="store_true", help="only write the page")
    arguments = parser.parse_args()
    mutants = [Mutant(**row) for row in json.loads(RESULTS.read_text())] if RESULTS.exists() else draw()
    if arguments.baseline:
        for root in COVERED_BY:
            print(f"{outcome_of(root, tests_of(root))[0]}: {root}", flush=True)
        return
    waiting = [] if arguments.table else [mutant for mutant in mutants if not mutant.outcome][: arguments.count]
    write(mutants)
    for mutant in waiting:
        source = mutated(mutant)
        mutant.outcome = "gone"
        if source:
            mutant.outcome, mutant.seconds = outcome_of(mutant.file, tests_of(mutant.file), source)
        write(mutants)
        print(f"{mutant.outcome}, {mutant.seconds} s: {mutant.file}: {mutant.code}: {mutant.what}", flush=True)


def draw() -> list[Mutant]:
    """Draw the faults among all, in a random order."""
    files = sorted(path for root in COVERED_BY for path in ([ROOT / root] if root.endswith(".py") else python_in(root)))
    return random.Random(SEED).sample([mutant for path in files for mutant in mutants_of(path)], DRAWN)


def python_in(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def mutants_of(path: Path) -> Iterator[Mutant]:
    """Yield all faults of a file."""
    seen: dict[tuple[str, str], int] = {}
    for node, what, _ in places(ast.parse(path.read_text())):
        key = ast.unparse(node), what
        seen[key] = seen.get(key, -1) + 1
        yield Mutant(path.relative_to(ROOT).as_posix(), *key, seen[key])


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
    """Return the source of a file with its fault; empty where the code is gone."""
    path = ROOT / mutant.file
    tree = ast.parse(path.read_text() if path.exists() else "")
    equal = [put for node, what, put in list(places(tree)) if (ast.unparse(node), what) == (mutant.code, mutant.what)]
    if len(equal) <= mutant.number:
        return ""
    equal[mutant.number]()
    return ast.unparse(ast.fix_missing_locations(tree))


def tests_of(file: str) -> list[str]:
    """Return the tests that cover a file, those of its own name first: most faults are noticed there."""
    own = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "tests").rglob(f"test_{Path(file).stem}.py"))]
    return [*own, *next(tests for root, tests in COVERED_BY.items() if file.startswith(root))]


def outcome_of(file: str, tests: list[str], source: str = "") -> tuple[str, float]:
    """Run tests in a copy of the tree, where a file may have another source; return the outcome, and their seconds."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "styleplugin_mutant"
        ignored = shutil.ignore_patterns(".git", ".venv", "runs", "docs", "results", "__pycache__", ".*_cache")
        shutil.copytree(ROOT, tree, ignore=ignored, symlinks=True)
        if source:
            (tree / file).write_text(source)
        before = os.times()
        outcome = next((found for quick in _QUICK_FIRST if (found := _run(tests, quick, tree))), "survived")
        after = os.times()
    return outcome, round(sum(after[2:4]) - sum(before[2:4]), 1)


def _run(tests: list[str], marks: str, tree: Path) -> str:
    """Run tests with these marks; return "killed", "timeout", or nothing if all of them pass."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-m", marks]
    try:
        done = subprocess.run(
            [*command, "-p", "no:randomly", "-p", "no:cacheprovider", *tests],
            cwd=tree,
            capture_output=True,
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return "timeout"
    if -done.returncode in (signal.SIGTERM, signal.SIGKILL):
        sys.exit("The tests were stopped from outside, which is no verdict.")
    return "" if done.returncode in (0, NO_TESTS) else "killed"


def write(mutants: list[Mutant]) -> None:
    """Write the results, and the page about them."""
    RESULTS.write_text(json.dumps([asdict(mutant) for mutant in mutants], indent=1) + "\n")
    tried = [mutant for mutant in mutants if mutant.outcome not in ("", "gone")]
    survivors = [mutant for mutant in tried if mutant.outcome == "survived"]
    lines = [
        "# Faults that the tests notice",
        "",
        f"`scripts/mutate.py` draws {DRAWN} small faults in the core and tries them one by one.",
        f"{len(tried)} were tried so far, and {len(tried) - len(survivors)} of them noticed. The survivors:",
        "",
        "| file | code | fault | why it may live |",
        "| --- | --- | --- | --- |",
        *(f"| {m.file} | `{m.code.replace('|', chr(92) + '|')}` | {m.what} | {m.reason} |" for m in survivors),
    ]
    PAGE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
