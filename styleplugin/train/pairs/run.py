"""The run of an encoder-decoder pair: full-width decoder, small encoder, small decoder, both together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styleplugin.errors import UsageError
from styleplugin.loading.convert.collaborative_distillation import EmbeddedEncoder
from styleplugin.networks.model import load_tensors
from styleplugin.networks.pairs import Pair, PairModel, PairSpec
from styleplugin.networks.vgg import Decoder, Encoder
from styleplugin.tensorfile import TEACHER, read_weights
from styleplugin.train.evaluation.figures import evaluate_pair, reconstruction_psnr
from styleplugin.train.loop.fit import PruningStepper
from styleplugin.train.loop.logbook import Row
from styleplugin.train.loop.setting import Setting
from styleplugin.train.loop.state import read_card
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
from styleplugin.train.pairs.parts import load_part, load_pruned, save_part, save_pruned
from styleplugin.train.pairs.recipe import RECONSTRUCTION, Recipe, preset
from styleplugin.train.pairs.start import (
    start_pruning,
    start_student_decoder,
    start_student_encoder,
    start_teacher_decoder,
)
from styleplugin.train.pairs.tasks import ReconstructionTask, StylizationTask
from styleplugin.train.pruning.filters import Keeps, dead_fraction
from styleplugin.train.recipe.choices import Choices
from styleplugin.train.recipe.places import Places
from styleplugin.train.recipe.toml import read_recipe
from styleplugin.train.runs.phase import Phase
from styleplugin.train.runs.run import PhasedRun
from styleplugin.train.runs.training import SHEET, Training


class PairPhase(Phase):
    """A phase of a pair."""

    training: PairTraining

    def task(self, trainable: Autoencoder) -> DistillTask:
        """Return the losses of the method."""
        weights = {name: getattr(self.options, name) for name in WEIGHTS}
        kind = StylizationTask if self.training.recipe.method == "adain" else ReconstructionTask
        return kind(self.training.loss_network, trainable, weights, self.options.judged)

    @torch.no_grad()
    def validate(self, task: DistillTask, trainable: Any) -> tuple[Row, list[Tensor]]:
        """Return PSNR and dead channels, and reconstructions, or stylizations for AdaIN."""
        training = self.training
        contents = training.validation[:SHEET]
        with training.autocast():
            row: Row = {"psnr": round(reconstruction_psnr(task.reconstruct, training.validation, 16), 3)}
            rows = [contents, task.reconstruct(contents)]
            if isinstance(task, StylizationTask):
                contents, styles = training.held_out_pairs(SHEET)
                rows = [contents, styles, task.stylize(contents, styles)]
        dead = [dead_fraction(network, inputs) for network, inputs in self.students(trainable, training.validation)]
        return row | ({"dead": round(max(dead), 4)} if dead else {}), rows

    def write(self, path: Path, trainable: Autoencoder, card: dict[str, Any]) -> None:
        """Write the part that was trained."""
        save_part(path, self.name, trainable.trained.cpu(), card)


class TeacherDecoder(PairPhase):
    """The full-width decoder, on the loss network's features."""

    name = "teacher_decoder"
    teaches_only = True

    def begin(self) -> TeacherDecoderAutoencoder:
        """Draw the decoder, or go on with that of an earlier run."""
        training = self.training
        return TeacherDecoderAutoencoder(start_teacher_decoder(training.start, training.loss_network, training.probes))


class Pruning(PairPhase):
    """The teacher's encoder and its decoder, which lose channels."""

    name = "pruning"
    stepper = PruningStepper

    def begin(self) -> PruningAutoencoder:
        """Put them under the rule."""
        training = self.training
        return PruningAutoencoder(
            start_pruning(training.recipe, training.loss_network, training.read_decoder(TeacherDecoder))
        )

    def validate(self, task: DistillTask, trainable: PruningAutoencoder) -> tuple[Row, list[Tensor]]:
        """Return also how many channels are still to be removed."""
        row, rows = super().validate(task, trainable)
        return row | {"to_prune": sum(groups.to_prune for groups in trainable.trained.pruner.groups)}, rows

    def write(self, path: Path, trainable: PruningAutoencoder, card: dict[str, Any]) -> None:
        """Write what is left."""
        self.training.log.write(event="pruned", forced=trainable.trained.pruner.finish())
        save_pruned(path, trainable.trained.cpu(), card)


