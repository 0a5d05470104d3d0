"""List every picture that the embedded models are trained on, with author and license: weights/sources.csv.

python scripts/list_sources.py DATA      # the folder of the tars and their index
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from styleplugin.train.config import DataOptions
from styleplugin.train.sources import read_files

ROOT = Path(__file__).parents[1]
COLUMNS = ("title", "author", "year", "license", "license_url", "source", "source_path", "sha256")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data
    names = (Path(source).name for source in (DataOptions().photos, DataOptions().paintings))
    files = (file for name in names for file in read_files(data / name) if file.is_open and not file.is_validation)
    with (ROOT / "weights" / "sources.csv").open("w", newline="") as target:
        writer = csv.DictWriter(target, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(file.row for file in files)


if __name__ == "__main__":
    main()
