"""Re-encode the training pictures small enough to travel: scripts/pack_training_data.py SRC OUT.

Writes photos-000.tar and paintings-000.tar of WebP files, those with an open license alone, and an index.csv with
license and sha256 of each ORIGINAL file, so that the validation set stays the same. The quality is lowered step by step
until everything fits.
"""

from __future__ import annotations

import argparse
import csv
import io
import tarfile
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import chain
from pathlib import Path

from PIL import Image

from styleplugin.train.data.decode import decode
from styleplugin.train.data.sources import PictureFile, read_files

KINDS = ("photos", "paintings")
QUALITY_STEP = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--short-side", type=int, default=288, help="of the photos")
    parser.add_argument("--paintings-short-side", type=int, default=256)
    parser.add_argument("--quality", type=int, default=82)
    parser.add_argument("--max-mb", type=float, default=20)
    arguments = parser.parse_args()

    arguments.out.mkdir(parents=True, exist_ok=True)
    sides = {"photos": arguments.short_side, "paintings": arguments.paintings_short_side}
    files = {kind: [f for f in read_files(arguments.source / f"{kind}*") if f.is_open] for kind in KINDS}
    quality = predict_quality(files, sides, arguments.quality, arguments.max_mb)
    with ProcessPoolExecutor() as pool:
        while True:
            packed = {
                kind: list(pool.map(partial(encode, side=sides[kind], quality=quality), files[kind], chunksize=16))
                for kind in KINDS
            }
            size_mb = tar_mb(chain.from_iterable(packed.values()))
            print(f"quality {quality}: {size_mb:.1f} MB", flush=True)
            if size_mb <= arguments.max_mb:
                break
            quality -= 2
    rows = [row for kind in KINDS for row in write_tar(arguments.out / f"{kind}-000.tar", files[kind], packed[kind])]
    with (arguments.out / "index.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def predict_quality(files: dict[str, list[PictureFile]], sides: dict[str, int], quality: int, max_mb: float) -> int:
    """Find the quality at which every 20th picture takes its share of the space."""
    while quality > QUALITY_STEP:
        sample = [encode(f, side=sides[kind], quality=quality) for kind in KINDS for f in files[kind][::20]]
        if 20 * tar_mb(sample) <= max_mb:
            break
        quality -= QUALITY_STEP
    return quality


def encode(file: PictureFile, *, side: int, quality: int) -> bytes:
    image = Image.fromarray(decode(file.data, file.name, short_side=side, smallest=1))
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=quality, method=4)
    return buffer.getvalue()


def tar_mb(packed: Iterable[bytes]) -> float:
    """A tar has 512 bytes of header per file and fills it up to a multiple of 512."""
    return sum(512 + (len(data) + 511) // 512 * 512 for data in packed) / 2**20


def write_tar(path: Path, files: list[PictureFile], packed: list[bytes]) -> list[dict[str, str]]:
    rows = []
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for number, (file, data) in enumerate(zip(files, packed, strict=True)):
            member = tarfile.TarInfo(f"{number:05}.webp")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
            rows.append({**file.row, "tar": path.name, "file": member.name})
    return rows


if __name__ == "__main__":
    main()
