"""What a new recipe is made of: a few choices, and what all presets make of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from typing_extensions import Doc

from styleplugin.errors import UsageError
from styleplugin.loading.index import NAME
from styleplugin.train.recipe.options import DataOptions, Sources, TeacherOptions
from styleplugin.values import integers

_LEAST_WIDTH = 4
_CPU = {"crop": 128, "batch": 8}
_GPU = {"crop": 256, "batch": 16}


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What is chosen for a new recipe; each preset takes what it has a use for.

    Raises:
        UsageError: SP120 to SP126, an impossible choice.
    """

    name: Annotated[str | None, Doc("Of the result, lower case; by default the method's.")] = None
    width: Annotated[
        float | None,
        Doc(
            "Channels of the student: for wct, adain and encoder relative to VGG-19, 0.25 by default, which gives the "
            "16 times smaller students of Collaborative Distillation; for photorealistic and kbstyle relative to the "
            "papers' students, 1 by default."
        ),
    ] = None
    levels: Annotated[
        Sequence[int],
        Doc("WCT: 1 to 5, all by default; AdaIN: 4 by default, and 3 is quicker; encoder: the deepest, 5 by default."),
    ] = ()
    backbone: Annotated[str, Doc("Photorealistic: vgg or mobilenet.")] = "vgg"
    teacher: Annotated[str, Doc("See `TeacherOptions.source`.")] = ""
    photos: Annotated[Sources, Doc("Folder or tar of photographs, or several.")] = "photos"
    paintings: Annotated[Sources, Doc("Folder or tar of artworks, or several; for wct photographs do as well.")] = (
        "paintings"
    )
    minutes: Annotated[float, Doc("Time budget.")] = 30.0
    importance: Annotated[str, Doc("What students start from, see `Recipe.importance`; wct, adain and encoder.")] = (
        "activation"
    )
    gpu: Annotated[bool, Doc("Larger crops and batches.")] = False
    crop: Annotated[int, Doc("Side of the training crops in pixels, a multiple of 16; 0 takes the usual one.")] = 0
    batch: Annotated[int, Doc("Crops of a step; 0 takes the usual number.")] = 0
    seed: Annotated[int, Doc("Of all random numbers.")] = 0
    license: Annotated[str, Doc("Of the result.")] = "unknown"

    def __post_init__(self) -> None:
        if self.name is not None and not NAME.fullmatch(self.name):
            raise UsageError(
                "SP126", f"{self.name!r} cannot name a model.", "Use lower-case letters, digits, '.', '_', '-'."
            )
        for name in ("width", "minutes"):
            if (value := getattr(self, name)) is not None and value <= 0:
                raise UsageError("SP120", f"{name} was {value:g}; it must be positive.")
        levels = integers("levels", self.levels)
        if set(levels) - {1, 2, 3, 4, 5}:
            raise UsageError("SP121", f"The levels were {list(levels)}; they are 1 to 5.")
        usual = _GPU if self.gpu else _CPU
        chosen = {"levels": levels, "crop": self.crop or usual["crop"], "batch": self.batch or usual["batch"]}
        for name, value in chosen.items():
            # The class is frozen for everybody else.
            object.__setattr__(self, name, value)

    def settings(self, usual_name: str) -> dict[str, Any]:
        """Return the fields that the recipes of all runs share."""
        return {
            "name": self.name or usual_name,
            "data": DataOptions(
                name="pictures of the user",
                photos=self.photos,
                paintings=self.paintings,
                crop=self.crop,
                short_side=max(300, self.crop + 44),
            ),
            "teacher": TeacherOptions(source=self.teacher),
            "log_every": 20,
            "validate_every": 100,
            "checkpoint_every": 100,
            "minutes": float(self.minutes),
            "seed": self.seed,
            "license": self.license,
        }

    def scaled(self, widths: Sequence[int], usual: float) -> tuple[int, ...]:
        """Return channels times the chosen width, or times the usual one; at least 4."""
        factor = usual if self.width is None else self.width
        return tuple(max(_LEAST_WIDTH, round(channels * factor)) for channels in widths)
