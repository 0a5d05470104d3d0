"""The run of a whole WCT model: decoders of several levels learn together, in the row in which they are used."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styleplugin.errors import UsageError
from styleplugin.loading import index
from styleplugin.loading.build import load_model, save_model
from styleplugin.networks.model import StyleModel, load_tensors, pairing_id
from styleplugin.networks.padding import pad_in_channels_last
from styleplugin.networks.pairs import PairModel, PairSpec, blank_pairs
from styleplugin.tensorfile import read_weights
from styleplugin.train.data.pictures import step_generator
from styleplugin.train.evaluation.figures import evaluate_pair, evaluate_stylization, reconstruction_psnr
from styleplugin.train.evaluation.gate import verdict
from styleplugin.train.loop.logbook import Row
from styleplugin.train.loop.setting import Setting
from styleplugin.train.networks.teachers import build_loss_network
from styleplugin.train.pruning.filters import REINITIALIZE_UNTIL, reinitialize
from styleplugin.train.recipe.config import CascadeRecipe, Recipe
from styleplugin.train.recipe.options import PhaseOptions
from styleplugin.train.runs.bundles import bundle, join_gates
from styleplugin.train.runs.phases import SHEET, PhasedRun
from styleplugin.train.tasks.cascade import WEIGHTS, CascadeTask, CascadeTrainable

PAIRS = "pairs.safetensors"
"""The finished model in full precision."""


class CascadeRun(PhasedRun):
    """All pairs of a WCT model; the encoders stay as they are, and styles that were made with them stay valid."""

    target = "student.safetensors"
    recipe: CascadeRecipe

    def __init__(
        self, recipe: CascadeRecipe, out: Path, setting: Setting, *, pairs: Sequence[tuple[Recipe, Path]] = ()
    ) -> None:
        """Begin with the finished pairs of a bundle, or else with the recipe's model."""
        super().__init__(recipe, out, setting)
        self.load_styles()
        self._origin: list[str] = []
        if pairs:
            self.start, self.cards = _read_pairs(pairs)
        else:
            self.start, self.cards, sha256 = _read_start(recipe.start)
            self._origin.append(sha256)
        self.levels = recipe.levels or tuple(level for level in self.start.levels if level > 1)
        if not self.levels or set(self.levels) - set(self.start.levels):
            raise UsageError(
                "SP121", f"The levels were {list(recipe.levels)}; the model has the levels {list(self.start.levels)}."
            )
        self.identity["start"] = [pairing_id(self.start.pair(level)) for level in self.start.levels]
        self.loss_network = build_loss_network(recipe.teacher, self.start.levels[0], self.probes.cpu()).to(self.device)
        self.load_lessons(self.loss_network)

    def continued(self) -> list[str]:
        """Return the sha256 of the model that the run goes on from; none for the pairs of a bundle."""
        return self._origin

    def begin(self, phase: str) -> CascadeTrainable:
        """Take the pairs as they are."""
        return CascadeTrainable(_copy(self.start).to(self.device), self.levels)

    def batch(self, phase: str, count: int, step: int) -> dict[str, Tensor]:
        """Return the arguments of the task; each step judges one level, drawn at random."""
        generator = step_generator(self.recipe.seed, f"level {phase}", step)
        place = torch.randint(len(self.levels), (), generator=generator, dtype=torch.int64, device="cpu")
        level = torch.full((count,), self.levels[int(place)], dtype=torch.int64, device="cpu")
        return super().batch(phase, count, step) | {"level": level}

    def task(self, trainable: CascadeTrainable, options: PhaseOptions) -> CascadeTask:
        """Return the losses."""
        task = CascadeTask(self.loss_network, trainable, {name: getattr(options, name) for name in WEIGHTS})
        task.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        pad_in_channels_last(task)
        return task

    def validate(self, task: CascadeTask, trainable: CascadeTrainable) -> tuple[Row, list[Tensor]]:
        """Return figures, and stylizations."""
        contents, styles = self.held_out_pairs(SHEET)
        with self.autocast():
            values = [reconstruction_psnr(trainable.model.pair(level), self.validation, 16) for level in self.levels]
            output = task.stylize(contents, styles).float().clamp(0, 1)
            figures = evaluate_stylization(self.loss_network, contents, styles, output)
        return {"psnr": round(sum(values) / len(values), 3)} | figures, [contents, styles, output]

    def mend(self, phase: str, trainable: CascadeTrainable, step: int, steps: int) -> Row:
        """Reinitialize dead channels."""
        if step > REINITIALIZE_UNTIL * steps:
            return {}
        generator = step_generator(self.recipe.seed, f"revive {phase}", step)
        with torch.no_grad():
            pairs = [trainable.model.pair(level) for level in self.levels]
            return {"revived": sum(reinitialize(pair.decoder, pair.encoder(self.probes), generator) for pair in pairs)}

    def student(self, phase: str, trainable: CascadeTrainable) -> PairModel:
        """Return a copy of all pairs."""
        return _copy(trainable.model)

    def write_part(self, path: Path, phase: str, trainable: CascadeTrainable, card: dict[str, Any]) -> None:
        """Write all pairs."""
        save_model(path, _copy(trainable.model), license=self.recipe.license, card=card)

    @torch.no_grad()
    def write_model(self, target: Path) -> None:
        """Write the model with the figures of its pairs and of all of them in a row, and pack it."""
        model, _ = load_model(read_weights(self.result(self.phases[-1])))
        assert isinstance(model, PairModel)
        images = self.validation.cpu()
        contents, styles = self.held_out_pairs(len(self.validation))
        task = self.task(
            CascadeTrainable(_copy(model).to(self.device), self.levels), self.recipe.phase(self.phases[-1])
        )
        batches = zip(contents.split(SHEET), styles.split(SHEET), strict=True)
        outputs = torch.cat([task.stylize(*batch).clamp(0, 1) for batch in batches])
        card = self.evaluated(evaluate_stylization(self.loss_network, contents, styles, outputs))
        pairs = {str(level): self._pair_card(level, evaluate_pair(model.pair(level), images)) for level in model.levels}
        self._write(target, model, pairs, card)

    def write_student(self, target: Path, student: StyleModel, card: dict[str, Any]) -> None:
        """Write the model with the cards that its pairs have brought."""
        cards = {str(level): {"metrics": {}} | card for level, card in self.cards.items()}
        self._write(target, student, cards, card)

    def _write(self, target: Path, model: StyleModel, pairs: dict[str, Any], card: dict[str, Any]) -> None:
        save_model(self.out / PAIRS, model, license=self.recipe.license, card={"pairs": pairs, "cascade": card})
        bundle([self.out / PAIRS], target, self.recipe.license, name=self.recipe.name)

    def _pair_card(self, level: int, metrics: dict[str, float]) -> dict[str, Any]:
        """Return the card of a pair with its new figures, and the verdicts on it alone and in the row."""
        before, after = self.cards[level], {"gate": verdict(self.recipe, metrics)}
        gates = {"alone": before, "in the row": after} if "gate" in before else {"in the row": after}
        self.log.write(event="pair", level=level, **metrics)
        return before | {"metrics": metrics, "gate": join_gates(gates)}

    def teacher_card(self) -> dict[str, Any]:
        """Return the loss network, for the card."""
        return {"sha256": self.loss_network.sources}


