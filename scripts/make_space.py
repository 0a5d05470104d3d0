"""Assemble the folder of a Hugging Face Space: the page, the package and the weights.

Run: python scripts/make_space.py FOLDER
Then, in Python: HfApi().upload_folder(repo_id="OWNER/NAME", repo_type="space", folder_path="FOLDER")
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_FOLDERS = ("gradio_app", "styleplugin", "weights")
_AT_THE_TOP = {
    "gradio_app/README.md": "README.md",
    "gradio_app/requirements.txt": "requirements.txt",
    "gradio_app/__main__.py": "app.py",
    "LICENSE": "LICENSE",
}
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", "README.md", "requirements.txt", "__main__.py")


def assemble(folder: Path) -> list[Path]:
    """Copy what a Space needs into a new folder; returns the files, relative to it.

    Raises:
        FileExistsError: The folder is there already and not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty; name a new folder.")
    for name in _FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=_LEFT_OUT)
    for source, target in _AT_THE_TOP.items():
        shutil.copy(ROOT / source, folder / target)
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    try:
        files = assemble(folder)
    except FileExistsError as error:
        sys.exit(str(error))
    size = sum((folder / file).stat().st_size for file in files)
    print(f"{folder}: {len(files)} files, {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
