"""Photorealistic students: eigenbases of the teacher, then block after block, then all together.

Source: Chiu and Gurari 2022, section 4 and the official code. Differs: each loss is relative to the size of what it is
compared with; a last phase trains all blocks together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from typing_extensions import Doc

from styleplugin.errors import UsageError
from styleplugin.loading.build import save_model
from styleplugin.loading.index import architecture_of, load, resolve_teacher
from styleplugin.methods.photorealistic.model import PhotoModel, PhotoSpec
from styleplugin.methods.photorealistic.train.start import start_block
from styleplugin.networks.mobilenet import MobileNet
from styleplugin.networks.model import StyleModel, load_tensors
from styleplugin.tensorfile import TEACHER, read_weights, write_weights
from styleplugin.train.evaluation.figures import reconstruction_psnr
from styleplugin.train.loop.logbook import Row
from styleplugin.train.loop.setting import Setting
from styleplugin.train.networks.eigenbasis import Eigenbasis, global_eigenbasis
from styleplugin.train.networks.teachers import build_loss_network, label_of, read_pinned
from styleplugin.train.recipe.choices import Choices
from styleplugin.train.recipe.options import PhaseOptions, RunRecipe, TeacherOptions
from styleplugin.train.runs.phase import Phase
from styleplugin.train.runs.run import PhasedRun
from styleplugin.train.runs.training import SHEET, Training, fill
from styleplugin.transforms.losses import feature_distance, mse, weigh
from styleplugin.transforms.moments import Moments

PHOTO_PHASES = ("block1", "block2", "block3", "block4", "joint")
STARTING = 32
"""Pictures for starting values."""
_ENERGY = {"vgg": (80.0, 100.0, 100.0, 5.0), "mobilenet": (13.0, 12.0, 22.0, 31.0)}


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


class PhotoTrainable:
    """A student, and the blocks of it that learn."""

    def __init__(self, model: PhotoModel, blocks: Sequence[int]) -> None:
        """Freeze all but some blocks, 0 to 3, of encoder and decoder."""
        self.model = model
        self.blocks = list(blocks)
        model.requires_grad_(False)
        halves = (model.encoder.blocks, model.decoder.blocks)
        self.trained = nn.ModuleList(half[block] for half in halves for block in self.blocks).requires_grad_(True)


class PhotoTask(nn.Module):
    """A step of training: owns student, teacher and bases, returns the losses."""

    def __init__(
        self, trainable: PhotoTrainable, teacher: nn.Module, bases: Sequence[Tensor], weights: dict[str, float]
    ) -> None:
        """Keep the bases, (C, d) each, frozen; the weights are distill, pixel, feature and perceptual."""
        super().__init__()
        self.model = trainable.model
        self.blocks = trainable.blocks
        self.teacher = teacher
        self.weights = weights
        self.bases = nn.ParameterList(nn.Parameter(basis, requires_grad=False) for basis in bases)

    def forward(self, content: Tensor) -> dict[str, Tensor]:
        """Return "loss" and its parts for (N, 3, H, W) in [0, 1]."""
        last = max(self.blocks)
        with torch.no_grad():
            taught = self.teacher.features(content)  # type: ignore[operator]
        skips = [content, *self.model.encoder.features(content, last + 1)]
        # In use every block meets features with the statistics of a style's own ones, not only what the block behind it
        # decodes; so all blocks in training begin a chain of their own.
        decoded = {block: self.model.decoder.decode(skips[block + 1], skips, block) for block in self.blocks}
        parts = {
            "pixel": torch.stack([mse(maps[-1], content) for maps in decoded.values()]).mean(),
            "distill": torch.stack([self._unexplained(k, skips[k + 1], taught[k]) for k in self.blocks]).mean(),
        }
        if last > 0 and self.weights["feature"]:
            # The first map that a block decodes, beside the features that the encoder had there.
            pairs = [(maps[0], skips[block].detach()) for block, maps in decoded.items() if block > 0]
            parts["feature"] = torch.stack([_relative(own, wanted) for own, wanted in pairs]).mean()
        output = decoded[last][-1]
        if last > 0 and self.weights["perceptual"]:
            seen = self.teacher.features(output)  # type: ignore[operator]
            parts["perceptual"] = feature_distance(seen[last : last + 1], taught[last : last + 1])
        return weigh(parts, self.weights)

    def _unexplained(self, block: int, features: Tensor, taught: Tensor) -> Tensor:
        """Return how far a student's centered features are from the teacher's principal components, 1 for all of it."""
        target = principal_components(taught.float(), self.bases[block])
        own = features.float() - features.float().mean((2, 3), keepdim=True)
        return (own - target).square().sum() / target.square().sum().clamp_min(1e-6)

    @torch.no_grad()
    def reconstruct(self, image: Tensor) -> Tensor:
        """Encode and decode (N, 3, H, W) in [0, 1] as deep as the training has come."""
        skips = [image, *self.model.encoder.features(image, max(self.blocks) + 1)]
        return self.model.decoder.decode(skips[-1], skips, max(self.blocks))[-1]


def principal_components(features: Tensor, basis: Tensor) -> Tensor:
    """Return the coordinates (N, d, h, w) of features (N, C, h, w), centered per picture, in a basis (C, d)."""
    return torch.einsum("nchw,cd->ndhw", features - features.mean((2, 3), keepdim=True), basis)


def _relative(a: Tensor, b: Tensor) -> Tensor:
    """Return the squared distance of a to b, relative to b's variance over positions."""
    a, b = a.float(), b.float()
    spread = (b - b.mean((2, 3), keepdim=True)).square().mean()
    return (a - b).square().mean() / spread.clamp_min(1e-6)


