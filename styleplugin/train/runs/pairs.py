"""The run of an encoder-decoder pair: full-width decoder, small encoder, small decoder, both together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styleplugin.loading.build import save_model
from styleplugin.loading.convert.collaborative_distillation import EmbeddedEncoder
from styleplugin.networks.model import load_tensors
from styleplugin.networks.padding import pad_in_channels_last
from styleplugin.networks.pairs import Pair, PairModel, PairSpec
from styleplugin.networks.vgg import Decoder, Encoder
from styleplugin.tensorfile import TEACHER, read_weights
from styleplugin.train.data.pictures import step_generator
from styleplugin.train.evaluation.figures import evaluate_pair, reconstruction_psnr
from styleplugin.train.loop.logbook import Row
from styleplugin.train.loop.setting import Setting
from styleplugin.train.networks.autoencoders import (
    WEIGHTS,
    Autoencoder,
    DistillTask,
    PruningAutoencoder,
    StudentDecoderAutoencoder,
    StudentEncoderAutoencoder,
    StudentPairAutoencoder,
    TeacherDecoderAutoencoder,
)
from styleplugin.train.networks.parts import load_part, load_pruned, read_card, save_part, save_pruned
from styleplugin.train.networks.start import (
    start_pruning,
    start_student_decoder,
    start_student_encoder,
    start_teacher_decoder,
)
from styleplugin.train.networks.teachers import build_loss_network
from styleplugin.train.pruning.filters import REINITIALIZE_UNTIL, dead_fraction, reinitialize
from styleplugin.train.recipe.config import Recipe
from styleplugin.train.recipe.options import PhaseOptions
from styleplugin.train.runs.phases import SHEET, PhasedRun
from styleplugin.train.tasks.pairs import ReconstructionTask, StylizationTask


class PairRun(PhasedRun):
    """A pair of Collaborative Distillation."""

    target = "pair.safetensors"
    teaching = ("teacher_decoder",)
    recipe: Recipe

    def __init__(self, recipe: Recipe, out: Path, setting: Setting, *, start: Recipe) -> None:
        super().__init__(recipe, out, setting)
        self.start = start
        """The recipe with the files that the phases begin with."""
        self.loss_network = build_loss_network(recipe.teacher, recipe.level, self.probes.cpu()).to(self.device)
        if recipe.method == "adain":
            self.load_styles()
            self.load_lessons(self.loss_network)

    def write_part(self, path: Path, phase: str, trainable: Autoencoder, card: dict[str, Any]) -> None:
        """Write the part that was trained, or what is left of those that were pruned."""
        if isinstance(trainable, PruningAutoencoder):
            self.log.write(event="pruned", forced=trainable.trained.pruner.finish())
            save_pruned(path, trainable.trained.cpu(), card)
            return
        keeps = {"keeps": self._keeps} if phase == "student_encoder" else {}
        save_part(path, phase, trainable.trained.cpu(), card | keeps)

    def write_model(self, target: Path) -> None:
        """Write the pair with its figures."""
        pair = self._pair()
        metrics = evaluate_pair(pair, self.validation.cpu())
        card = self.evaluated(metrics) | {"keeps": self._keep_lists()}
        save_model(target, PairModel(self.recipe.method, [pair]), license=self.recipe.license, card=card)

    def _keep_lists(self) -> dict[str, list[int]]:
        """Return the channels of the teacher that the student's layers began with; none where it grew or was drawn."""
        if "pruning" in self.phases:
            return read_weights(self.result("pruning"), limits=TEACHER).required("keeps", dict)
        started = read_card(self.result("student_encoder")).get("keeps", {})
        return {f"encoder.conv{conv}": keep for conv, keep in started.items()}

    def begin(self, phase: str) -> Autoencoder:
        """Build a phase from the files of the phases before it."""
        if phase == "teacher_decoder":
            return TeacherDecoderAutoencoder(start_teacher_decoder(self.start, self.loss_network, self.probes))
        if phase == "pruning":
            return PruningAutoencoder(start_pruning(self.recipe, self.loss_network, self._teacher_decoder()))
        if phase == "student_encoder":
            pruned, styles = self._pruned()[0], self._starting_styles()
            encoder, self._keeps = start_student_encoder(self.start, self.loss_network, self.probes, styles, pruned)
            return StudentEncoderAutoencoder(encoder, self._teacher_decoder())
        encoder, _ = load_part(self.result("student_encoder"), "student_encoder")
        assert isinstance(encoder, EmbeddedEncoder)
        if phase == "student_pair":
            decoder, _ = load_part(self.result("student_decoder"), "student_decoder")
            assert isinstance(decoder, Decoder)
            return StudentPairAutoencoder(encoder, decoder)
        decoder = start_student_decoder(
            self.start,
            encoder,
            self.loss_network,
            self._teacher_decoder,
            self.probes,
            self._starting_styles(),
            self._pruned()[1],
        )
        return StudentDecoderAutoencoder(encoder.encoder, decoder)

    def _starting_styles(self) -> Tensor | None:
        """Return training styles, as many as there are probes at most, where the method has styles."""
        return None if self.style is None else self.style.center_crops(self.recipe.data.crop, len(self.probes))

    def _teacher_decoder(self) -> Decoder:
        decoder, _ = load_part(self.result("teacher_decoder"), "teacher_decoder")
        assert isinstance(decoder, Decoder)
        return decoder

    def _pruned(self) -> tuple[Encoder, Decoder] | tuple[None, None]:
        """Return what the phase "pruning" has left, if the recipe has one."""
        return load_pruned(self.result("pruning")) if "pruning" in self.phases else (None, None)

    def task(self, trainable: Autoencoder, options: PhaseOptions) -> DistillTask:
        """Return the losses of the method."""
        weights = {name: getattr(options, name) for name in WEIGHTS}
        kind = StylizationTask if self.recipe.method == "adain" else ReconstructionTask
        task = kind(self.loss_network, trainable, weights, options.judged)
        task.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        pad_in_channels_last(task)
        return task

    def validate(self, task: DistillTask, trainable: Autoencoder) -> tuple[Row, list[Tensor]]:
        """Return PSNR and dead channels, and reconstructions, or stylizations for AdaIN."""
        contents = self.validation[:SHEET]
        with self.autocast():
            row: Row = {"psnr": round(reconstruction_psnr(task.reconstruct, self.validation, 16), 3)}
            rows = [contents, task.reconstruct(contents)]
            if isinstance(task, StylizationTask):
                contents, styles = self.held_out_pairs(SHEET)
                rows = [contents, styles, task.stylize(contents, styles)]
        if isinstance(trainable, PruningAutoencoder):
            row["to_prune"] = sum(groups.to_prune for groups in trainable.trained.pruner.groups)
        if seen := self._students(trainable, self.validation):
            row["dead"] = round(max(dead_fraction(network, inputs) for network, inputs in seen), 4)
        return row, rows

    def mend(self, phase: str, trainable: Autoencoder, step: int, steps: int) -> Row:
        """Reinitialize dead channels."""
        seen = self._students(trainable, self.probes)
        if not seen or step > REINITIALIZE_UNTIL * steps:
            return {}
        generator = step_generator(self.recipe.seed, f"revive {phase}", step)
        return {"revived": sum(reinitialize(network, inputs, generator) for network, inputs in seen)}

    @staticmethod
    @torch.no_grad()
    def _students(autoencoder: Autoencoder, images: Tensor) -> list[tuple[Any, Tensor]]:
        """Return the students in training and what each of them sees; none in the teacher's phases."""
        if isinstance(autoencoder, (TeacherDecoderAutoencoder, PruningAutoencoder)):
            return []
        if isinstance(autoencoder, StudentDecoderAutoencoder):
            return [(autoencoder.trained, autoencoder.encoder(images))]
        if isinstance(autoencoder, StudentPairAutoencoder):
            encoder = autoencoder.embedded.encoder
            return [(encoder, images), (autoencoder.decoder, encoder(images))]
        return [(autoencoder.trained.encoder, images)]

    def student(self, phase: str, trainable: Autoencoder) -> PairModel | None:
        """Return a copy of the pair in training."""
        if isinstance(trainable, StudentPairAutoencoder):
            return PairModel(self.recipe.method, [_join(trainable.embedded.encoder, trainable.decoder)])
        if isinstance(trainable, StudentDecoderAutoencoder):
            assert isinstance(trainable.trained, Decoder)
            return PairModel(self.recipe.method, [_join(trainable.encoder, trainable.trained)])
        return None

    def _pair(self) -> Pair:
        """Return the finished pair."""
        encoder, _ = load_part(self.result("student_pair"), "student_encoder")
        decoder, _ = load_part(self.result("student_pair"), "student_decoder")
        assert isinstance(encoder, EmbeddedEncoder) and isinstance(decoder, Decoder)
        return _join(encoder.encoder, decoder)

    def teacher_card(self) -> dict[str, Any]:
        """Return the loss network, and whose decoder taught, for the card."""
        decoder = self.recipe.teacher_decoder.init
        known = {"decoder": {Path(decoder).stem: read_weights(decoder, limits=TEACHER).sha256}} if decoder else {}
        return {"sha256": self.loss_network.sources} | known


def _join(encoder: Encoder, decoder: Decoder) -> Pair:
    """Build a pair with the weights of both, on the CPU."""
    pair = Pair(PairSpec(encoder=replace(encoder.spec, final_relu=True), decoder=decoder.spec))
    for half, source, name in ((pair.encoder, encoder, "encoder"), (pair.decoder, decoder, "decoder")):
        load_tensors(half, {key: value.cpu() for key, value in source.state_dict().items()}, f"the {name}")
    return pair
