"""Run the tests that take minutes and write what they did into docs/slow.md: `make slow`."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "slow.md"
NO_TESTS = 5
"""Exit code of pytest."""


def main() -> int:
    """Run pytest and write the table; return its exit code."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "long", "--timeout=3600", f"--junitxml={report}"]
        code = subprocess.run([*command, *sys.argv[1:]], cwd=ROOT).returncode
        if code == NO_TESTS:
            return 0
        rows = [row_of(case) for case in ElementTree.parse(report).iter("testcase")]
    PAGE.write_text("\n".join([*heading(), *sorted(rows), ""]))
    return code


def heading() -> list[str]:
    """Return the lines above the rows."""
    machine = f"{platform.machine()} with {os.cpu_count()} cores, Python {platform.python_version()}"
    return [
        "# Tests that take minutes",
        "",
        "Written by `make slow`; they are no part of `make test`.",
        "",
        f"{datetime.date.today().isoformat()}, {machine}, torch {torch.__version__}.",
        "",
        "| test | result | seconds |",
        "| --- | --- | --- |",
    ]


def row_of(case: ElementTree.Element) -> str:
    """Return the line of a test."""
    outcome = next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed")
    return f"| {case.get('classname')}::{case.get('name')} | {outcome} | {float(case.get('time', 0)):.0f} |"


if __name__ == "__main__":
    sys.exit(main())
