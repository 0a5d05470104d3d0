"""The run of an encoder alone, for the optimization: its linear embeddings must give the teacher's features.

No decoder learns and no picture is made, so that it is by far the cheapest student. At the end its metrics are solved
for (`runs.feature_metric`) and go into its file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from styleplugin.loading.build import save_encoder
from styleplugin.loading.convert.collaborative_distillation import EmbeddedEncoder
from styleplugin.networks.padding import pad_in_channels_last
from styleplugin.train.data.augment import random_crops
from styleplugin.train.data.pictures import step_generator
from styleplugin.train.loop.logbook import Row
from styleplugin.train.loop.setting import Setting
from styleplugin.train.networks.parts import load_part, save_part
from styleplugin.train.networks.start import start_student_encoder
from styleplugin.train.networks.teachers import LossNetwork, build_loss_network
from styleplugin.train.pruning.filters import dead_fraction
from styleplugin.train.recipe.config import EncoderRecipe
from styleplugin.train.recipe.options import PhaseOptions
from styleplugin.train.runs.feature_metric import solve_metrics
from styleplugin.train.runs.phases import MEASURED, SHEET, PhasedRun
from styleplugin.transforms.losses import feature_distance

METRIC_PICTURES = 200
"""Pictures of each kind for the metrics."""


class EncoderTrainable:
    """An encoder with its embeddings."""

    def __init__(self, encoder: EmbeddedEncoder) -> None:
        self.trained = encoder.requires_grad_(True)


class EmbeddingTask(nn.Module):
    """Loss network and encoder; the loss is how far the embeddings are from the loss network's features.

    Source: Wang et al. 2020, embedding loss.
    """

    def __init__(self, loss_network: LossNetwork, encoder: EmbeddedEncoder) -> None:
        super().__init__()
        self.loss_network, self.encoder = loss_network, encoder

    def forward(self, content: Tensor) -> dict[str, Tensor]:
        """Return "loss" for (N, 3, H, W) in [0, 1]."""
        with torch.no_grad():
            judged = self.loss_network.features(content)
        return {"loss": feature_distance(self.encoder.features(content), judged)}  # type: ignore[operator]


class EncoderRun(PhasedRun):
    """An encoder of the optimization."""

    target = "encoder.safetensors"
    recipe: EncoderRecipe

    def __init__(self, recipe: EncoderRecipe, out: Path, setting: Setting) -> None:
        super().__init__(recipe, out, setting)
        self.load_styles()
        self.loss_network = build_loss_network(recipe.teacher, recipe.level, self.probes.cpu()).to(self.device)

    def held_out_batch(self) -> dict[str, Tensor]:
        """Return photographs and artworks."""
        return {"content": torch.cat(self.held_out_pairs(MEASURED))}

    def batch(self, phase: str, count: int, step: int) -> dict[str, Tensor]:
        """Return photographs and artworks, half of each."""
        generator = step_generator(self.recipe.seed, phase, step)
        assert self.style is not None
        sets = ((self.content, count - count // 2), (self.style, count // 2))
        return {"content": torch.cat([random_crops(part, n, self.recipe.data, generator) for part, n in sets if n])}

    def begin(self, phase: str) -> EncoderTrainable:
        """Prune or reconstruct the teacher."""
        assert self.style is not None
        styles = self.style.center_crops(self.recipe.data.crop, len(self.probes))
        encoder, self._keeps = start_student_encoder(self.recipe, self.loss_network, self.probes, styles)
        return EncoderTrainable(encoder)

    def task(self, trainable: EncoderTrainable, options: PhaseOptions) -> EmbeddingTask:
        """Return the loss."""
        task = EmbeddingTask(self.loss_network, trainable.trained)
        task.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        pad_in_channels_last(task)
        return task

    @torch.no_grad()
    def validate(self, task: EmbeddingTask, trainable: EncoderTrainable) -> tuple[Row, list[Tensor]]:
        """Return the share of the loss network's deepest features that the embedding leaves over."""
        images = self.validation[:SHEET]
        embedded, judged = task.encoder.features(images)[-1], self.loss_network.features(images)[-1]  # type: ignore[operator]
        left = float((embedded - judged).square().mean() / judged.square().mean())
        dead = dead_fraction(trainable.trained.encoder, self.validation)
        return {"unexplained": round(left, 4), "dead": round(dead, 4)}, [images]

    def student(self, phase: str, trainable: EncoderTrainable) -> None:
        """Return nothing: an encoder is no model that paints; its run can be stopped and resumed like any other."""

    def write_part(self, path: Path, phase: str, trainable: EncoderTrainable, card: dict[str, Any]) -> None:
        """Write encoder and embeddings."""
        save_part(path, phase, trainable.trained.cpu(), card | {"keeps": self._keeps})

    def write_model(self, target: Path) -> None:
        """Solve for the metrics and write the encoder with them."""
        part, started = load_part(self.result("student_encoder"), "student_encoder")
        assert isinstance(part, EmbeddedEncoder)
        encoder = part.encoder.to(self.device)
        assert self.style is not None
        training, held_out = (self.content, self.style), (self.held_out, self.style_held_out)
        crop = self.recipe.data.crop
        roots, left = solve_metrics(
            encoder, self.loss_network.to(self.device), training, held_out, crop, METRIC_PICTURES
        )
        dead = dead_fraction(encoder, self.validation)
        card = self.evaluated({"unexplained": max(left.values()), "dead": dead, **left})
        card["keeps"] = started["keeps"]
        save_encoder(target, encoder.cpu(), roots, license=self.recipe.license, card=card)

    def teacher_card(self) -> dict[str, Any]:
        """Return the loss network, for the card."""
        return {"sha256": self.loss_network.sources}
