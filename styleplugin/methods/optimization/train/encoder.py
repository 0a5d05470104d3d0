"""The run of an encoder alone, for the optimization: its linear embeddings must give the teacher's features.

No decoder learns and no picture is made, so that it is by far the cheapest student. At the end its metrics are solved
for (`feature_metric`) and go into its file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from typing_extensions import Doc

from styleplugin.errors import UsageError
from styleplugin.loading.build import save_encoder
from styleplugin.loading.convert.collaborative_distillation import EmbeddedEncoder
from styleplugin.methods.optimization.train.feature_metric import solve_metrics
from styleplugin.networks.vgg import VGGSpec, student_spec
from styleplugin.train.data.augment import random_crops
from styleplugin.train.loop.logbook import Row
from styleplugin.train.loop.setting import Setting
from styleplugin.train.networks.teachers import LossNetwork
from styleplugin.train.pairs.parts import load_part, save_part
from styleplugin.train.pairs.recipe import IMPORTANCE, RULES, student_widths
from styleplugin.train.pairs.start import start_student_encoder
from styleplugin.train.pruning.filters import Keeps, dead_fraction
from styleplugin.train.recipe.choices import Choices
from styleplugin.train.recipe.options import PhaseOptions, RunRecipe
from styleplugin.train.runs.phase import MEASURED, Phase
from styleplugin.train.runs.run import PhasedRun
from styleplugin.train.runs.training import SHEET, Training
from styleplugin.transforms.losses import feature_distance

METRIC_PICTURES = 200
"""Pictures of each kind for the metrics."""


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


class StudentEncoder(Phase):
    """The encoder and its embeddings."""

    name = "student_encoder"
    training: EncoderTraining
    keeps: Keeps

    def begin(self) -> EncoderTrainable:
        """Prune or reconstruct the teacher."""
        training, recipe = self.training, self.training.recipe
        encoder, self.keeps = start_student_encoder(
            recipe,
            recipe.student,
            recipe.importance,
            training.loss_network,
            training.probes,
            training.starting_styles(),
        )
        return EncoderTrainable(encoder)

    def batch(self, count: int, step: int) -> dict[str, Tensor]:
        """Return photographs and artworks, half of each."""
        training, generator = self.training, self.generator(step)
        assert training.style is not None
        sets = ((training.content, count - count // 2), (training.style, count // 2))
        crops = [random_crops(pictures, n, training.recipe.data, generator) for pictures, n in sets if n]
        return {"content": torch.cat(crops)}

    def held_out_batch(self) -> dict[str, Tensor]:
        """Return photographs and artworks."""
        return {"content": torch.cat(self.training.held_out_pairs(MEASURED))}

    def task(self, trainable: EncoderTrainable) -> EmbeddingTask:
        """Return the loss."""
        return EmbeddingTask(self.training.loss_network, trainable.trained)

    @torch.no_grad()
    def validate(self, task: EmbeddingTask, trainable: EncoderTrainable) -> tuple[Row, list[Tensor]]:
        """Return the share of the loss network's deepest features that the embedding leaves over."""
        images = self.training.validation[:SHEET]
        judged = self.training.loss_network.features(images)[-1]
        embedded = task.encoder.features(images)[-1]  # type: ignore[operator]
        left = float((embedded - judged).square().mean() / judged.square().mean())
        dead = dead_fraction(trainable.trained.encoder, self.training.validation)
        return {"unexplained": round(left, 4), "dead": round(dead, 4)}, [images]

    def write(self, path: Path, trainable: EncoderTrainable, card: dict[str, Any]) -> None:
        """Write encoder and embeddings, and which channels of the teacher they began with."""
        save_part(path, self.name, trainable.trained.cpu(), card | {"keeps": self.keeps})


class EncoderTraining(Training):
    """An encoder of the optimization at work."""

    phase_types = (StudentEncoder,)
    recipe: EncoderRecipe

    def __init__(self, run: EncoderRun, setting: Setting) -> None:
        super().__init__(run, setting)
        self.load_styles()
        self.load_loss_network(self.recipe.level)

    def write_model(self, target: Path) -> None:
        """Solve for the metrics and write the encoder with them."""
        part, started = load_part(self.result_of(StudentEncoder), StudentEncoder.name)
        assert isinstance(part, EmbeddedEncoder)
        encoder = part.encoder.to(self.device)
        assert self.style is not None
        training, held_out = (self.content, self.style), (self.held_out, self.style_held_out)
        crop = self.recipe.data.crop
        roots, left = solve_metrics(encoder, self.loss_network, training, held_out, crop, METRIC_PICTURES)
        dead = dead_fraction(encoder, self.validation)
        card = self.evaluated({"unexplained": max(left.values()), "dead": dead, **left})
        card["keeps"] = started["keeps"]
        save_encoder(target, encoder.cpu(), roots, license=self.recipe.license, card=card)


class EncoderRun(PhasedRun):
    """An encoder of the optimization."""

    recipe_type = EncoderRecipe
    target_name = "encoder.safetensors"
    method = "encoder"
    needs_styles = True
    training = EncoderTraining

    @staticmethod
    def preset(choices: Choices) -> EncoderRecipe:
        """Return the recipe of a new encoder."""
        level = max(choices.levels, default=5)
        return EncoderRecipe(
            level=level,
            widths=student_widths(level, choices),
            importance=choices.importance,
            student_encoder=PhaseOptions(steps=1500, batch=choices.batch, lr=0.01),
            **choices.settings("my-encoder"),
        )
