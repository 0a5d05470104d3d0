"""Where training pictures lie: tars with an index.csv, or folders; each file is read once and known by its sha256."""

from __future__ import annotations

import csv
import hashlib
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from styleplugin.errors import UsageError

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
VALIDATION_DIGIT = "0"
"""Files whose sha256 begins with it are never trained on."""


@dataclass(frozen=True, kw_only=True)
class PictureFile:
    """A picture as it lies on disk."""

    name: str
    sha256: str
    """Of the original file, as the index says; of these bytes where there is no index."""
    data: bytes

    @property
    def is_validation(self) -> bool:
        """Whether the picture belongs to the validation set."""
        return self.sha256.startswith(VALIDATION_DIGIT)


def read_files(root: str | Path, kind: str) -> Iterator[PictureFile]:
    """Read the picture files of one kind in a fixed order, every content once.

    Args:
        root: Folder with `{kind}*.tar` (and index.csv), or with folders `{kind}*`.
        kind: Beginning of the names of tars or folders.

    Raises:
        UsageError: SP130, there is no such folder, or neither tars nor folders of this kind in it.
    """
    root = Path(root)
    tars = sorted(root.glob(f"{kind}*.tar"))
    folders = sorted(path for path in root.glob(f"{kind}*") if path.is_dir()) if kind else [root]
    if not root.is_dir() or not (tars or folders):
        raise UsageError(
            "SP130",
            f"The data folder {str(root)!r} has no tars or folders named {kind}*.",
            "Give the folder of the training pictures.",
        )
    index = _read_index(root / "index.csv")
    seen: set[str] = set()
    for name, data in _all_bytes(tars, folders):
        sha256 = index.get(name) or hashlib.sha256(data).hexdigest()
        if sha256 not in seen:
            seen.add(sha256)
            yield PictureFile(name=name, sha256=sha256, data=data)


def _read_index(path: Path) -> dict[str, str]:
    """Return the sha256 by "tar/file"."""
    if not path.is_file():
        return {}
    with path.open(newline="") as file:
        return {f"{row['tar']}/{row['file']}": row["sha256"] for row in csv.DictReader(file)}


def _all_bytes(tars: list[Path], folders: list[Path]) -> Iterator[tuple[str, bytes]]:
    for tar in tars:
        with tarfile.open(tar) as archive:
            for member in archive:
                # Links are not followed: they may lead out of the archive.
                if member.isreg() and Path(member.name).suffix.lower() in SUFFIXES:
                    file = archive.extractfile(member)
                    assert file is not None
                    yield f"{tar.name}/{member.name}", file.read()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.suffix.lower() in SUFFIXES and path.is_file() and not path.is_symlink():
                yield path.relative_to(folder.parent).as_posix(), path.read_bytes()
