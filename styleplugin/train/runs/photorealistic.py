"""The run of a photorealistic student: eigenbases of the teacher, then block after block, then all together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from styleplugin.errors import UsageError
from styleplugin.loading.build import save_model
from styleplugin.loading.index import architecture_of, load, resolve_teacher
from styleplugin.methods.photorealistic.model import PhotoModel
from styleplugin.networks.mobilenet import MobileNet
from styleplugin.networks.model import StyleModel, load_tensors
from styleplugin.networks.padding import pad_in_channels_last
from styleplugin.tensorfile import TEACHER, read_weights, write_weights
from styleplugin.train.data.pictures import step_generator
from styleplugin.train.evaluation.figures import reconstruction_psnr
from styleplugin.train.loop.logbook import Row
from styleplugin.train.loop.setting import Setting
from styleplugin.train.networks.eigenbasis import Eigenbasis, global_eigenbasis
from styleplugin.train.networks.teachers import build_loss_network, label_of, read_pinned
from styleplugin.train.recipe.config import PHOTO_PHASES, PhotoRecipe
from styleplugin.train.recipe.options import PhaseOptions, TeacherOptions
from styleplugin.train.runs.phases import SHEET, PhasedRun, started_from
from styleplugin.train.runs.photorealistic_start import start_block
from styleplugin.train.tasks.photorealistic import PhotoTask, PhotoTrainable, principal_components
from styleplugin.transforms.moments import Moments

STARTING = 32
"""Pictures for starting values."""


class PhotoRun(PhasedRun):
    """A student of PCA-based distillation."""

    target = "student.safetensors"
    recipe: PhotoRecipe

    def __init__(self, recipe: PhotoRecipe, out: Path, setting: Setting) -> None:
        super().__init__(recipe, out, setting)
        self.teacher, self.sources = build_photo_teacher(recipe, self.probes.cpu())
        self.teacher.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.bases = self._eigenbases()

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

    def begin(self, phase: str) -> PhotoTrainable:
        """Go on with the phase before, with a new block drawn at random."""
        number = PHOTO_PHASES.index(phase)
        model = PhotoModel(self.recipe.spec)
        if init := self.recipe.phase(phase).init:
            started_from(model, init)
        elif number:
            weights = read_weights(self.result(PHOTO_PHASES[number - 1]), limits=TEACHER)
            load_tensors(model, weights.tensors, weights.path.name)
        model.to(self.device)
        if number == len(model.encoder.blocks):
            return PhotoTrainable(model, range(number))
        images = self.probes[:STARTING]
        with torch.no_grad():
            taught = self.teacher.features(images)[number]  # type: ignore[operator]
        components = principal_components(taught, self.bases[number].vectors.to(taught))
        start_block(model, number, images, components, step_generator(self.recipe.seed, f"start {phase}", 0))
        return PhotoTrainable(model, [number])

    def task(self, trainable: PhotoTrainable, options: PhaseOptions) -> PhotoTask:
        """Return the losses of the blocks in training."""
        weights = {name: getattr(options, name) for name in ("distill", "pixel", "feature", "perceptual")}
        task = PhotoTask(trainable, self.teacher, [basis.vectors for basis in self.bases], weights)
        task.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        pad_in_channels_last(task)
        return task

    def write_part(self, path: Path, phase: str, trainable: PhotoTrainable, card: dict[str, Any]) -> None:
        """Write the student as far as it is trained."""
        metadata = {"architecture": f"training-{phase}", "spec": self.recipe.spec.to_dict(), "card": card}
        write_weights(path, trainable.model.cpu().state_dict(), metadata)

    def validate(self, task: PhotoTask, trainable: PhotoTrainable) -> tuple[Row, list[Tensor]]:
        """Return the PSNR and the share of dead channels, and reconstructions."""
        with self.autocast():
            value = reconstruction_psnr(task.reconstruct, self.validation, 16)
            rows = [self.validation[:SHEET], task.reconstruct(self.validation[:SHEET])]
        dead = dead_share(trainable.model, self.validation, max(trainable.blocks))
        return {"psnr": round(value, 3), "dead": round(dead, 4)}, rows

    def student(self, phase: str, trainable: PhotoTrainable) -> PhotoModel | None:
        """Return a copy once all blocks are there."""
        if phase not in self.phases[-2:]:
            return None
        model = PhotoModel(self.recipe.spec)
        load_tensors(model, {key: value.cpu() for key, value in trainable.model.state_dict().items()}, "the student")
        return model

    def write_model(self, target: Path) -> None:
        """Write the student with its figures."""
        weights = read_weights(self.result(self.phases[-1]), limits=TEACHER)
        model = PhotoModel(self.recipe.spec)
        load_tensors(model, weights.tensors, weights.path.name)
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
        tensors = read_pinned(Path(options.root) / options.mobilenet, digest)
    teacher = MobileNet()
    load_tensors(teacher, {key: tensors[key] for key in teacher.state_dict() if key in tensors}, name)
    return teacher, {name: digest}


@torch.no_grad()
def dead_share(model: PhotoModel, images: Tensor, deepest: int) -> float:
    """Return the share of feature channels at the transform points that are zero on all (N, 3, H, W) images."""
    features = model.encoder.features(images, deepest + 1)
    dead = sum(int((feature.amax((0, 2, 3)) <= 0).sum()) for feature in features)
    return dead / sum(feature.shape[1] for feature in features)
