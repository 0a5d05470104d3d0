"""A run at work: its pictures and networks, and its phases one after the other."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from styleplugin.loading.build import save_model
from styleplugin.networks.model import StyleModel, load_tensors
from styleplugin.networks.padding import pad_in_channels_last
from styleplugin.tensorfile import TEACHER, read_weights
from styleplugin.train.data.lessons import Lessons
from styleplugin.train.data.pictures import Pictures
from styleplugin.train.evaluation.gate import verdict
from styleplugin.train.evaluation.page import write_page
from styleplugin.train.loop.backend import backend_settings
from styleplugin.train.loop.logbook import Logbook
from styleplugin.train.loop.setting import Setting
from styleplugin.train.loop.state import read_card
from styleplugin.train.networks.teachers import LossNetwork, build_loss_network
from styleplugin.train.recipe.options import RunRecipe
from styleplugin.train.recipe.plan import Plan, peak_memory_mb
from styleplugin.train.runs.painter import load_painter
from styleplugin.train.runs.phase import Phase
from styleplugin.train.runs.phase_loop import BEST, LATEST, PhaseLoop
from styleplugin.train.runs.run import PhasedRun, identity_of, recipe_for_card

PROBES = 64
"""Pictures for dead channels and validation."""
SHEET = 8
"""Columns of a contact sheet."""

Network = TypeVar("Network", bound=nn.Module)


class Training:
    """A run at work; a kind of student says which phases it has, and how the whole is evaluated and written.

    Args:
        run: What is asked for.
        setting: Where, how long, and who listens.
    """

    phase_types: tuple[type[Phase], ...]
    """In their order; those that the recipe names are done."""
    loss_network: LossNetwork
    style: Pictures | None = None
    """For methods that are trained with styles."""
    lessons: Lessons | None = None
    """For students that learn from pictures."""
    style_probes: Tensor
    """Validation styles, as many as there are validation contents at most."""

    def __init__(self, run: PhasedRun, setting: Setting) -> None:
        self.run, self.setting, self.out = run, setting, run.out
        self.recipe: RunRecipe = run.recipe
        self.device = setting.place
        self.log = Logbook(self.out, setting.on_event, silent=not setting.workers.is_main)
        self.steps_done: dict[str, int] = {}
        data = self.recipe.data
        self.content, self.held_out = setting.pictures(data, styles=False)
        self.probes = self.content.center_crops(data.crop, PROBES)
        self.validation = self.held_out.center_crops(data.crop, PROBES)
        self.identity = identity_of(self.recipe.to_dict()) | {"pictures": [self.content.fingerprint]}
        self.phases = self.make_phases()
        for phase in self.phases:
            setting.workers.check(phase.options.batch)

    def make_phases(self) -> list[Phase]:
        """Return the phases in their order."""
        return [kind(self) for kind in self.phase_types if kind.name in self.recipe.phases]

    def result_of(self, kind: type[Phase]) -> Path:
        """Return the file that a phase leaves."""
        return self.out / f"{kind.seed_name or kind.name}.safetensors"

    def load_styles(self) -> None:
        """Load the artworks of the recipe."""
        self.style, self.style_held_out = self.setting.pictures(self.recipe.data, styles=True)
        self.style_probes = self.style_held_out.center_crops(self.recipe.data.crop, PROBES)
        self.identity["pictures"].append(self.style.fingerprint)

    def load_loss_network(self, level: int) -> None:
        """Build the loss network, 1 to 5 levels deep."""
        self.loss_network = build_loss_network(self.recipe.teacher, level, self.probes.cpu()).to(self.device)

    def load_lessons(self) -> None:
        """Load the painter of the recipe, if there is one; the loss network measures the styles of its pictures."""
        if self.recipe.teacher.painter:
            assert self.style is not None
            painter, folder = load_painter(self.recipe.teacher.painter, self.device), self.run.shared
            self.lessons = Lessons(self.recipe, painter, self.loss_network, self.content, self.style, folder)

    def starting_styles(self) -> Tensor | None:
        """Return training styles, (N, 3, crop, crop), as many as there are probes at most; None without styles."""
        return None if self.style is None else self.style.center_crops(self.recipe.data.crop, len(self.probes))

    def held_out_pairs(self, count: int) -> tuple[Tensor, Tensor]:
        """Return contents and styles of the validation sets, (N, 3, crop, crop), as many of each."""
        count = min(count, len(self.validation), len(self.style_probes))
        return self.validation[:count], self.style_probes[:count]

    def prepared(self, task: Network) -> Network:
        """Return a task on the device, in its fastest layout."""
        task.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        pad_in_channels_last(task)
        return task

    def autocast(self) -> torch.autocast:
        """Return the precision of the forward pass."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16")

    def train(self) -> None:
        """Train the phases that have no result yet, and write the model."""
        with self._backend():
            for phase in self.phases:
                self.setting.check_stop()
                done = read_card(phase.result)["steps"] if phase.result.exists() else PhaseLoop(self, phase).train()
                self.steps_done[phase.name] = done
        if self.setting.workers.is_main:
            self.write_model(self.run.target)
            for name in (BEST, LATEST):
                (self.out / name).unlink(missing_ok=True)
            self.log.plot()
            write_page(self.out)
        self.setting.workers.wait()

    def dry_run(self) -> Plan:
        """Begin every phase without a result, and measure some steps and a checkpoint."""
        plans = []
        with self._backend():
            for phase in self.phases:
                self.setting.check_stop()
                if not phase.result.exists() and (plan := PhaseLoop(self, phase).measure()):
                    plans.append(plan)
        disk = sum(path.stat().st_size for path in self.out.rglob("*.safetensors"))
        # Two checkpoints are kept while a third one is written.
        return Plan(
            phases=tuple(plans),
            device=str(self.device),
            memory_mb=peak_memory_mb(self.device),
            disk_mb=(3 * disk >> 20) + 1,
        )

    def _backend(self) -> AbstractContextManager[None]:
        return backend_settings(self.device, keep_memory=self.setting.owns_process)

    def write_model(self, target: Path) -> None:
        """Evaluate and write the finished model."""
        raise NotImplementedError

    def write_student(self, target: Path, student: StyleModel, card: dict[str, Any]) -> None:
        """Write a student as it is distributed."""
        save_model(target, student, license=self.recipe.license, card=card)

    def evaluated(self, metrics: dict[str, Any]) -> dict[str, Any]:
        """Log the figures of the finished student and the verdict of the gate; return its card."""
        gate = verdict(self.recipe, metrics)
        self.log.write(event="evaluated", **metrics)
        self.log.write(event="gate", **gate)
        return self.card(metrics) | {"gate": gate}

    def card(self, metrics: dict[str, Any]) -> dict[str, Any]:
        """Return what the model was trained with, and its figures: the card, JSON data."""
        return {
            "name": self.recipe.name,
            "recipe": recipe_for_card(self.recipe),
            "teacher": self.teacher_card() | self._painter_card(),
            "data": self.data_card(),
            "steps": self.steps_done,
            "seed": self.recipe.seed,
            "continues": self.continued(),
            "metrics": metrics,
        }

    def teacher_card(self) -> dict[str, Any]:
        """Return the loss network, for the card."""
        return {"sha256": self.loss_network.sources}

    def _painter_card(self) -> dict[str, Any]:
        if self.lessons is None:
            return {}
        painter = self.lessons.painter
        return {"painter": {painter.name: painter.sha256}}

    def data_card(self) -> dict[str, Any]:
        """Return what is known about the pictures, for the card."""
        data = self.recipe.data
        return {
            "name": data.name,
            "pictures": {"training": len(self.content), "validation": len(self.held_out)}
            | ({"styles": len(self.style)} if self.style else {}),
            "held out": self.content.fingerprint != self.held_out.fingerprint,
            "fingerprint": self.identity["pictures"],
            "prepared": f"shorter side {data.short_side} px, random crops of {data.crop} px, flipped",
        }

    def continued(self) -> list[str]:
        """Return the sha256 of the finished files that the run goes on from; none where it begins anew."""
        inits = {phase.options.init for phase in self.phases if not phase.teaches_only} - {""}
        return sorted({read_weights(init, limits=TEACHER).sha256 for init in inits})


def fill(model: Network, weights: nn.Module | str | Path) -> Network:
    """Fill a model, on the CPU in float32, with the weights of another one of its architecture, or of a file.

    Raises:
        WeightsError: See `read_weights`; SP308 to SP310, the shapes are others.
    """
    if isinstance(weights, nn.Module):
        tensors, name = weights.state_dict(), "the student"
    else:
        file = read_weights(weights, limits=TEACHER)
        tensors, name = file.tensors, file.path.name
    load_tensors(model, {key: value.cpu().float() for key, value in tensors.items()}, name)
    return model