def _read_pairs(pairs: Iterable[tuple[Recipe, Path]]) -> tuple[PairModel, dict[int, dict[str, Any]]]:
    """Read the pairs of a bundle with their cards; those that are not there yet have arbitrary values."""
    found, cards = [], {}
    for recipe, path in pairs:
        cards[recipe.level] = {}
        if path.exists():
            weights = read_weights(path)
            model, _ = load_model(weights)
            assert isinstance(model, PairModel)
            found.append(model.pair(recipe.level))
            cards[recipe.level] = weights.card
        else:
            found += blank_pairs([PairSpec(encoder=recipe.student, decoder=recipe.student)], path.name)
    return PairModel("wct", found), cards


def _read_start(source: str) -> tuple[PairModel, dict[int, dict[str, Any]], str]:
    """Read a model with the cards of its pairs, and its sha256."""
    if not source:
        raise UsageError("SP121", "The recipe of a cascade names no start.", 'Write start = "cd-wct.x16" or file:PATH.')
    # Whoever writes a recipe knows the model in it.
    weights = index.admit(index.resolve(source), allow_unknown=True)
    model, _ = load_model(weights)
    if not isinstance(model, PairModel) or model.method != "wct":
        raise UsageError("SP121", f"The start was {source!r}, which is not a WCT model.", "Start from pairs of WCT.")
    cards = weights.card.get("pairs", {})
    return model, {level: cards.get(str(level), {}) for level in model.levels}, weights.sha256


def _copy(model: PairModel) -> PairModel:
    """Return the same pairs on the CPU, with the last ReLU of their decoders."""
    copy = PairModel(model.method, blank_pairs([model.pair(level).spec for level in model.levels], "the model"))
    load_tensors(copy, {name: value.cpu() for name, value in model.state_dict().items()}, "the model")
    return copy
