"""The recipe of a pair, and a new one from a few choices."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from typing_extensions import Doc, Self

from styleplugin.errors import UsageError
from styleplugin.networks.vgg import TEACHER_WIDTHS, VGGSpec, convs_of_level, student_spec
from styleplugin.train.recipe.choices import Choices
from styleplugin.train.recipe.options import PhaseOptions, RunRecipe

PHASES = ("teacher_decoder", "student_encoder", "student_decoder", "student_pair")
RULES = ("spp", "increg", "greg")
RECONSTRUCTION = "reconstruction"
IMPORTANCE = ("l1", "activation", RECONSTRUCTION, "random", *RULES)
_X16 = 0.25
_LR = (0.06, 0.015, 0.012, 0.012, 0.005)
"""Learning rate of the pairs of the levels 1 to 5; found with batches of 8 crops of 128 px."""


@dataclass(frozen=True, kw_only=True)
class Recipe(RunRecipe):
    """Trains one pair."""

    method: Annotated[str, Doc("wct or adain.")] = "wct"
    level: Annotated[int, Doc("1 to 5; AdaIN's is 4.")]
    widths: Annotated[
        tuple[int, ...], Doc("Channels of the student after each convolution; empty for the 16 times smaller student.")
    ] = ()
    teacher_widths: Annotated[
        tuple[int, ...],
        Doc(
            "Channels of the teacher's decoder, in encoder order; empty mirrors the teacher, less is for "
            "small machines."
        ),
    ] = ()
    importance: Annotated[
        str,
        Doc(
            "Which filters of the teacher the student starts from: l1 (largest norm), activation (mean "
            "activation times the norm of the outgoing filters), reconstruction (those from which the others "
            "follow, and filters solved for by least squares), those that spp, increg or greg leave in the "
            "phase `pruning`, or random (none)."
        ),
    ] = "l1"
    grow_from: Annotated[
        str,
        Doc(
            "Recipe of a shallower pair, or of the same level, whose layers this one begins with: a path "
            "relative to this recipe, or the name of an earlier pair in the same bundle. It is trained first, "
            "into a folder beside this run's, if that has no result yet."
        ),
    ] = ""
    teacher_decoder: Annotated[PhaseOptions, Doc("The full-width decoder, trained on the loss network's features.")]
    pruning: Annotated[
        PhaseOptions,
        Doc("The teacher's encoder and that decoder while spp, increg or greg take filters out; only with these."),
    ] = field(default_factory=lambda: PhaseOptions(steps=0))
    student_encoder: Annotated[PhaseOptions, Doc("The small encoder, trained through that frozen decoder.")]
    student_decoder: Annotated[PhaseOptions, Doc("The small decoder, trained for the small encoder.")]
    student_pair: Annotated[
        PhaseOptions, Doc("Both together, with the embedding loss that keeps the encoder's features the teacher's.")
    ] = field(default_factory=lambda: PhaseOptions(steps=0))

    def __post_init__(self) -> None:
        if self.method not in ("wct", "adain") or self.level not in range(1, 6):
            raise UsageError(
                "SP121", f"The recipe has method {self.method!r} at level {self.level!r}; wct or adain at 1 to 5."
            )
        if self.importance not in IMPORTANCE:
            words = ", ".join(IMPORTANCE)
            raise UsageError("SP122", f"The recipe has importance {self.importance!r}; {words} are possible.")
        if (self.importance in RULES) != (self.pruning.steps > 0):
            raise UsageError(
                "SP122",
                f"The recipe has importance {self.importance!r} and {self.pruning.steps} steps of pruning.",
                f"Give the phase pruning steps with {', '.join(RULES)}, and none without.",
            )
        assert self.student.level == self.level  # making it checks the widths
        super().__post_init__()

    def usual_limits(self) -> dict[str, float]:
        """Return limits that a student passes after a short training: pictures can be told."""
        return {"psnr": 14.0 if self.method == "adain" else (30.0, 22.0, 19.0, 16.0, 14.0)[self.level - 1], "dead": 0.1}

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases in their order."""
        pruning = ("pruning",) if self.importance in RULES else ()
        return (PHASES[0], *pruning, *PHASES[1:])

    @property
    def has_teacher_decoder(self) -> bool:
        """Whether the full-width decoder is trained, or another run's, and not the random one it begins as."""
        return self.teacher_decoder.steps > 0 or bool(self.teacher_decoder.init)

    @property
    def student(self) -> VGGSpec:
        """Spec of the small encoder and decoder; AdaIN's picture does not pass a last ReLU."""
        final_relu = self.method == "wct"
        if self.widths:
            return VGGSpec(level=self.level, widths=self.widths, final_relu=final_relu)
        return student_spec(self.level, final_relu=final_relu)

    def relative_to(self, folder: Path) -> Self:
        """Return the recipe with the path of the one it grows from."""
        return replace(self, grow_from=str(folder / self.grow_from)) if self.grow_from else self

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return super().to_dict() | {
            "widths": list(self.widths),
            "teacher_widths": list(self.teacher_widths),
            "grow_from": Path(self.grow_from).name,
        }


def preset(method: str, level: int, choices: Choices, settings: dict[str, Any]) -> Recipe:
    """Return the recipe of a new pair; on a CPU a full VGG-19 gets a decoder that is narrower in the middle.

    Args:
        method: wct or adain.
        level: 1 to 5.
        choices: What was chosen.
        settings: The fields that all runs share.
    """
    adain = method == "adain"
    lr = 0.006 if adain else _LR[level - 1]
    phase = PhaseOptions(steps=300, batch=choices.batch, lr=0.008 if adain else lr, warmup=50)
    return Recipe(
        method=method,
        level=level,
        widths=student_widths(level, choices),
        teacher_widths=() if choices.gpu else _narrow(level, choices.teacher),
        importance=choices.importance,
        teacher_decoder=phase,
        pruning=replace(phase, lr=0.002, steps=400) if choices.importance in RULES else PhaseOptions(steps=0),
        student_encoder=phase,
        student_decoder=replace(phase, steps=150, perceptual=0.01),
        student_pair=replace(phase, steps=1400, lr=lr, pixel=100.0, perceptual=0.3 if adain else 0.1, embedding=1.0),
        **settings,
    )


def student_widths(level: int, choices: Choices) -> tuple[int, ...]:
    """Return the student's channels after each convolution; empty for the 16 times smaller student."""
    full = TEACHER_WIDTHS[: len(convs_of_level(level))]
    return () if choices.width in (None, _X16) else choices.scaled(full, _X16)


def _narrow(level: int, teacher: str) -> tuple[int, ...]:
    """Return a decoder's widths that a CPU can train in minutes: a full VGG-19's from level 4 on are too many."""
    if level < 4 or (teacher and not teacher.startswith("file:")):
        return ()
    return tuple(min(width, 128) for width in TEACHER_WIDTHS[: len(convs_of_level(level))])
