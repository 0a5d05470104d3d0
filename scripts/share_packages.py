"""Let an environment see the packages of the Python that runs this, a torch of gigabytes among them.

Run: python scripts/share_packages.py ENVIRONMENT/bin/python

Unlike `venv --system-site-packages` it works from an environment, too. What is installed in the environment itself goes
first.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

PLACE = "import sysconfig; print(sysconfig.get_path('purelib'))"


def main(python: str) -> None:
    place = subprocess.run([python, "-c", PLACE], check=True, capture_output=True, text=True).stdout.strip()
    Path(place, "shared.pth").write_text(f"{Path(torch.__file__).parents[1]}\n")


if __name__ == "__main__":
    main(sys.argv[1])
