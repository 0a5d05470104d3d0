"""The run of a KBStyle model: a teacher of the same design, then the student by symmetric distillation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from styleplugin.loading.build import save_model
from styleplugin.methods.kbstyle.model import KBModel
from styleplugin.networks.layers import drawn_from
from styleplugin.networks.model import StyleModel, load_tensors
from styleplugin.networks.padding import pad_in_channels_last
from styleplugin.tensorfile import TEACHER, read_weights, write_weights
from styleplugin.train.data.pictures import step_generator
from styleplugin.train.evaluation.figures import evaluate_stylization, reconstruction_psnr
from styleplugin.train.loop.logbook import Row
from styleplugin.train.loop.setting import Setting
from styleplugin.train.networks.teachers import build_loss_network
from styleplugin.train.recipe.config import KBRecipe
from styleplugin.train.recipe.options import PhaseOptions
from styleplugin.train.runs.phases import SHEET, PhasedRun, started_from
from styleplugin.train.tasks.kbstyle import WEIGHTS, KBTask, KBTrainable


class KBRun(PhasedRun):
    """A teacher and its student."""

    target = "student.safetensors"
    recipe: KBRecipe

    def __init__(self, recipe: KBRecipe, out: Path, setting: Setting) -> None:
        super().__init__(recipe, out, setting)
        self.load_styles()
        self.loss_network = build_loss_network(recipe.teacher, 4, self.probes.cpu()).to(self.device)
        self.load_lessons(self.loss_network)

    def begin(self, phase: str) -> KBTrainable:
        """Draw a new model, or take the student that is to be polished; give it its teacher, if it learns from it."""
        options = self.recipe.phase(phase)
        teacher = self._read("big") if phase != "big" and options.learns_from_teacher else None
        with drawn_from(step_generator(self.recipe.seed, f"start {phase}", 0)):
            if phase == "polish":
                return KBTrainable(self._read("small"), teacher)
            if options.init:
                return KBTrainable(started_from(KBModel(self.recipe.spec), options.init), teacher)
            return KBTrainable(KBModel(self.recipe.big_spec if phase == "big" else self.recipe.spec), teacher)

    def _read(self, phase: str) -> KBModel:
        weights = read_weights(self.result(phase), limits=TEACHER)
        model = KBModel(self.recipe.big_spec if phase == "big" else self.recipe.spec)
        load_tensors(model, weights.tensors, weights.path.name)
        return model

    def task(self, trainable: KBTrainable, options: PhaseOptions) -> KBTask:
        """Return the losses."""
        weights = {name: getattr(options, name) for name in WEIGHTS}
        task = KBTask(self.loss_network, trainable, weights, self.recipe.style_levels)
        task.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        pad_in_channels_last(task)
        return task

    def validate(self, task: KBTask, trainable: KBTrainable) -> tuple[Row, list[torch.Tensor]]:
        """Return figures, and stylizations."""
        contents, styles = self.held_out_pairs(SHEET)
        with self.autocast():
            output = task.stylize(contents, styles)
        return self._figures(trainable.model), [contents, styles, output]

    def student(self, phase: str, trainable: KBTrainable) -> KBModel | None:
        """Return a copy of the student."""
        if phase == "big":
            return None
        model = KBModel(self.recipe.spec)
        load_tensors(model, {key: value.cpu() for key, value in trainable.model.state_dict().items()}, "the student")
        return model

    @torch.no_grad()
    def _figures(self, model: KBModel) -> dict[str, float]:
        """Return how the validation pictures are reconstructed and stylized, in float32."""
        contents, styles = self.held_out_pairs(len(self.validation))
        pairs = zip(contents.split(SHEET), styles.split(SHEET), strict=True)
        outputs = torch.cat([model(content, style).clamp(0, 1) for content, style in pairs])
        psnr = round(reconstruction_psnr(model, self.validation, SHEET), 3)
        return {"psnr": psnr} | evaluate_stylization(self.loss_network, contents, styles, outputs)

    def write_part(self, path: Path, phase: str, trainable: KBTrainable, card: dict[str, Any]) -> None:
        """Write the model; the embeddings are dropped."""
        spec = trainable.model.spec.to_dict()
        metadata = {"architecture": f"training-{phase}", "spec": spec, "card": card}
        write_weights(path, trainable.model.cpu().state_dict(), metadata)

    def write_model(self, target: Path) -> None:
        """Write the student with its figures, and beside it the same in half precision."""
        model = self._read(self.phases[-1]).to(self.device)
        metrics = self._figures(model)
        self.write_student(target, model.cpu(), self.evaluated(metrics))

    def write_student(self, target: Path, student: StyleModel, card: dict[str, Any]) -> None:
        """Write a student, and beside it the same in half precision."""
        half = target.with_stem(f"{target.stem}-fp16")
        for path, dtype in ((target, torch.float32), (half, torch.float16)):
            save_model(path, student, license=self.recipe.license, card=card, dtype=dtype)

    def teacher_card(self) -> dict[str, Any]:
        """Return the loss network, for the card."""
        return {"sha256": self.loss_network.sources}