class PhotoPhase(Phase):
    """One of the four blocks of encoder and decoder, or all together.

    Args:
        training: The run at work.
        number: 0 to 3 for a block, 4 for all.
    """

    training: PhotoTraining

    def __init__(self, training: PhotoTraining, number: int) -> None:
        self.name, self.number = PHOTO_PHASES[number], number
        super().__init__(training)

    def begin(self) -> PhotoTrainable:
        """Go on with the phase before, with a new block drawn at random."""
        training, number = self.training, self.number
        model = PhotoModel(training.recipe.spec)
        if self.options.init:
            fill(model, self.options.init)
        elif number:
            fill(model, training.out / f"{PHOTO_PHASES[number - 1]}.safetensors")
        model.to(training.device)
        if number == len(model.encoder.blocks):
            return PhotoTrainable(model, range(number))
        images = training.probes[:STARTING]
        with torch.no_grad():
            taught = training.teacher.features(images)[number]  # type: ignore[operator]
        components = principal_components(taught, training.bases[number].vectors.to(taught))
        start_block(model, number, images, components, self.generator(0, "start"))
        return PhotoTrainable(model, [number])

    def task(self, trainable: PhotoTrainable) -> PhotoTask:
        """Return the losses of the blocks in training."""
        weights = {name: getattr(self.options, name) for name in ("distill", "pixel", "feature", "perceptual")}
        return PhotoTask(trainable, self.training.teacher, [basis.vectors for basis in self.training.bases], weights)

    def validate(self, task: PhotoTask, trainable: PhotoTrainable) -> tuple[Row, list[Tensor]]:
        """Return the PSNR and the share of dead channels, and reconstructions."""
        images = self.training.validation
        with self.training.autocast():
            value = reconstruction_psnr(task.reconstruct, images, 16)
            rows = [images[:SHEET], task.reconstruct(images[:SHEET])]
        dead = dead_share(trainable.model, images, max(trainable.blocks))
        return {"psnr": round(value, 3), "dead": round(dead, 4)}, rows

    def student(self, trainable: PhotoTrainable) -> PhotoModel | None:
        """Return a copy once all blocks are there."""
        model = PhotoModel(self.training.recipe.spec)
        return fill(model, trainable.model) if self.number >= len(model.encoder.blocks) - 1 else None

    def write(self, path: Path, trainable: PhotoTrainable, card: dict[str, Any]) -> None:
        """Write the student as far as it is trained."""
        spec = self.training.recipe.spec.to_dict()
        metadata = {"architecture": f"training-{self.seed_name}", "spec": spec, "card": card}
        write_weights(path, trainable.model.cpu().state_dict(), metadata)


class PhotoTraining(Training):
    """A student of PCA-based distillation at work."""

    recipe: PhotoRecipe

    def __init__(self, run: PhotoRun, setting: Setting) -> None:
        super().__init__(run, setting)
        self.teacher, self.sources = build_photo_teacher(self.recipe, self.probes.cpu())
        self.teacher.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.bases = self._eigenbases()

    def make_phases(self) -> list[Phase]:
        """Return the blocks, and all together."""
        return [PhotoPhase(self, PHOTO_PHASES.index(name)) for name in self.recipe.phases]

    def _eigenbases(self) -> list[Eigenbasis]:
        """Compute the bases, or read them from the run's folder."""
        path = self.out / "eigenbases.safetensors"
        if not path.exists():
            pictures = self.content.center_crops(self.recipe.data.crop, self.recipe.basis_pictures)
            self._check_widths(pictures[:1])
            points = zip(self._covariances(pictures), self.recipe.spec.widths, self.recipe.energy, strict=True)
            bases = [global_eigenbasis(covariances, width, energy) for covariances, width, energy in points]
            kept = [basis.variance_kept for basis in bases]
            tensors = {f"basis{k}": basis.vectors for k, basis in enumerate(bases)}
            write_weights(path, tensors, {"variance_kept": kept})
        weights = read_weights(path, limits=TEACHER)
        kept = weights.metadata["variance_kept"]
        self.log.write(event="eigenbases", **{f"kept{k + 1}": share for k, share in enumerate(kept)})
        return [Eigenbasis(weights.tensors[f"basis{k}"], share) for k, share in enumerate(kept)]

    @torch.no_grad()
    def _check_widths(self, picture: Tensor) -> None:
        """Raise UsageError SP121 if the student is wider than its teacher."""
        taught = [feature.shape[1] for feature in self.teacher.features(picture)]  # type: ignore[operator]
        for point, (own, full) in enumerate(zip(self.recipe.spec.widths, taught, strict=True), 1):
            if own > full:
                raise UsageError(
                    "SP121",
                    f"At transform point {point} the student has {own} channels and its teacher has {full} channels.",
                )

    @torch.no_grad()
    def _covariances(self, pictures: Tensor) -> list[list[Tensor]]:
        """Return the covariance of the teacher's features, for each transform point and picture."""
        found: list[list[Tensor]] = [[] for _ in self.recipe.spec.widths]
        for picture in pictures.split(1):
            for covariances, taught in zip(found, self.teacher.features(picture), strict=True):  # type: ignore[operator]
                covariances.append(Moments.of(taught).covariance(unbiased=False))
        return found

    def write_model(self, target: Path) -> None:
        """Write the student with its figures."""
        model = fill(PhotoModel(self.recipe.spec), self.phases[-1].result)
        images = self.validation.cpu()
        metrics = {
            "psnr": round(reconstruction_psnr(model, images), 4),
            "dead": dead_share(model, images, len(model.encoder.blocks) - 1),
            "variance_kept": [round(basis.variance_kept, 4) for basis in self.bases],
        }
        self.write_student(target, model, self.evaluated(metrics))

    def write_student(self, target: Path, student: StyleModel, card: dict[str, Any]) -> None:
        """Write a student in half precision."""
        save_model(target, student, license=self.recipe.license, card=card, dtype=torch.float16)

    def teacher_card(self) -> dict[str, Any]:
        """Return the loss network, for the card."""
        return {"sha256": self.sources}


