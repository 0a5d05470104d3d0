"""A phase of a training: what it begins with, what it learns from, what it shows, and what it leaves."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from styleplugin.networks.model import StyleModel
from styleplugin.train.data.augment import random_crops
from styleplugin.train.data.pictures import step_generator
from styleplugin.train.loop.fit import Stepper
from styleplugin.train.loop.logbook import Row
from styleplugin.train.pruning.filters import REINITIALIZE_UNTIL, reinitialize
from styleplugin.train.recipe.options import PhaseOptions

if TYPE_CHECKING:
    from styleplugin.train.runs.training import Training

MEASURED = 16
"""Pictures for the validation loss."""


class Trainable(Protocol):
    """What a phase works on."""

    trained: nn.Module
    """The part that learns."""


class Phase:
    """One phase; a kind of student has a class for each of its phases, or one for several.

    Args:
        training: The run at work: recipe, pictures, networks, folder.
    """

    name: str
    """In recipe, log and card."""
    seed_name: str = ""
    """What seeds its random numbers and names its files, and so never changes; its name, where a class says nothing."""
    teaches_only = False
    """Whether its result teaches the student and is no part of it."""
    stepper: type[Stepper] = Stepper

    def __init__(self, training: Training) -> None:
        self.training = training
        self.seed_name = self.seed_name or self.name

    @property
    def options(self) -> PhaseOptions:
        """What the recipe says of it."""
        return self.training.recipe.phase(self.name)

    @property
    def result(self) -> Path:
        """The file that it leaves."""
        return self.training.out / f"{self.seed_name}.safetensors"

    def generator(self, step: int, purpose: str = "") -> torch.Generator:
        """Return the random numbers of a step, on the CPU; those for another purpose are others."""
        return step_generator(self.training.recipe.seed, f"{purpose} {self.seed_name}".lstrip(), step)

    def begin(self) -> Trainable:
        """Build what is trained, from the files of the phases before."""
        raise NotImplementedError

    def task(self, trainable: Any) -> nn.Module:
        """Return the module that turns a batch into losses."""
        raise NotImplementedError

    def batch(self, count: int, step: int) -> dict[str, Tensor]:
        """Return the arguments of the task, (N, 3, crop, crop) each; a pure function of the step."""
        training, generator = self.training, self.generator(step)
        if training.lessons is not None and self.options.learns_from_pictures:
            return training.lessons.batch(count, step, generator)
        sets = {"content": training.content} | ({} if training.style is None else {"style": training.style})
        return {name: random_crops(pictures, count, training.recipe.data, generator) for name, pictures in sets.items()}

    def held_out_batch(self) -> dict[str, Tensor]:
        """Return the arguments of the task for the validation loss."""
        training, lessons = self.training, self.training.lessons
        if training.style is None:
            return {"content": training.validation[:MEASURED]}
        content, style = training.held_out_pairs(MEASURED)
        batch = {"content": content, "style": style}
        return batch if lessons is None else batch | {"picture": lessons.painter.paint(content, style)}

    def validate(self, task: Any, trainable: Any) -> tuple[Row, list[Tensor]]:
        """Return figures, and the rows of a contact sheet, (N, 3, H, W) each."""
        raise NotImplementedError

    def students(self, trainable: Any, images: Tensor) -> Iterable[tuple[Any, Tensor]]:
        """Return the networks whose dead channels are reinitialized, and what each of them sees of the images."""
        return ()

    def reinitialize(self, trainable: Any, step: int, steps: int) -> Row:
        """Reinitialize dead channels after a validation, the same ones at the same step; return how many."""
        if step > REINITIALIZE_UNTIL * steps:
            return {}
        students, generator = self.students(trainable, self.training.probes), self.generator(step, "revive")
        counts = [reinitialize(network, inputs, generator) for network, inputs in students]
        return {"revived": sum(counts)} if counts else {}

    def student(self, trainable: Any) -> StyleModel | None:
        """Return a copy of the student as it is now, on the CPU; None in phases that have none yet."""
        return None

    def write(self, path: Path, trainable: Any, card: dict[str, Any]) -> None:
        """Write the result."""
        raise NotImplementedError
