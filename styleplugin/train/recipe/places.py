"""Where a run reads, and that its folder destroys nothing: neither what it reads, nor what something else has left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from styleplugin.errors import OutputError
from styleplugin.paths import is_same_file, leads_to, source_paths

RECIPE = "recipe.json"
"""Tells a run's folder from any other."""
_WRITTEN = ("log.jsonl", "loss.png", "report.html", "sheets", "*.safetensors")

Pictures = str | Path | Sequence[str | Path]
"""A folder or tar of pictures, or several."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where pictures and teacher of runs lie, instead of where their recipes say."""

    photos: Pictures | None = None
    paintings: Pictures | None = None
    teachers: str | Path | None = None
    """Folder of the teacher's files."""
    teacher: str | None = None
    """See `TeacherOptions.source`."""

    def of(self, recipe: Any) -> Any:
        """Return the recipe of a run with these places, as far as they are given."""
        data = {name: place for name in ("photos", "paintings") if (place := getattr(self, name))}
        teacher = {"root": self.teachers and str(self.teachers), "source": self.teacher}
        return replace(
            recipe,
            data=replace(recipe.data, **data),
            teacher=replace(recipe.teacher, **{name: place for name, place in teacher.items() if place}),
        )


def check_places(recipe: Any, out: Path) -> None:
    """Raise OutputError if a run in a folder would destroy what it reads, or what no run has left there.

    Args:
        recipe: Of one run, with the places of its pictures and its teacher.
        out: Its folder, which exists.

    Raises:
        OutputError: SP607, the folder is one of pictures or of teachers, lies in one, or holds a file that is read;
            SP602, a file that the run would write is there, and no run.
    """
    for read in _read_by(recipe):
        if leads_to(out, read) or (read.is_file() and is_same_file(read.parent, out)):
            raise OutputError(
                "SP607",
                f"The run would write into {str(out)!r}, and reads {str(read)!r}.",
                "Choose a folder of its own for the run.",
            )
    check_new(out)


def check_new(out: Path) -> None:
    """Raise OutputError SP602 if a folder without a run holds a file that a run would write."""
    if (out / RECIPE).exists():
        return
    for name in _WRITTEN:
        for found in out.glob(name):
            raise OutputError(
                "SP602",
                f"{str(found)!r} is not of a run, and a run in this folder would replace it.",
                "Choose an empty folder for the run.",
            )


def _read_by(recipe: Any) -> Iterator[Path]:
    """Yield the files and folders that a recipe names."""
    for place in dict.fromkeys((*recipe.data.contents, *recipe.data.styles)):
        path = Path(place).expanduser()
        yield from path.parent.glob(path.name) if "*" in path.name else [path]
    if recipe.teacher.root:
        yield Path(recipe.teacher.root).expanduser()
    yield from map(Path, source_paths(recipe.teacher.source))
    phases = (getattr(part, "init", "") for part in vars(recipe).values())
    yield from (Path(init) for init in phases if init)
