"""Recipes: every setting of a training run as frozen dataclasses; `toml` reads and writes their files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from typing_extensions import Doc

from styleplugin.errors import UsageError
from styleplugin.networks.kbstyle import KBSpec
from styleplugin.networks.photorealistic import PhotoSpec
from styleplugin.networks.vgg import VGGSpec, student_spec

PHASES = ("teacher_decoder", "student_encoder", "student_decoder", "student_pair")
RULES = ("spp", "increg", "greg")
RECONSTRUCTION = "reconstruction"
IMPORTANCE = ("l1", "activation", RECONSTRUCTION, "random", *RULES)
KB_PHASES = ("big", "small", "polish")
PHOTO_PHASES = ("block1", "block2", "block3", "block4", "joint")
Sources = str | tuple[str, ...]
"""A folder of pictures or tars, or a tar, with `*` for any characters of its name; or several, read in their order."""


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Which pictures, and what is cut from them."""

    name: Annotated[str, Doc("What the pictures are, for the model card.")] = "unnamed"
    photos: Annotated[
        Sources,
        Doc(
            "Contents: a folder of pictures or tars, or a tar, or a list of them; `*` in a name stands for "
            "any characters."
        ),
    ] = "../shared/data/train/photos*"
    paintings: Annotated[Sources, Doc("Styles, the same; only methods that are trained with styles need them.")] = (
        "../shared/data/train/paintings*"
    )
    short_side: Annotated[int, Doc("Pictures are shrunk to it when they are read, pixels.")] = 300
    crop: Annotated[
        int, Doc("Side of a training crop, pixels, a multiple of 16; smaller pictures are enlarged to it.")
    ] = 256
    largest: Annotated[
        int,
        Doc(
            "Squares of up to this side are cut and shrunk to a crop, so that shapes are seen at many scales; "
            "0 cuts crops."
        ),
    ] = 0
    vary: Annotated[float, Doc("How much exposure, contrast and hue of a crop are changed, 0 to 1.")] = 0.0
    open_license: Annotated[
        bool, Doc("Take only pictures for which the index beside their tar names a license that allows it.")
    ] = False
    paintings_as_contents: Annotated[bool, Doc("Naturalistic paintings, marked in the index, are contents too.")] = (
        False
    )

    def __post_init__(self) -> None:
        if not 0 <= self.vary <= 1:
            raise UsageError("SP123", f"vary was {self.vary:g}; it must be 0 to 1.")
        if self.largest and self.largest < self.crop:
            raise UsageError("SP123", f"largest was {self.largest}; it must be 0, or at least the crop, {self.crop}.")
        for name in ("photos", "paintings"):
            # The class is frozen for everybody else.
            object.__setattr__(self, name, _one_or_several(name, getattr(self, name)))

    @property
    def contents(self) -> tuple[str, ...]:
        """Where contents lie."""
        return _listed(self.photos) + (self.styles if self.paintings_as_contents else ())

    @property
    def styles(self) -> tuple[str, ...]:
        """Where styles lie."""
        return _listed(self.paintings)


