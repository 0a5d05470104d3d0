"""The metrics of an encoder: how much each direction of its features counts to the eye of its teacher.

The linear embedding E of a student's features that comes nearest to the teacher's (the embedding of Collaborative
Distillation, here solved by least squares for every level) turns a distance of teacher features into one of student
features with the metric E^T E. Its symmetric root is what the optimization multiplies features with.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

import torch
from torch import Tensor
from typing_extensions import Doc

from styleplugin.errors import UsageError
from styleplugin.loading.build import METRICS
from styleplugin.loading.encoders import load_encoder
from styleplugin.networks.model import pairing_id
from styleplugin.networks.vgg import Encoder
from styleplugin.tensorfile import write_weights
from styleplugin.train.data.pictures import Pictures
from styleplugin.train.loop.logbook import Logbook
from styleplugin.train.loop.setting import Setting
from styleplugin.train.networks.teachers import LossNetwork, build_loss_network
from styleplugin.train.recipe.options import AnyRecipe, DataOptions, TeacherOptions
from styleplugin.train.runs.run import Run, recipe_for_card
from styleplugin.transforms.eigen import square_root

_RIDGE = 1e-4
"""Added to the second moment of each of the student's channels, relative to itself."""
_BATCH = 4


@dataclass(frozen=True, kw_only=True)
class MetricRecipe(AnyRecipe):
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


class MetricRun(Run):
    """The metrics of an encoder's levels, solved for and written.

    The file has `level1.root` ... (C, C), and a card with the share of the teacher that each level leaves unexplained
    on the validation pictures.
    """

    recipe_type = MetricRecipe
    recipe: MetricRecipe
    target_name = "metrics.safetensors"

    @property
    def is_finished(self) -> bool:
        """Never: what is there is solved for anew."""
        return False

    def train(self, setting: Setting) -> None:
        """Solve for the metrics and write them, also where there were some."""
        if setting.workers.is_main:
            self._solve(setting)
        setting.workers.wait()

    def _solve(self, setting: Setting) -> None:
        begin = time.monotonic()
        recipe, data = self.recipe, self.recipe.data
        # Whoever writes a recipe knows the encoder in it.
        encoder = load_encoder(recipe.encoder, allow_unknown=True).encoder.to(setting.place)
        sets = [setting.pictures(data, styles=styles) for styles in (False, True)]
        probes = sets[0][0].center_crops(data.crop, recipe.pictures).cpu()
        loss_network = build_loss_network(recipe.teacher, encoder.spec.level, probes).to(setting.place)
        training, held_out = zip(*sets, strict=True)
        roots, left = solve_metrics(encoder, loss_network, training, held_out, data.crop, recipe.pictures)
        Logbook(self.out, setting.on_event).write(event="evaluated", **left)
        card = {
            "name": recipe.name,
            "recipe": recipe_for_card(recipe),
            "teacher": {"sha256": loss_network.sources},
            "data": {"name": data.name, "pictures": [len(pictures) for pictures in training]},
            "metrics": {"unexplained": left},
            "seconds": round(time.monotonic() - begin),
        }
        metadata = {"architecture": METRICS, "encoder": pairing_id(encoder), "license": recipe.license, "card": card}
        write_weights(self.target, roots, metadata, overwrite=True)


def solve_metrics(
    encoder: Encoder,
    loss_network: LossNetwork,
    training: Sequence[Pictures],
    held_out: Sequence[Pictures],
    crop: int,
    count: int,
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Solve for the metrics of an encoder.

    Args:
        encoder: The student's.
        loss_network: The teacher, on the same device.
        training: Sets of pictures to solve for.
        held_out: Sets of pictures to judge with.
        crop: Side of the crops, pixels.
        count: Pictures of each set.

    Returns:
        `level1.root` ... (C, C), and for each level the share of the teacher that is left unexplained.
    """
    embeddings = [products.embedding() for products in _measured(encoder, loss_network, training, crop, count)]
    pairs = zip(_measured(encoder, loss_network, held_out, crop, count), embeddings, strict=True)
    left = {f"level{k}": round(products.unexplained(e), 4) for k, (products, e) in enumerate(pairs, 1)}
    return {f"level{k}.root": square_root(e.T @ e).float() for k, e in enumerate(embeddings, 1)}, left


class _Products:
    """Sums of products of student and teacher features at one level, (C, C), (K, C) and a number."""

    def __init__(self) -> None:
        self.own: Tensor = torch.zeros((), dtype=torch.float32, device="cpu")
        self.both: Tensor = torch.zeros((), dtype=torch.float32, device="cpu")
        self.teachers = 0.0

    def add(self, student: Tensor, teacher: Tensor) -> None:
        """Add a batch, (N, C, h, w) and (N, K, h, w)."""
        x, y = (t.movedim(1, 0).flatten(1).double().cpu() for t in (student, teacher))
        self.own = self.own + x @ x.T
        self.both = self.both + y @ x.T
        self.teachers += float(y.square().sum())

    def embedding(self) -> Tensor:
        """Return E (K, C) by least squares."""
        ridge = (_RIDGE * self.own.diagonal()).clamp_min(torch.finfo(torch.float32).tiny).diag()
        return torch.linalg.solve(self.own + ridge, self.both.T).T

    def unexplained(self, embedding: Tensor) -> float:
        """Return the share of the teacher's features that an embedding leaves over."""
        return 1 - float(2 * (embedding * self.both).sum() - (embedding @ self.own * embedding).sum()) / self.teachers


@torch.no_grad()
def _measured(
    encoder: Encoder, loss_network: LossNetwork, sets: Sequence[Pictures], crop: int, count: int
) -> list[_Products]:
    """Add up the features of pictures of all sets, as many of each."""
    products = [_Products() for _ in range(encoder.spec.level)]
    device = next(encoder.parameters()).device
    for pictures in sets:
        crops = pictures.center_crops(crop, min(count, len(pictures)))
        for images in crops.split(_BATCH):
            images = images.to(device, memory_format=torch.channels_last)
            for level, student, teacher in zip(
                products, encoder.features(images), loss_network.features(images), strict=True
            ):
                level.add(student, teacher)
    return products
