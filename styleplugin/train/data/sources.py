"""Where training pictures lie: folders, or tars with an index.csv; each file is read once and known by its sha256."""

from __future__ import annotations

import csv
import hashlib
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from styleplugin.errors import InputImageError, UsageError
from styleplugin.files import has_suffix
from styleplugin.images.formats.known import is_picture_name
from styleplugin.images.opening import read_bytes
from styleplugin.options import DEFAULT_MAX_MEGAPIXELS
from styleplugin.train.data.folders import files_below

TAR_SUFFIX = ".tar"
CLOSED = "NO OPEN LICENSE"
"""How the index begins where a picture has none."""
COPYLEFT = ("BY-SA", "GPL")
"""Licenses that a result might have to be under as well."""
PAINTING, PATTERN = "painting", "pattern"
"""Kinds of styles in an index; all others are contents."""
VALIDATION_DIGIT = "0"
"""Files whose sha256 begins with it are never trained on."""


@dataclass(frozen=True, kw_only=True)
class PictureFile:
    """A picture as it lies on disk."""

    name: str
    sha256: str
    """Of the original file, as the index says; of these bytes where there is no index."""
    data: bytes
    row: Mapping[str, str] = field(default_factory=dict)
    """What the index beside its tar says of it; empty where there is none."""

    @property
    def is_open(self) -> bool:
        """Whether the index names a license that lets anyone train on it and use the result commercially."""
        license = self.row.get("license", "")
        return bool(license) and not license.startswith(CLOSED) and not any(word in license for word in COPYLEFT)

    @property
    def is_content(self) -> bool:
        """Whether it is a content: no artwork and no pattern, or one that the index marks as naturalistic."""
        return self.row.get("kind") not in (PAINTING, PATTERN) or self.row.get("also_content") == "1"

    @property
    def is_pattern(self) -> bool:
        """Whether the index says that a script has drawn it."""
        return self.row.get("kind") == PATTERN

    @property
    def is_validation(self) -> bool:
        """Whether the picture belongs to the validation set."""
        return self.sha256.startswith(VALIDATION_DIGIT)


def read_files(*sources: str | Path, broken: list[str] | None = None) -> Iterator[PictureFile]:
    """Read picture files in a fixed order, every content once.

    Args:
        sources: Folders with pictures or tars at any depth, or tars, one after the other; `*` in a name stands for any
            characters, and all that fit are read. An index.csv beside a tar says the hashes of its original files. In
            folders, links are followed as `files_below` says; in tars they are not.
        broken: Receives what is wrong with files that the system does not let be read, or that are empty or huge.

    Raises:
        InputImageError: SP201, SP202 or SP205, there is such a file, and no list for it.
        UsageError: SP130, there is no such folder or tar; SP133, a tar is damaged.
    """
    found = [_find(Path(source).expanduser()) for source in sources]
    seen: set[str] = set()
    for tars, folders in found:
        for file in chain(_from_tars(tars), _from_folders(folders, broken)):
            if file.sha256 not in seen:
                seen.add(file.sha256)
                yield file


def count_pictures(source: str | Path) -> int:
    """Return how many picture files a source has, without opening them; see `read_files`."""
    tars, folders = _find(Path(source).expanduser())
    count = sum(is_picture_name(path) for folder in folders for path in files_below(folder))
    for tar in tars:
        with tarfile.open(tar) as archive:
            count += sum(member.isreg() and is_picture_name(member.name) for member in archive)
    return count


def holds_pictures(folder: Path) -> bool:
    """Whether there is a picture or a tar in a folder, at any depth."""
    return any(is_picture_name(path) or has_suffix(path, TAR_SUFFIX) for path in files_below(folder))


def _find(source: Path) -> tuple[list[Path], list[Path]]:
    """Return the tars and the folders that a source names."""
    found = sorted(source.parent.glob(source.name)) if "*" in source.name else [source]
    folders = [path for path in found if path.is_dir()]
    tars = [path for path in found if has_suffix(path, TAR_SUFFIX) and path.is_file()]
    if not tars and not folders:
        raise UsageError(
            "SP130",
            f"{str(source)!r} is neither a folder nor a .tar file; training needs pictures.",
            "Give the folder of the training pictures.",
        )
    inside = (path for folder in folders for path in files_below(folder) if has_suffix(path, TAR_SUFFIX))
    return [*tars, *inside], folders


def _from_tars(tars: list[Path]) -> Iterator[PictureFile]:
    """Read the pictures in tars."""
    for tar in tars:
        index = _read_index(tar.parent / "index.csv")
        try:
            with tarfile.open(tar) as archive:
                for member in archive:
                    # Links are not followed: they may lead out of the archive.
                    if member.isreg() and is_picture_name(member.name):
                        file = archive.extractfile(member)
                        assert file is not None
                        name, data = f"{tar.name}/{member.name}", file.read()
                        row = index.get(name, {})
                        yield PictureFile(name=name, sha256=row.get("sha256") or _sha256(data), data=data, row=row)
        except (tarfile.TarError, OSError) as error:
            raise UsageError("SP133", f"{tar.name} cannot be read: {error}.", "Get the file again.") from error


def _from_folders(folders: list[Path], broken: list[str] | None) -> Iterator[PictureFile]:
    """Read the pictures in folders."""
    for folder in folders:
        for path in filter(is_picture_name, files_below(folder)):
            name = path.relative_to(folder.parent).as_posix()
            try:
                data = read_bytes(path, DEFAULT_MAX_MEGAPIXELS)
            except InputImageError as error:
                if broken is None:
                    raise
                broken.append(f"{name} ({error.message})")
                continue
            yield PictureFile(name=name, sha256=_sha256(data), data=data)


def _read_index(path: Path) -> dict[str, dict[str, str]]:
    """Return the rows by "tar/file"."""
    if not path.is_file():
        return {}
    with path.open(newline="") as file:
        return {f"{row['tar']}/{row['file']}": row for row in csv.DictReader(file)}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
