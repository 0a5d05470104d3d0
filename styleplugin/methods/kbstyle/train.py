"""KBStyle: strokes and palette of a style on the content's shapes; a student learns from its teacher, symmetrically.

The paper's own losses and weights could not be read (see `styleplugin.methods.kbstyle.model`); these are ours. Content
loss after Huang and Belongie 2017 on normalized features, so that colors are free; style loss as theirs, relative and
weighted by level; identity loss after Park and Lee 2019.
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
from styleplugin.methods.kbstyle.model import KBModel, KBSpec, KBTrace, statistics
from styleplugin.networks.layers import Pointwise, drawn_from
from styleplugin.networks.model import StyleModel
from styleplugin.tensorfile import write_weights
from styleplugin.train.evaluation.figures import evaluate_stylization, reconstruction_psnr
from styleplugin.train.loop.logbook import Row
from styleplugin.train.loop.setting import Setting
from styleplugin.train.networks.teachers import LossNetwork, wanted_statistics
from styleplugin.train.recipe.choices import Choices
from styleplugin.train.recipe.options import PhaseOptions, RunRecipe
from styleplugin.train.runs.phase import Phase
from styleplugin.train.runs.run import PhasedRun
from styleplugin.train.runs.training import SHEET, Training, fill
from styleplugin.transforms.losses import (
    content_error,
    grid_error,
    mse,
    picture_errors,
    relative_error,
    statistics_error,
    statistics_of,
    weigh,
)
from styleplugin.transforms.weave import weave_error

DISTILLED = ("encoder", "decoder", "code", "output")
WEIGHTS = ("content", "style", "pixel", "grid", "weave", "taught", "picture", *DISTILLED)
"""Parts of the loss, names of fields of `PhaseOptions`; those distilled need a teacher."""


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
    teacher_network: Annotated[PhaseOptions, Doc("The teacher; without steps there is none.")] = field(
        default_factory=lambda: PhaseOptions(steps=0)
    )
    student_network: Annotated[
        PhaseOptions, Doc("The student; with encoder, decoder, code and output at 0 it learns without a teacher.")
    ]
    fine_tune: Annotated[
        PhaseOptions,
        Doc("The student once more, from where it got to: a phase that takes away the grid of the upsampling."),
    ] = field(default_factory=lambda: PhaseOptions(steps=0))

    def __post_init__(self) -> None:
        assert self.spec.blocks == self.teacher_spec.blocks  # making them checks the widths
        learns = self.student_network.learns_from_teacher or self.fine_tune.learns_from_teacher
        if learns and not self.teacher_network.steps:
            raise UsageError(
                "SP121",
                "A phase learns from the teacher, but teacher_network has no steps.",
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
        names = ("teacher_network", "student_network", "fine_tune")
        return tuple(name for name in names if name == "student_network" or self.phase(name).steps)

    @property
    def spec(self) -> KBSpec:
        """Spec of the student."""
        return KBSpec(widths=self.widths, blocks=self.blocks)  # type: ignore[arg-type]

    @property
    def teacher_spec(self) -> KBSpec:
        """Spec of the teacher."""
        return KBSpec(widths=self.teacher_widths, blocks=self.blocks)  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        lists = {name: list(getattr(self, name)) for name in ("widths", "teacher_widths", "style_levels")}
        return super().to_dict() | lists


class KBTrainable:
    """A model, and for a student its teacher and the embeddings between them."""

    def __init__(self, model: KBModel, teacher: KBModel | None = None) -> None:
        """Freeze the teacher; the embeddings learn with the student, and are dropped after."""
        self.model = model.requires_grad_(True).train()
        self.teacher = teacher
        self.embeddings = nn.ModuleList()
        if teacher is not None:
            full, half, quarter = zip(model.spec.widths, teacher.spec.widths, strict=True)
            for narrow, wide in (full, half, quarter, quarter):
                self.embeddings.append(Pointwise(narrow, wide, bias=False))
        self.trained = nn.ModuleDict({"model": self.model, "embeddings": self.embeddings})


class KBTask(nn.Module):
    """A step of training: owns model, loss network and teacher, returns the losses."""

    def __init__(
        self,
        loss_network: LossNetwork,
        trainable: KBTrainable,
        weights: dict[str, float],
        style_levels: Sequence[float],
    ) -> None:
        """Keep the weights of the loss's parts, by `WEIGHTS`, and of the loss network's levels in the style loss."""
        super().__init__()
        self.loss_network, self.model, self.teacher = loss_network, trainable.model, trainable.teacher
        self.embeddings = trainable.embeddings
        self.weights, self.style_levels = weights, style_levels

    def forward(
        self, content: Tensor, style: Tensor, picture: Tensor | None = None, statistics: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return "loss" and its parts; a quarter of contents and styles are also their own style and must come back.

        Args:
            content: (N, 3, H, W) in [0, 1].
            style: Of the same shape.
            picture: Of the same shape: a painter's.
            statistics: Of the styles as the loss network sees them, `joined`, where they are known.
        """
        count, own = len(content), max(1, len(content) // 4)
        same = [content[:own], style[:own]]
        contents, styles = torch.cat([content, *same]), torch.cat([style, *same])
        trace = self.model.trace(contents, styles)
        seen = self.loss_network.features(trace.output[:count])
        wanted = wanted_statistics(self.loss_network, style, statistics, seen)
        parts = {
            "style": statistics_error(statistics_of(seen), wanted, self.style_levels),
            "pixel": mse(trace.output[count:], contents[count:]),
        }
        if self.weights["content"]:
            with torch.no_grad():
                shapes = self.loss_network(content)
            parts["content"] = content_error(seen[-1], shapes)
        if picture is not None:
            with torch.no_grad():
                shown = self.loss_network.features(picture)
            parts |= picture_errors(trace.output[:count], seen, picture, shown)
        if self.weights["grid"]:
            parts["grid"] = grid_error(trace.output)
        if self.weights["weave"]:
            parts["weave"] = weave_error(trace.output[:count], content)
        if self.teacher is not None and any(self.weights[name] for name in DISTILLED):
            with torch.no_grad():
                taught = self.teacher.trace(contents, styles)
            parts |= self._distilled(trace, taught)
        return weigh(parts, self.weights)

    def _distilled(self, trace: KBTrace, taught: KBTrace) -> dict[str, Tensor]:
        """Compare a student with its teacher, through one embedding for both mirrored stages."""

        def distance(own: Sequence[Tensor], theirs: Sequence[Tensor]) -> Tensor:
            pairs = zip(self.embeddings, own, theirs, strict=True)
            return torch.stack([relative_error(embed(a), b) for embed, a, b in pairs]).mean()

        codes = []
        for stage in (3, 1):
            mean, deviation = statistics(self.embeddings[stage](trace.styles[stage]))
            for value, target in zip((mean, deviation), statistics(taught.styles[stage]), strict=True):
                codes.append(relative_error(value, target))
        return {
            "encoder": distance(trace.contents, taught.contents) + distance(trace.styles, taught.styles),
            "decoder": distance(trace.mirrors, taught.mirrors),
            "code": torch.stack(codes).mean(),
            "output": relative_error(trace.output, taught.output),
        }

    @torch.no_grad()
    def stylize(self, content: Tensor, style: Tensor) -> Tensor:
        """Stylize contents with styles of the same number, for contact sheets."""
        return self.model(content, style)


class KBPhase(Phase):
    """A phase of KBStyle."""

    training: KBTraining

    @property
    def spec(self) -> KBSpec:
        """Spec of what is trained."""
        return self.training.recipe.spec

    def teacher(self) -> KBModel | None:
        """Return the teacher, if the phase learns from it."""
        if not self.options.learns_from_teacher:
            return None
        return fill(KBModel(self.training.recipe.teacher_spec), self.training.result_of(TeacherNetwork))

    def model(self) -> KBModel:
        """Return what is trained: drawn at random, or a finished file."""
        model = KBModel(self.spec)
        return fill(model, self.options.init) if self.options.init else model

    def begin(self) -> KBTrainable:
        """Give the model its teacher, if it learns from it."""
        teacher = self.teacher()
        with drawn_from(self.generator(0, "start")):
            return KBTrainable(self.model(), teacher)

    def task(self, trainable: KBTrainable) -> KBTask:
        """Return the losses."""
        weights = {name: getattr(self.options, name) for name in WEIGHTS}
        return KBTask(self.training.loss_network, trainable, weights, self.training.recipe.style_levels)

    def validate(self, task: KBTask, trainable: KBTrainable) -> tuple[Row, list[Tensor]]:
        """Return figures, and stylizations."""
        contents, styles = self.training.held_out_pairs(SHEET)
        with self.training.autocast():
            output = task.stylize(contents, styles)
        return self.training.figures(trainable.model), [contents, styles, output]

    def student(self, trainable: KBTrainable) -> KBModel | None:
        """Return a copy of the student."""
        return fill(KBModel(self.training.recipe.spec), trainable.model)

    def write(self, path: Path, trainable: KBTrainable, card: dict[str, Any]) -> None:
        """Write the model; the embeddings are dropped."""
        spec = trainable.model.spec.to_dict()
        metadata = {"architecture": f"training-{self.seed_name}", "spec": spec, "card": card}
        write_weights(path, trainable.model.cpu().state_dict(), metadata)


class TeacherNetwork(KBPhase):
    """The teacher."""

    name, seed_name = "teacher_network", "big"

    @property
    def spec(self) -> KBSpec:
        """Spec of the teacher."""
        return self.training.recipe.teacher_spec

    def teacher(self) -> None:
        """Return nothing: nobody teaches it."""

    def student(self, trainable: KBTrainable) -> None:
        """Return nothing: there is no student yet."""


class StudentNetwork(KBPhase):
    """The student."""

    name, seed_name = "student_network", "small"


class FineTune(KBPhase):
    """The student once more."""

    name, seed_name = "fine_tune", "polish"

    def model(self) -> KBModel:
        """Return the student from where it got to."""
        return fill(KBModel(self.spec), self.training.result_of(StudentNetwork))


class KBTraining(Training):
    """A teacher and its student at work."""

    phase_types = (TeacherNetwork, StudentNetwork, FineTune)
    recipe: KBRecipe

    def __init__(self, run: KBRun, setting: Setting) -> None:
        super().__init__(run, setting)
        self.load_styles()
        self.load_loss_network(4)
        self.load_lessons()

    @torch.no_grad()
    def figures(self, model: KBModel) -> dict[str, float]:
        """Return how the validation pictures are reconstructed and stylized, in float32."""
        contents, styles = self.held_out_pairs(len(self.validation))
        pairs = zip(contents.split(SHEET), styles.split(SHEET), strict=True)
        outputs = torch.cat([model(content, style).clamp(0, 1) for content, style in pairs])
        psnr = round(reconstruction_psnr(model, self.validation, SHEET), 3)
        return {"psnr": psnr} | evaluate_stylization(self.loss_network, contents, styles, outputs)

    def write_model(self, target: Path) -> None:
        """Write the student with its figures, and beside it the same in half precision."""
        model = fill(KBModel(self.recipe.spec), self.phases[-1].result).to(self.device)
        metrics = self.figures(model)
        self.write_student(target, model.cpu(), self.evaluated(metrics))

    def write_student(self, target: Path, student: StyleModel, card: dict[str, Any]) -> None:
        """Write a student, and beside it the same in half precision."""
        half = target.with_stem(f"{target.stem}-fp16")
        for path, dtype in ((target, torch.float32), (half, torch.float16)):
            save_model(path, student, license=self.recipe.license, card=card, dtype=dtype)


class KBRun(PhasedRun):
    """A KBStyle teacher and its student."""

    recipe_type = KBRecipe
    target_name = "student.safetensors"
    method = "kbstyle"
    needs_styles = True
    training = KBTraining

    @staticmethod
    def preset(choices: Choices) -> KBRecipe:
        """Return the recipe of a new student."""
        style = PhaseOptions(steps=1800, batch=choices.batch, lr=0.005, warmup=50, content=1.0, style=40.0, pixel=10.0)
        return KBRecipe(
            widths=choices.scaled(KBSpec().widths, 1.0),
            style_levels=(2.0, 1.5, 1.0, 1.0),
            teacher_network=style,
            student_network=replace(style, steps=3600, encoder=1.0, decoder=1.0, code=0.5, output=2.0),
            fine_tune=replace(style, steps=900, lr=0.002, warmup=25, style=60.0, grid=5.0),
            **choices.settings("my-kbstyle"),
        )
