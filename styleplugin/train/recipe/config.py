"""Recipes: every setting of a training run as frozen dataclasses, one for each kind of student; `toml` reads and writes
their files."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from typing_extensions import Doc

from styleplugin.errors import UsageError
from styleplugin.methods.kbstyle.model import KBSpec
from styleplugin.methods.photorealistic.model import PhotoSpec
from styleplugin.networks.vgg import VGGSpec, student_spec
from styleplugin.train.recipe.options import DataOptions, PhaseOptions, RunRecipe, TeacherOptions

PHASES = ("teacher_decoder", "student_encoder", "student_decoder", "student_pair")
RULES = ("spp", "increg", "greg")
RECONSTRUCTION = "reconstruction"
IMPORTANCE = ("l1", "activation", RECONSTRUCTION, "random", *RULES)
KB_PHASES = ("big", "small", "polish")
PHOTO_PHASES = ("block1", "block2", "block3", "block4", "joint")


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

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return super().to_dict() | {
            "widths": list(self.widths),
            "teacher_widths": list(self.teacher_widths),
            "grow_from": Path(self.grow_from).name,
        }


@dataclass(frozen=True, kw_only=True)
class PhotoRecipe(RunRecipe):
    """Trains one photorealistic student."""

    backbone: Annotated[str, Doc("vgg or mobilenet, student and teacher alike.")]
    widths: Annotated[tuple[int, ...], Doc("Channels at the four transform points; empty for those of the paper.")] = ()
    energy: Annotated[
        tuple[float, ...],
        Doc(
            "Total variance of the student's features at the four transform points, mean over pictures. The "
            "transform adds 1 to every variance, so that it changes little where the energy is small."
        ),
    ] = (80.0, 100.0, 100.0, 5.0)
    basis_pictures: Annotated[
        int, Doc("Pictures whose features the global eigenbases are taken from, all of the same weight.")
    ] = 512
    block1: Annotated[PhaseOptions, Doc("The first block of encoder and decoder.")]
    block2: Annotated[PhaseOptions, Doc("The second; what was trained before is frozen, here and below.")]
    block3: Annotated[PhaseOptions, Doc("The third.")]
    block4: Annotated[PhaseOptions, Doc("The fourth.")]
    joint: Annotated[PhaseOptions, Doc("All blocks together.")] = field(default_factory=lambda: PhaseOptions(steps=0))

    def __post_init__(self) -> None:
        spec = PhotoSpec(backbone=self.backbone, widths=self.widths)  # type: ignore[arg-type]
        if len(self.energy) != len(spec.widths) or min(self.energy) <= 0:
            raise UsageError("SP121", f"The energy was {self.energy}; four positive numbers are needed.")
        super().__post_init__()

    def usual_limits(self) -> dict[str, float]:
        """Return limits that a student passes after a short training."""
        return {"psnr": 22.0, "dead": 0.1}

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases in their order."""
        return ("joint",) if self.joint.init else PHOTO_PHASES

    @property
    def spec(self) -> PhotoSpec:
        """Spec of the student."""
        return PhotoSpec(backbone=self.backbone, widths=self.widths)  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return super().to_dict() | {"widths": list(self.widths), "energy": list(self.energy)}


