"""Try the bounds of pyproject.toml: install the lowest or the newest versions that it allows, run tests and models.

python scripts/try_bounds.py lowest
python scripts/try_bounds.py newest

The environment is made by the Python that runs this and lies in a new folder of the temporary one. The lowest versions
come in two steps, as gradio needs newer ones of other packages than we do. Not tried: the bound of torch, which is
always installed as `--torch` says.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = ("hub", "cli", "train", "app")
TOOLS = ("pytest>=9", "pytest-timeout", "pytest-randomly", "hypothesis", "packaging")
QUICK = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow and not long", "--timeout", "250"]
NAMES = "import styleplugin; print(*(entry.name for entry in styleplugin.list_models()))"
SAMPLES = ROOT / "styleplugin" / "samples"


def requirements(groups: tuple[str, ...]) -> Iterator[Requirement]:
    """Yield what the package needs here, with these extras; torch is left out."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    lines = [*project["dependencies"], *(line for name in groups for line in project["optional-dependencies"][name])]
    for requirement in map(Requirement, lines):
        if requirement.name != "torch" and (requirement.marker is None or requirement.marker.evaluate()):
            yield requirement


def lowest(requirement: Requirement) -> str:
    """Return the requirement with its lower bound as the only version."""
    bounds = [bound.version for bound in requirement.specifier if bound.operator == ">="]
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}" + (f"=={bounds[0]}" if bounds else "")


class Environment:
    """A fresh environment whose programs see this clone and nothing else of ours."""

    def __init__(self, folder: str, pip_options: list[str]) -> None:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        self._python = Path(folder, "Scripts" if os.name == "nt" else "bin", "python")
        self._pip_options = pip_options

    def run(self, *arguments: str | Path, **options: object) -> subprocess.CompletedProcess:
        """Run Python in the clone."""
        return subprocess.run([self._python, *arguments], cwd=ROOT, **options)  # type: ignore[call-overload]

    def install(self, *packages: str) -> None:
        self.run("-m", "pip", "install", "--prefer-binary", *self._pip_options, *packages, check=True)

    def try_all(self, name: str, *tests: str) -> list[str]:
        """Run tests, then every model once; return what failed."""
        failed = [] if self.run(*QUICK, *tests).returncode == 0 else [f"{name}: tests"]
        if self.run("-m", "styleplugin", "models", "list").returncode:
            failed.append(f"{name}: models list")
        listed = self.run("-c", NAMES, capture_output=True, text=True, check=True)
        with tempfile.TemporaryDirectory() as folder:
            for model in listed.stdout.split():
                pictures = (SAMPLES / "lake.jpg", SAMPLES / "swirls.jpg", "-o", Path(folder, f"{model}.png"))
                done = self.run("-m", "styleplugin", "stylize", *pictures, "--model", model)
                failed += [f"{name}: {model}"] if done.returncode else []
        return failed


def try_lowest(environment: Environment) -> list[str]:
    environment.install(*TOOLS, *map(lowest, requirements(tuple(name for name in EXTRAS if name != "app"))))
    failed = environment.try_all("lowest without page", "--ignore=tests/gradio_app")
    environment.install(*map(lowest, requirements(("app",))))
    return failed + environment.try_all("lowest with page", "tests/gradio_app")


def try_newest(environment: Environment) -> list[str]:
    environment.install(*TOOLS, *map(str, requirements(EXTRAS)))
    return environment.try_all("newest")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("which", choices=["lowest", "newest"])
    parser.add_argument("--torch", default="torch==2.13.0", help="requirement of torch, or the path of a wheel")
    parser.add_argument("--pip-option", action="append", default=[], help="passed on to pip; may be repeated")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="try-bounds-") as folder:
        environment = Environment(folder, options.pip_option)
        environment.install(options.torch)
        failed = (try_lowest if options.which == "lowest" else try_newest)(environment)
        environment.run("-m", "pip", "list")
    print("\n".join(["FAILED:", *failed]) if failed else "All passed.")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