class StudentEncoder(PairPhase):
    """The small encoder, through the frozen full-width decoder."""

    name = "student_encoder"
    keeps: Keeps

    def begin(self) -> StudentEncoderAutoencoder:
        """Prune or reconstruct the teacher, or go on with the encoder of an earlier run."""
        training = self.training
        recipe, styles, (pruned, _) = training.start, training.starting_styles(), training.read_pruned()
        encoder, self.keeps = start_student_encoder(
            recipe, recipe.student, recipe.importance, training.loss_network, training.probes, styles, pruned
        )
        return StudentEncoderAutoencoder(encoder, training.read_decoder(TeacherDecoder))

    @torch.no_grad()
    def students(self, trainable: StudentEncoderAutoencoder, images: Tensor) -> Iterator[tuple[Any, Tensor]]:
        """Yield the encoder."""
        yield trainable.trained.encoder, images

    def write(self, path: Path, trainable: Autoencoder, card: dict[str, Any]) -> None:
        """Write the encoder, and which channels of the teacher it began with."""
        super().write(path, trainable, card | {"keeps": self.keeps})


class StudentDecoder(PairPhase):
    """The small decoder, behind the frozen small encoder."""

    name = "student_decoder"

    def begin(self) -> StudentDecoderAutoencoder:
        """Prune or reconstruct the full-width decoder, or go on with that of an earlier run."""
        training = self.training
        encoder = training.read_encoder(StudentEncoder)
        decoder = start_student_decoder(
            training.start,
            encoder,
            training.loss_network,
            lambda: training.read_decoder(TeacherDecoder),
            training.probes,
            training.starting_styles(),
            training.read_pruned()[1],
        )
        return StudentDecoderAutoencoder(encoder.encoder, decoder)

    @torch.no_grad()
    def students(self, trainable: StudentDecoderAutoencoder, images: Tensor) -> Iterator[tuple[Any, Tensor]]:
        """Yield the decoder."""
        yield trainable.trained, trainable.encoder(images)

    def student(self, trainable: StudentDecoderAutoencoder) -> PairModel:
        """Return a copy of the pair."""
        assert isinstance(trainable.trained, Decoder)
        return PairModel(self.training.recipe.method, [join(trainable.encoder, trainable.trained)])


class StudentPair(PairPhase):
    """Both together."""

    name = "student_pair"

    def begin(self) -> StudentPairAutoencoder:
        """Go on with both."""
        training = self.training
        return StudentPairAutoencoder(training.read_encoder(StudentEncoder), training.read_decoder(StudentDecoder))

    @torch.no_grad()
    def students(self, trainable: StudentPairAutoencoder, images: Tensor) -> Iterator[tuple[Any, Tensor]]:
        """Yield encoder and decoder; the decoder sees the features from before the encoder changes."""
        encoder = trainable.embedded.encoder
        features = encoder(images)
        yield encoder, images
        yield trainable.decoder, features

    def student(self, trainable: StudentPairAutoencoder) -> PairModel:
        """Return a copy of the pair."""
        return PairModel(self.training.recipe.method, [join(trainable.embedded.encoder, trainable.decoder)])


class PairTraining(Training):
    """A pair of Collaborative Distillation at work."""

    phase_types = (TeacherDecoder, Pruning, StudentEncoder, StudentDecoder, StudentPair)
    run: PairRun
    recipe: Recipe

    def __init__(self, run: PairRun, setting: Setting) -> None:
        super().__init__(run, setting)
        self.start = run.start()
        """The recipe with the files that the phases begin with."""
        self.load_loss_network(self.recipe.level)
        if self.recipe.method == "adain":
            self.load_styles()
            self.load_lessons()

    def read_encoder(self, phase: type[Phase]) -> EmbeddedEncoder:
        """Read the small encoder that a phase has left."""
        encoder, _ = load_part(self.result_of(phase), StudentEncoder.name)
        assert isinstance(encoder, EmbeddedEncoder)
        return encoder

    def read_decoder(self, phase: type[Phase]) -> Decoder:
        """Read the decoder that a phase has left."""
        part = TeacherDecoder if phase is TeacherDecoder else StudentDecoder
        decoder, _ = load_part(self.result_of(phase), part.name)
        assert isinstance(decoder, Decoder)
        return decoder

    def read_pruned(self) -> tuple[Encoder, Decoder] | tuple[None, None]:
        """Return what the phase "pruning" has left, if the recipe has one."""
        has_pruning = Pruning.name in self.recipe.phases
        return load_pruned(self.result_of(Pruning)) if has_pruning else (None, None)

    def write_model(self, target: Path) -> None:
        """Write the pair with its figures."""
        pair = join(self.read_encoder(StudentPair).encoder, self.read_decoder(StudentPair))
        metrics = evaluate_pair(pair, self.validation.cpu())
        self.write_student(
            target, PairModel(self.recipe.method, [pair]), self.evaluated(metrics) | {"keeps": self._keep_lists()}
        )

    def _keep_lists(self) -> dict[str, list[int]]:
        """Return the channels of the teacher that the student's layers began with; none where it grew or was drawn."""
        if Pruning.name in self.recipe.phases:
            return read_weights(self.result_of(Pruning), limits=TEACHER).required("keeps", dict)
        started = read_card(self.result_of(StudentEncoder)).get("keeps", {})
        return {f"encoder.conv{conv}": keep for conv, keep in started.items()}

    def teacher_card(self) -> dict[str, Any]:
        """Return the loss network, and whose decoder taught, for the card."""
        decoder = self.recipe.teacher_decoder.init
        known = {"decoder": {Path(decoder).stem: read_weights(decoder, limits=TEACHER).sha256}} if decoder else {}
        return super().teacher_card() | known