@dataclass(frozen=True, kw_only=True)
class KBRecipe(RunRecipe):
    """Trains a KBStyle teacher, and its student by symmetric knowledge distillation."""

    widths: Annotated[tuple[int, ...], Doc("Channels of the student at full, half and quarter size.")] = KBSpec().widths
    blocks: Annotated[int, Doc("Residual blocks at quarter size, of teacher and student.")] = KBSpec().blocks
    teacher_widths: Annotated[tuple[int, ...], Doc("The teacher's channels: 14 times the student's parameters.")] = (
        32,
        64,
        156,
    )
    style_levels: Annotated[tuple[float, ...], Doc("Weights of relu1_1 to relu4_1 in the style loss.")] = (
        1.0,
        1.0,
        1.0,
        1.0,
    )
    big: Annotated[PhaseOptions, Doc("The teacher; without steps there is none.")] = field(
        default_factory=lambda: PhaseOptions(steps=0)
    )
    small: Annotated[
        PhaseOptions, Doc("The student; with encoder, decoder, code and output at 0 it learns without a teacher.")
    ]
    polish: Annotated[
        PhaseOptions,
        Doc("The student once more, from where it got to: a phase that takes away the grid of the upsampling."),
    ] = field(default_factory=lambda: PhaseOptions(steps=0))

    def __post_init__(self) -> None:
        assert self.spec.blocks == self.big_spec.blocks  # making them checks the widths
        if not self.big.steps and (self.small.learns_from_teacher or self.polish.learns_from_teacher):
            raise UsageError(
                "SP121",
                "A phase learns from the teacher, but big has no steps.",
                "Give it steps, or set encoder, decoder, code and output of the others to 0.",
            )
        if len(self.style_levels) != 4 or min(self.style_levels) < 0 or not any(self.style_levels):
            raise UsageError("SP121", f"The style levels were {self.style_levels}; four weights of at least 0.")
        super().__post_init__()

    def usual_limits(self) -> dict[str, float]:
        """Return limits that a student passes after a short training."""
        return {"psnr": 14.0, "ssim": 0.2, "style": 0.15}

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases in their order."""
        return tuple(name for name in KB_PHASES if name == "small" or self.phase(name).steps)

    @property
    def spec(self) -> KBSpec:
        """Spec of the student."""
        return KBSpec(widths=self.widths, blocks=self.blocks)  # type: ignore[arg-type]

    @property
    def big_spec(self) -> KBSpec:
        """Spec of the teacher."""
        return KBSpec(widths=self.teacher_widths, blocks=self.blocks)  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        lists = {name: list(getattr(self, name)) for name in ("widths", "teacher_widths", "style_levels")}
        return super().to_dict() | lists


@dataclass(frozen=True, kw_only=True)
class EncoderRecipe(RunRecipe):
    """Trains an encoder alone, for the optimization."""

    level: Annotated[int, Doc("1 to 5.")] = 5
    widths: Annotated[
        tuple[int, ...], Doc("Channels after each convolution; empty for the 16 times smaller student.")
    ] = ()
    importance: Annotated[str, Doc("l1, activation, reconstruction or random; see `Recipe`.")] = "l1"
    student_encoder: Annotated[PhaseOptions, Doc("The encoder, with linear embeddings into the teacher's features.")]

    def __post_init__(self) -> None:
        if self.level not in range(1, 6) or self.importance in RULES or self.importance not in IMPORTANCE:
            raise UsageError(
                "SP121",
                f"The recipe has level {self.level!r} and importance {self.importance!r}; 1 to 5, and "
                f"{', '.join(name for name in IMPORTANCE if name not in RULES)} are possible.",
            )
        super().__post_init__()

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases in their order."""
        return ("student_encoder",)

    @property
    def student(self) -> VGGSpec:
        """Spec of the encoder."""
        return VGGSpec(level=self.level, widths=self.widths) if self.widths else student_spec(self.level)

    def usual_limits(self) -> dict[str, float]:
        """Return limits that a student passes after a short training."""
        return {"unexplained": 0.6, "dead": 0.1}

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return super().to_dict() | {"widths": list(self.widths)}


@dataclass(frozen=True, kw_only=True)
class CascadeRecipe(RunRecipe):
    """Trains the decoders of a WCT model once more, in the row in which they are used."""

    start: Annotated[str, Doc("The model, by name or source; in a bundle empty, for its pairs.")] = ""
    levels: Annotated[tuple[int, ...], Doc("Whose decoders learn; empty for all but level 1.")] = ()
    decoders: Annotated[PhaseOptions, Doc("These decoders, all at once.")]

    def usual_limits(self) -> dict[str, float]:
        """Return limits that a model passes after a short training."""
        return {"psnr": 14.0, "dead": 0.1, "ssim": 0.1, "style": 0.2}

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases in their order."""
        return ("decoders",)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return super().to_dict() | {"levels": list(self.levels)}


@dataclass(frozen=True, kw_only=True)
class BundleRecipe:
    """Trains several pairs and packs them into one file."""

    name: Annotated[str, Doc("Of the result.")]
    pairs: Annotated[
        tuple[Recipe, ...], Doc("Of the pairs; in a file a list of other files, paths relative to it, or tables.")
    ]
    cascade: Annotated[
        CascadeRecipe | None,
        Doc("What all of them learn together then; in a file the path of another file, or a table."),
    ] = None
    minutes: Annotated[float, Doc("Time budget of all pairs together; 0 takes the steps as they are.")] = 0.0
    license: Annotated[str, Doc("Of the weights, as far as the pictures and the teacher allow.")] = "unknown"

    def __post_init__(self) -> None:
        if self.cascade and any(pair.method != "wct" for pair in self.pairs):
            raise UsageError(
                "SP121",
                "The bundle has a cascade and pairs of AdaIN.",
                "Leave the cascade out, or bundle pairs of WCT.",
            )


@dataclass(frozen=True, kw_only=True)
class MetricRecipe:
    """Solves for the metrics of an encoder; nothing is trained in steps."""

    name: Annotated[str, Doc("Of the model that the encoder is from.")]
    encoder: Annotated[str, Doc("The encoder: the deepest one of a model, by name or file:PATH.")]
    pictures: Annotated[int, Doc("Photographs, and as many artworks, that are looked at.")] = 400
    data: Annotated[DataOptions, Doc("The pictures.")] = field(default_factory=DataOptions)
    teacher: Annotated[TeacherOptions, Doc("The loss network, and what students start from.")] = field(
        default_factory=TeacherOptions
    )
    license: Annotated[str, Doc("Of the file.")] = "unknown"

    def __post_init__(self) -> None:
        if self.pictures < 1:
            raise UsageError("SP124", f"pictures was {self.pictures}; at least 1 is needed.")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return asdict(self)


AnyRecipe = Recipe | PhotoRecipe | KBRecipe | EncoderRecipe | MetricRecipe | CascadeRecipe | BundleRecipe
