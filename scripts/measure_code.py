"""Count what makes code hard to read: sizes, what a new method touches, what one picture passes through.

python scripts/measure_code.py
"""

from __future__ import annotations

import ast
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

PACKAGES = ("styleplugin", "comfy_nodes", "gradio_app")
MOST = {"lines of a function": 60, "lines of a file": 450, "modules of a folder": 12}
METHOD, CLASSES = "kbstyle", r"\bKB[A-Z]"
"""The method whose name is looked for, and what its classes begin with."""
SHOWN = 8


def sources() -> list[Path]:
    """Return the modules of the packages."""
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the functions of a module with their lines, docstrings apart."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            text = ast.get_docstring(node, clean=False)
            documented = text.count("\n") + 1 if text else 0
            yield f"{path.relative_to(ROOT)}:{node.name}", (node.end_lineno or 0) - node.lineno + 1 - documented


def sizes() -> dict[str, Counter[str]]:
    """Return functions, files and folders with their sizes."""
    found: dict[str, Counter[str]] = {name: Counter() for name in MOST}
    for path in sources():
        found["lines of a function"].update(dict(functions(path)))
        found["lines of a file"][str(path.relative_to(ROOT))] = len(path.read_text().splitlines())
        if path.name != "__init__.py":
            found["modules of a folder"][str(path.parent.relative_to(ROOT))] += 1
    return found


def named(method: str, classes: str) -> dict[str, int]:
    """Return the files of the packages that name a method or its classes, and how often."""
    words = re.compile(f"{method}|{classes}")
    found = {str(path.relative_to(ROOT)): len(words.findall(path.read_text())) for path in sources()}
    return {path: count for path, count in found.items() if count}


def passed() -> tuple[set[str], set[str]]:
    """Return the files and functions of ours that one picture passes, a small one with everything loaded before."""
    import styleplugin

    samples = ROOT / "styleplugin" / "samples"
    stylizer = styleplugin.load("cd-adain.x16", device="cpu")
    style = stylizer.prepare(samples / "swirls.jpg")
    content = styleplugin.read_image(samples / "lake.jpg")
    options: dict[str, Any] = {"palette": "off"}
    stylizer(content, style, **options)
    files, calls = set[str](), set[str]()

    def note(frame: FrameType, event: str, _: Any) -> None:
        path = frame.f_code.co_filename
        if event == "call" and path.startswith(str(ROOT / "styleplugin")):
            name = str(Path(path).relative_to(ROOT))
            files.add(name)
            calls.add(f"{name}:{frame.f_code.co_qualname if sys.version_info >= (3, 11) else frame.f_code.co_name}")

    sys.setprofile(note)
    try:
        stylizer(content, style, **options)
    finally:
        sys.setprofile(None)
    return files, calls


def main() -> None:
    for name, counts in sizes().items():
        over = [f"{size:5}  {where}" for where, size in counts.most_common() if size > MOST[name]]
        print(f"{name}, more than {MOST[name]}: {len(over)}", *over[:SHOWN], sep="\n")
    method = named(METHOD, CLASSES)
    print(f"files that name {METHOD}: {len(method)}, outside of folders of its own:")
    print(*(f"{count:5}  {path}" for path, count in method.items() if METHOD not in path), sep="\n")
    files, calls = passed()
    print(f"one picture passes {len(files)} files and {len(calls)} functions")


if __name__ == "__main__":
    main()