def _one_or_several(name: str, places: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> Sources:
    if isinstance(places, (str, os.PathLike)):
        return str(places)
    several = tuple(map(str, places))
    if not several:
        raise UsageError("SP130", f"{name} names no folder and no tar.", "Give the folder of the training pictures.")
    return several if several[1:] else several[0]


def _listed(sources: Sources) -> tuple[str, ...]:
    return (sources,) if isinstance(sources, str) else sources


@dataclass(frozen=True, kw_only=True)
class TeacherOptions:
    """VGG-19, or MobileNet."""

    source: Annotated[
        str,
        Doc(
            "A model whose deepest encoder teaches, by name or source; or `file:PATH` or "
            "`hub:OWNER/REPO@REVISION/FILE` of a VGG-19, or for photorealistic students of that backbone of a "
            "MobileNet v1. Empty for the files below."
        ),
    ] = ""
    painter: Annotated[
        str,
        Doc(
            "A model of WCT, AdaIN or KBStyle, by name or source, whose pictures a student of AdaIN or "
            "KBStyle learns from."
        ),
    ] = ""
    root: Annotated[str, Doc("Folder of the files below.")] = "../shared/data/teachers"
    vgg: Annotated[str, Doc("VGG-19 as deep as it is needed, with the mean activations of each channel.")] = (
        "vgg19_imagenet.safetensors"
    )
    vgg_sha256: Annotated[str, Doc("Of its content.")] = (
        "cbbb2a761ff7b9812be729594a9609aeead4cbf73360bbc7416ae11aa7dd0fc8"
    )
    mobilenet: Annotated[
        str, Doc("MobileNet v1, batch normalization folded; photorealistic students of that backbone.")
    ] = "mobilenet_v1_100_imagenet.safetensors"
    mobilenet_sha256: Annotated[str, Doc("Of its content.")] = (
        "1ad6e14e9a6e7e4e9938cd472156691d3b1cddfb6b53a7ee1f9da74599c86a4c"
    )


@dataclass(frozen=True, kw_only=True)
class PhaseOptions:
    """One phase: what is trained is said by its name."""

    steps: Annotated[int, Doc("Optimizer steps; 0 takes the weights the phase starts from as they are.")]
    batch: Annotated[int, Doc("Crops per step.")] = 16
    lr: Annotated[
        float,
        Doc(
            "Peak length of a step relative to the weights (see `muon`): linear warm-up, then a cosine down "
            "to 2% of it. The paper's Adam at a constant 1e-4 is made for 1e5 steps; our runs are far "
            "shorter."
        ),
    ] = 0.03
    warmup: Annotated[int, Doc("Steps of the warm-up.")] = 100
    clip: Annotated[float, Doc("Largest norm of the gradient.")] = 1.0
    average: Annotated[
        float,
        Doc(
            "Share of the steps done over which the weights are averaged, below 1; with it the learning rate "
            "stays at its peak, and the average is good whenever the phase is stopped. 0 takes the last "
            "weights."
        ),
    ] = 0.0
    init: Annotated[str, Doc("Weights to continue from: a file of this phase or a pair; empty starts anew.")] = ""
    pixel: Annotated[float, Doc("Weight of the pixel loss.")] = 1.0
    perceptual: Annotated[float, Doc("Weight of the feature loss of the output.")] = 1.0
    embedding: Annotated[float, Doc("Weight of the embedding loss; student encoders only.")] = 10.0
    judged: Annotated[
        float,
        Doc(
            "Share of a batch that the embedding loss looks at, where nothing else needs the loss network, "
            "which takes a good part of a step."
        ),
    ] = 1.0
    content: Annotated[float, Doc("AdaIN, KBStyle and cascades: weight of the content loss.")] = 1.0
    style: Annotated[float, Doc("AdaIN, KBStyle and cascades: weight of the style loss.")] = 10.0
    taught: Annotated[
        float, Doc("AdaIN, KBStyle and cascades: weight of the distance to the painter's picture in deep features.")
    ] = 0.0
    picture: Annotated[
        float,
        Doc("AdaIN, KBStyle and cascades: weight of the distance to the painter's picture at a quarter of its size."),
    ] = 0.0
    distill: Annotated[float, Doc("Photorealistic: weight of the distance to the teacher's principal components.")] = (
        1.0
    )
    feature: Annotated[
        float, Doc("Photorealistic: weight of the distance of decoded features to those that the encoder had there.")
    ] = 1.0
    grid: Annotated[float, Doc("AdaIN and KBStyle: weight of the grid that upsampling leaves in the output.")] = 0.0
    weave: Annotated[
        float, Doc("AdaIN, KBStyle and cascades: weight of cloth and diagonal hatching in flat parts.")
    ] = 0.0
    encoder: Annotated[
        float, Doc("KBStyle student: weight of the distance to the teacher's encoder features, content and style.")
    ] = 0.0
    decoder: Annotated[float, Doc("KBStyle student: the same at the mirrored stages of the decoder.")] = 0.0
    code: Annotated[
        float, Doc("KBStyle student: the same for the statistics of the style at the transform points.")
    ] = 0.0
    output: Annotated[float, Doc("KBStyle student: weight of the distance to the teacher's picture.")] = 0.0
    amplitude: Annotated[float, Doc("Pruning: A of the rule (see `sparsity`); 0 fits it to the steps.")] = 0.0
    every: Annotated[int, Doc("Pruning: steps between two updates; 0 fits it to the steps.")] = 0

    @property
    def learns_from_teacher(self) -> bool:
        """Whether a KBStyle student learns from its teacher."""
        return max(self.encoder, self.decoder, self.code, self.output) > 0

    @property
    def learns_from_pictures(self) -> bool:
        """Whether it needs a painter."""
        return self.taught > 0 or self.picture > 0

    def __post_init__(self) -> None:
        if not 0 <= self.average < 1:
            raise UsageError("SP120", f"A phase had average {self.average:g}; it is a share, at least 0 and below 1.")
        if not 0 < self.judged <= 1:
            raise UsageError("SP120", f"A phase had judged {self.judged:g}; it is a share, above 0 and at most 1.")
        if self.amplitude < 0 or self.every < 0:
            raise UsageError(
                "SP120", f"A phase had amplitude {self.amplitude:g} and every {self.every}; they must not be negative."
            )
        if self.steps < 0 or self.batch < 1 or self.lr <= 0 or self.clip <= 0:
            raise UsageError(
                "SP120",
                f"A phase had {self.steps} steps, batch {self.batch}, lr {self.lr:g} and clip {self.clip:g}; "
                "they must be positive, only steps may be 0.",
            )


@dataclass(frozen=True, kw_only=True)
class GateOptions:
    """Figures on the validation pictures that a student must reach; below 0 the kind's own limit holds."""

    psnr: Annotated[float, Doc("Least reconstruction, dB.")] = -1.0
    dead: Annotated[float, Doc("Largest share of channels that are always zero.")] = -1.0
    ssim: Annotated[float, Doc("KBStyle: least structural similarity to the content.")] = -1.0
    style: Annotated[float, Doc("KBStyle: largest distance to the style.")] = -1.0
    unexplained: Annotated[
        float,
        Doc("Encoder: largest share of the teacher's features that the embeddings leave over, at the worst level."),
    ] = -1.0


@dataclass(frozen=True, kw_only=True)
class RunRecipe:
    """What all recipes of one run share."""

    name: Annotated[str, Doc("Of the result, and of the run in logs.")]
    seed: Annotated[int, Doc("All random numbers follow from it, the phase and the step.")] = 0
    precision: Annotated[str, Doc("bf16 (autocast), or fp32; losses are float32 in both.")] = "bf16"
    log_every: Annotated[int, Doc("Steps between lines of the log.")] = 50
    validate_every: Annotated[int, Doc("Steps between validations with a contact sheet.")] = 500
    checkpoint_every: Annotated[int, Doc("Steps between checkpoints.")] = 500
    data: Annotated[DataOptions, Doc("The pictures.")] = field(default_factory=DataOptions)
    teacher: Annotated[TeacherOptions, Doc("The loss network, and what students start from.")] = field(
        default_factory=TeacherOptions
    )
    lessons: Annotated[int, Doc("Pictures of the painter.")] = 1600
    gate: Annotated[GateOptions, Doc("What the student must reach to be published.")] = field(
        default_factory=GateOptions
    )
    minutes: Annotated[
        float, Doc("Time budget; all steps are changed by one factor to fit it. 0 takes the steps as they are.")
    ] = 0.0
    license: Annotated[str, Doc("Of the weights, as far as the pictures and the teacher allow.")] = "unknown"

    def __post_init__(self) -> None:
        if self.minutes < 0:
            raise UsageError("SP124", f"minutes was {self.minutes:g}; it must not be negative.")
        if self.precision not in ("bf16", "fp32"):
            raise UsageError("SP122", f"The recipe has precision {self.precision!r}; bf16 and fp32 are possible.")
        if self.data.crop % 16 or self.data.crop < 32:
            raise UsageError("SP123", f"The crop was {self.data.crop}; it must be a multiple of 16 from 32 on.")
        if min(self.log_every, self.validate_every, self.checkpoint_every) < 1:
            raise UsageError("SP124", "log_every, validate_every and checkpoint_every must be at least 1.")

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases in their order."""
        raise NotImplementedError

    def usual_limits(self) -> dict[str, float]:
        """Return the limits of the gate for this kind of student."""
        raise NotImplementedError

    def limits(self) -> dict[str, float]:
        """Return the limits of the gate."""
        return {
            name: own if (own := getattr(self.gate, name)) >= 0 else usual
            for name, usual in self.usual_limits().items()
        }

    def phase(self, name: str) -> PhaseOptions:
        """Return the options of a phase by its name."""
        return getattr(self, name)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return asdict(self)


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