class PairRun(PhasedRun):
    """A pair of Collaborative Distillation.

    Args:
        recipe: Of a pair.
        out: Its folder.
        places: Where pictures and teacher lie.
        earlier: The run that it grows from; by default that of the recipe that its own names.
        later: Names of the runs that grow from it.
    """

    recipe_type = Recipe
    recipe: Recipe
    target_name = "pair.safetensors"
    method = "adain"
    needs_styles = True
    usual_teacher = "cd-adain.x16"
    training = PairTraining

    def __init__(
        self,
        recipe: Recipe,
        out: Path,
        places: Places | None = None,
        *,
        earlier: PairRun | None = None,
        later: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(recipe, out, places)
        self.earlier = earlier or self._grown_from(later | {recipe.name})

    @staticmethod
    def preset(choices: Choices) -> Recipe:
        """Return the recipe of a new pair of AdaIN."""
        return preset("adain", max(choices.levels, default=4), choices, choices.settings("my-adain"))

    def _grown_from(self, later: frozenset[str]) -> PairRun | None:
        """Return the run that the recipe grows from, in a folder beside its own."""
        if not self.recipe.grow_from:
            return None
        earlier = read_recipe(self.recipe.grow_from)
        if not isinstance(earlier, Recipe) or earlier.name in later:
            raise UsageError(
                "SP143",
                f"{self.recipe.grow_from} is not the recipe of a pair, or grows from {self.recipe.name} itself.",
                "Grow from a single pair.",
            )
        return PairRun(earlier, self.out.parent / earlier.name, self.places, later=later)

    def needs(self) -> Sequence[PairRun]:
        """Return the run that this one grows from."""
        return (self.earlier,) if self.earlier else ()

    def start(self) -> Recipe:
        """Return the recipe whose phases begin with the results of the earlier run, as far as the widths agree.

        What is reconstructed has no layers of another run, for each of its layers follows from those before it. Where
        the other run has no result yet, and this one is only measured, nothing is taken from it.
        """
        recipe, earlier = self.recipe, self.earlier
        if earlier is None or not earlier.is_finished:
            return recipe
        reconstructed = recipe.importance == RECONSTRUCTION
        sources = {} if reconstructed else {"teacher_decoder": "teacher_decoder"}
        widths = earlier.recipe.student.widths
        if recipe.student.widths[: len(widths)] == widths:
            sources |= {} if reconstructed and recipe.has_teacher_decoder else {"student_decoder": "student_pair"}
            sources |= {} if reconstructed else {"student_encoder": "student_pair"}
        phases = {
            phase: replace(recipe.phase(phase), init=str(earlier.out / f"{source}.safetensors"))
            for phase, source in sources.items()
            if not recipe.phase(phase).init
        }
        return replace(recipe, **phases)


def join(encoder: Encoder, decoder: Decoder) -> Pair:
    """Build a pair with the weights of both, on the CPU."""
    pair = Pair(PairSpec(encoder=replace(encoder.spec, final_relu=True), decoder=decoder.spec))
    for half, source, name in ((pair.encoder, encoder, "encoder"), (pair.decoder, decoder, "decoder")):
        load_tensors(half, {key: value.cpu() for key, value in source.state_dict().items()}, f"the {name}")
    return pair
