"""What recipes are made of: pictures, teacher, phases and gate, and what all runs share."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from typing_extensions import Doc, Self

from styleplugin.errors import UsageError


class AnyRecipe:
    """What the recipes of all kinds have; each is a frozen dataclass."""

    name: str
    minutes: float = 0.0

    @property
    def crop(self) -> int:
        """Side of the largest training crops in pixels."""
        raise NotImplementedError

    def relative_to(self, folder: Path) -> Self:
        """Return the recipe as it is read from a file in a folder, from which its paths to other recipes count."""
        return self


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
            "any characters. Empty where they are named when the training is started."
        ),
    ] = ""
    paintings: Annotated[Sources, Doc("Styles, the same; only methods that are trained with styles need them.")] = ""
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
    return tuple(filter(None, (sources,))) if isinstance(sources, str) else sources


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
    root: Annotated[str, Doc("Folder of the files below; empty where it is named when the training is started.")] = ""
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

    def file(self, name: str) -> Path:
        """Return where one of the files above lies.

        Raises:
            UsageError: SP126, the recipe names no folder of them.
        """
        if not self.root:
            raise UsageError(
                "SP126",
                f"The recipe names no teacher, and no folder in which {name} lies.",
                "Write source or root under [teacher], or give `teacher` or `teachers`.",
            )
        return Path(self.root).expanduser() / name


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
class RunRecipe(AnyRecipe):
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
    def crop(self) -> int:
        """Side of the training crops in pixels."""
        return self.data.crop

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
