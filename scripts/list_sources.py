"""List every picture that the embedded models are trained on, with author and license: weights/sources.csv.

python scripts/list_sources.py DATA      # the folder of the tars and their index
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from scripts.draw_patterns import COUNT, KINDS, ORIGIN  # noqa: E402
from styleplugin.train.data.sources import read_files  # noqa: E402

COLUMNS = ("title", "author", "year", "license", "license_url", "source", "source_path", "sha256")
PATTERNS = {"title": f"{COUNT} patterns: {', '.join(KINDS)}", **ORIGIN}
"""All drawn patterns; their files differ between machines."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    data = parser.parse_args().data
    files = (
        file for file in read_files(data / "photos*", data / "paintings*") if file.is_open and not file.is_validation
    )
    with (ROOT / "weights" / "sources.csv").open("w", newline="") as target:
        writer = csv.DictWriter(target, COLUMNS, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(file.row for file in files)
        writer.writerow(PATTERNS)


if __name__ == "__main__":
    main()