class PhotoRun(PhasedRun):
    """A student of PCA-based distillation."""

    recipe_type = PhotoRecipe
    target_name = "student.safetensors"
    method = "photorealistic"
    usual_teacher = "pca-photo.vgg"
    training = PhotoTraining

    @staticmethod
    def preset(choices: Choices) -> PhotoRecipe:
        """Return the recipe of a new student."""
        widths = PhotoSpec(backbone=choices.backbone).widths  # type: ignore[arg-type]
        phase = PhaseOptions(steps=1500, batch=choices.batch, lr=0.005, warmup=50, pixel=100.0, perceptual=0.0)
        return PhotoRecipe(
            backbone=choices.backbone,
            widths=() if choices.width in (None, 1) else choices.scaled(widths, 1.0),
            energy=_ENERGY[choices.backbone],
            block1=replace(phase, steps=600),
            block2=phase,
            block3=phase,
            block4=phase,
            joint=replace(phase, steps=2000, lr=0.0015),
            **choices.settings(f"my-photo-{choices.backbone}"),
        )


def build_photo_teacher(recipe: PhotoRecipe, images: Tensor) -> tuple[nn.Module, dict[str, str]]:
    """Build the teacher of a photorealistic student: a photorealistic model's encoder, VGG-19 or MobileNet.

    Args:
        recipe: The run.
        images: (N, 3, H, W) in [0, 1]; the means of a full VGG-19 are measured on them.

    Returns:
        The teacher, frozen, whose `features` are those of the four transform points; and what it was made from.

    Raises:
        WeightsError: SP301 to SP310, a file is missing or wrong; SP330, its sha256 is not the recipe's.
    """
    source = recipe.teacher.source
    if source and architecture_of(resolve_teacher(source).path) == PhotoModel.architecture:
        model, info = load(source, allow_unknown=True)
        assert isinstance(model, PhotoModel)
        return model.encoder, {label_of(source): info.sha256}
    if recipe.backbone == "vgg":
        loss_network = build_loss_network(recipe.teacher, 4, images)
        return loss_network, loss_network.sources
    return build_mobilenet(recipe.teacher)


def build_mobilenet(options: TeacherOptions) -> tuple[MobileNet, dict[str, str]]:
    """Read the MobileNet teacher.

    Returns:
        The teacher, frozen, and what it was made from.

    Raises:
        WeightsError: SP301 to SP310, the file is missing or wrong; SP330, its sha256 is not the recipe's.
    """
    if options.source:
        weights = read_weights(resolve_teacher(options.source).path, limits=TEACHER)
        tensors, digest, name = weights.tensors, weights.sha256, label_of(options.source)
    else:
        digest, name = options.mobilenet_sha256, options.mobilenet
        tensors = read_pinned(options.file(options.mobilenet), digest)
    teacher = MobileNet()
    load_tensors(teacher, {key: tensors[key] for key in teacher.state_dict() if key in tensors}, name)
    return teacher, {name: digest}


@torch.no_grad()
def dead_share(model: PhotoModel, images: Tensor, deepest: int) -> float:
    """Return the share of feature channels at the transform points that are zero on all (N, 3, H, W) images."""
    features = model.encoder.features(images, deepest + 1)
    dead = sum(int((feature.amax((0, 2, 3)) <= 0).sum()) for feature in features)
    return dead / sum(feature.shape[1] for feature in features)
