"""The metrics of an encoder: how much each direction of its features counts to the eye of its teacher.

The linear embedding E of a student's features that comes nearest to the teacher's (the embedding of Collaborative
Distillation, here solved by least squares for every level) turns a distance of teacher features into one of student
features with the metric E^T E. Its symmetric root is what the optimization multiplies features with.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styleplugin.engine.device import pick_device
from styleplugin.loading.build import METRICS
from styleplugin.loading.encoders import load_encoder
from styleplugin.networks.model import pairing_id
from styleplugin.networks.vgg import Encoder
from styleplugin.tensorfile import write_weights
from styleplugin.train.data.pictures import Pictures, load_set
from styleplugin.train.loop.logbook import Logbook
from styleplugin.train.networks.teachers import LossNetwork, build_loss_network
from styleplugin.train.recipe.config import MetricRecipe
from styleplugin.transforms.eigen import square_root

_RIDGE = 1e-4
"""Added to the second moment of each of the student's channels, relative to itself."""
_BATCH = 4
TARGET = "metrics.safetensors"


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


def run_metrics(
    recipe: MetricRecipe, out: Path, device: str, on_event: Callable[[dict[str, Any]], None] | None
) -> Path:
    """Solve for the metrics of an encoder's levels and write them.

    Returns:
        The file: `level1.root` ... (C, C), and a card with the share of the teacher that each level leaves unexplained
        on the validation pictures.
    """
    begin = time.monotonic()
    log = Logbook(out, on_event)
    # Whoever writes a recipe knows the encoder in it.
    place = pick_device(device)
    encoder = load_encoder(recipe.encoder, allow_unknown=True).encoder.to(place)
    data = recipe.data
    sets = [load_set(data, styles=styles) for styles in (False, True)]
    probes = sets[0][0].center_crops(data.crop, recipe.pictures)
    loss_network = build_loss_network(recipe.teacher, encoder.spec.level, probes).to(place)
    training, held_out = zip(*sets, strict=True)
    roots, left = solve_metrics(encoder, loss_network, training, held_out, data.crop, recipe.pictures)
    log.write(event="evaluated", **left)
    card = {
        "name": recipe.name,
        "recipe": recipe.to_dict() | {"data": None, "teacher": None},
        "teacher": {"sha256": loss_network.sources},
        "data": {"name": data.name, "pictures": [len(training) for training, _ in sets]},
        "metrics": {"unexplained": left},
        "seconds": round(time.monotonic() - begin),
    }
    metadata = {"architecture": METRICS, "encoder": pairing_id(encoder), "license": recipe.license, "card": card}
    write_weights(out / TARGET, roots, metadata, overwrite=True)
    return out / TARGET


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
