"""What the decoders of a WCT model learn sequentially, as at inference, each from what the levels before have painted.

In use a level sees a picture that deeper levels have painted, and decodes features that were whitened and colored;
reconstruction of photographs shows it neither. At levels 4 and 5 the answer is blur, a grid and washed faces, and what
the shallow levels change takes away from what the deep ones have reached.

Source: ours, after the losses of Huang and Belongie 2017; the paper trains on pictures alone, one level at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from typing_extensions import Doc

from styleplugin.errors import UsageError
from styleplugin.loading import index
from styleplugin.loading.build import load_model, save_model
from styleplugin.networks.model import StyleModel, load_tensors, pairing_id
from styleplugin.networks.pairs import Pair, PairModel, PairSpec, blank_pairs
from styleplugin.tensorfile import read_weights
from styleplugin.train.evaluation.figures import evaluate_pair, evaluate_stylization, reconstruction_psnr
from styleplugin.train.evaluation.gate import verdict
from styleplugin.train.loop.logbook import Row
from styleplugin.train.loop.setting import Setting
from styleplugin.train.networks.autoencoders import drop_final_relu
from styleplugin.train.networks.teachers import LossNetwork, wanted_statistics
from styleplugin.train.pairs.packing import bundle, join_gates
from styleplugin.train.pairs.run import PairRun
from styleplugin.train.recipe.choices import Choices
from styleplugin.train.recipe.options import PhaseOptions, RunRecipe
from styleplugin.train.recipe.places import Places
from styleplugin.train.runs.phase import Phase
from styleplugin.train.runs.run import PhasedRun
from styleplugin.train.runs.training import SHEET, Training
from styleplugin.transforms.losses import content_error, mse, picture_errors, statistics_error, statistics_of, weigh
from styleplugin.transforms.wct import wct
from styleplugin.transforms.weave import weave_error

PAIRS = "pairs.safetensors"
"""The finished model in full precision."""
_CROP = 192
"""At level 5 a crop of 128 px has fewer positions than channels, and no covariance of full rank."""
CONTENT_LEVEL = 4
"""Where shapes are compared, or the loss network's deepest level if it has fewer."""
WEIGHTS = ("content", "style", "pixel", "weave", "taught", "picture")
"""Parts of the loss, names of fields of `PhaseOptions`."""


@dataclass(frozen=True, kw_only=True)
class CascadeRecipe(RunRecipe):
    """Trains the decoders of a WCT model once more, sequentially, as at inference."""

    start: Annotated[str, Doc("The model, by name or source; in a bundle empty, for its pairs.")] = ""
    levels: Annotated[tuple[int, ...], Doc("Whose decoders learn; empty for all but level 1.")] = ()
    decoders: Annotated[PhaseOptions, Doc("These decoders, all at once.")]

    def usual_limits(self) -> dict[str, float]:
        """Return limits that a model passes after a short training."""
        return {"psnr": 14.0, "dead": 0.1, "ssim": 0.1, "style": 0.2}

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases in their order."""
        return ("decoders",)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return super().to_dict() | {"levels": list(self.levels)}


def preset(name: str, choices: Choices) -> CascadeRecipe:
    """Return the recipe of what all pairs of a new model learn together."""
    settings = choices.settings(name)
    crop = max(choices.crop, _CROP)
    data = replace(settings["data"], crop=crop, short_side=max(settings["data"].short_side, crop + 44))
    batch = max(2, choices.batch // 4)
    return CascadeRecipe(
        decoders=PhaseOptions(steps=300, batch=batch, lr=0.003, warmup=25, pixel=300.0, style=10.0, content=2.0),
        **settings | {"name": name, "minutes": 0.0, "data": data},
    )


class CascadeTrainable:
    """A WCT model whose decoders learn at some levels; all else is frozen."""

    def __init__(self, model: PairModel, levels: Sequence[int]) -> None:
        self.model = model.eval().requires_grad_(False)
        self.levels = tuple(levels)
        for pair in map(model.pair, model.levels):
            drop_final_relu(pair.decoder)
        self.trained = nn.ModuleDict({str(level): model.pair(level).decoder for level in self.levels})
        self.trained.requires_grad_(True)


class CascadeTask(nn.Module):
    """A step of training: owns loss network and model, returns the losses.

    Each level's picture is seen at all levels of the loss network, also at those deeper than its own: what a shallow
    level leaves of a deep level's work is part of what it must learn. No gradient goes from a level to the one before,
    since whitening would multiply it without bounds; the transform is a constant of the step.
    """

    def __init__(self, loss_network: LossNetwork, trainable: CascadeTrainable, weights: dict[str, float]) -> None:
        """Keep the weights of the parts of the loss, by `WEIGHTS`."""
        super().__init__()
        self.loss_network, self.model, self.levels = loss_network, trainable.model, trainable.levels
        self.weights = weights

    def forward(
        self,
        content: Tensor,
        style: Tensor,
        picture: Tensor | None = None,
        statistics: Tensor | None = None,
        level: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return "loss" and its parts, means over the levels that are judged.

        Args:
            content: (N, 3, H, W) in [0, 1].
            style: Of the same shape. Of contents and styles in turn, half must also come back.
            picture: Of the same shape: a painter's.
            statistics: Of the styles as the loss network sees them, `joined`, where they are known.
            level: (N,), of one value: the one that is judged; all in training by default.
        """
        judged = self.levels if level is None else (int(level[0]),)
        with torch.no_grad():
            shapes = self.loss_network.features(content) if self.weights["content"] else []
            shown = [] if picture is None else self.loss_network.features(picture)
        own = torch.cat([content, style])[::2]
        parts: dict[str, list[Tensor]] = {}
        for pair, output in self._cascade(content, style, judged):
            seen = self.loss_network.features(output)
            wanted = wanted_statistics(self.loss_network, style, statistics, seen)
            found = {"style": statistics_error(statistics_of(seen), wanted), "pixel": mse(pair(own), own)}
            if shapes:
                place = min(CONTENT_LEVEL, len(shapes)) - 1
                found["content"] = content_error(seen[place], shapes[place])
            if self.weights["weave"]:
                found["weave"] = weave_error(output, content)
            if picture is not None:
                found |= picture_errors(output, seen[:CONTENT_LEVEL], picture, shown[:CONTENT_LEVEL])
            for name, value in found.items():
                parts.setdefault(name, []).append(value)
        return weigh({name: torch.stack(values).mean() for name, values in parts.items()}, self.weights)

    def _cascade(self, content: Tensor, style: Tensor, judged: Sequence[int]) -> Iterator[tuple[Pair, Tensor]]:
        """Yield the judged pairs, deepest first, with the picture that each paints from that of the pair before."""
        image = content
        for pair in map(self.model.pair, (level for level in self.model.levels if level >= min(judged))):
            with torch.no_grad():
                features = pair.encoder(torch.cat([image, style]))
                colored = wct(*features.float().split(len(content))).to(features.dtype)
            with torch.set_grad_enabled(torch.is_grad_enabled() and pair.level in judged):
                output = pair.decoder(colored)
            if pair.level in judged:
                yield pair, output
            # The last ReLU of a WCT decoder, which is left out in training.
            image = output.detach().relu().to(content.dtype)

    @torch.no_grad()
    def stylize(self, content: Tensor, style: Tensor) -> Tensor:
        """Stylize contents with styles of the same number, for contact sheets."""
        return list(self._cascade(content, style, self.model.levels))[-1][1]


class Decoders(Phase):
    """The decoders of the chosen levels, all at once; a step judges one of them."""

    name = "decoders"
    training: CascadeTraining

    def begin(self) -> CascadeTrainable:
        """Take the pairs as they are."""
        return CascadeTrainable(_copy(self.training.start).to(self.training.device), self.training.levels)

    def batch(self, count: int, step: int) -> dict[str, Tensor]:
        """Return the arguments of the task; each step judges one level, drawn at random."""
        levels, generator = self.training.levels, self.generator(step, "level")
        place = torch.randint(len(levels), (), generator=generator, dtype=torch.int64, device="cpu")
        level = torch.full((count,), levels[int(place)], dtype=torch.int64, device="cpu")
        return super().batch(count, step) | {"level": level}

    def task(self, trainable: CascadeTrainable) -> CascadeTask:
        """Return the losses."""
        weights = {name: getattr(self.options, name) for name in WEIGHTS}
        return CascadeTask(self.training.loss_network, trainable, weights)

    def validate(self, task: CascadeTask, trainable: CascadeTrainable) -> tuple[Row, list[Tensor]]:
        """Return figures, and stylizations."""
        training, pairs = self.training, map(trainable.model.pair, self.training.levels)
        contents, styles = training.held_out_pairs(SHEET)
        with training.autocast():
            values = [reconstruction_psnr(pair, training.validation, 16) for pair in pairs]
            output = task.stylize(contents, styles).float().clamp(0, 1)
            figures = evaluate_stylization(training.loss_network, contents, styles, output)
        return {"psnr": round(sum(values) / len(values), 3)} | figures, [contents, styles, output]

    @torch.no_grad()
    def students(self, trainable: CascadeTrainable, images: Tensor) -> Iterator[tuple[Any, Tensor]]:
        """Yield the decoders in training."""
        for pair in map(trainable.model.pair, self.training.levels):
            yield pair.decoder, pair.encoder(images)

    def student(self, trainable: CascadeTrainable) -> PairModel:
        """Return a copy of all pairs."""
        return _copy(trainable.model)

    def write(self, path: Path, trainable: CascadeTrainable, card: dict[str, Any]) -> None:
        """Write all pairs."""
        save_model(path, _copy(trainable.model), license=self.training.recipe.license, card=card)


class CascadeTraining(Training):
    """All pairs of a WCT model at work; the encoders stay, and styles that were made with them stay valid."""

    phase_types = (Decoders,)
    recipe: CascadeRecipe

    def __init__(self, run: CascadeRun, setting: Setting) -> None:
        """Begin with the finished pairs of a bundle, or else with the recipe's model."""
        super().__init__(run, setting)
        self.load_styles()
        self._origin: list[str] = []
        if run.pairs:
            self.start, self.cards = _read_pairs(run.pairs)
        else:
            self.start, self.cards, sha256 = _read_start(self.recipe.start)
            self._origin.append(sha256)
        chosen = self.recipe.levels
        self.levels = chosen or tuple(level for level in self.start.levels if level > 1)
        if not self.levels or set(self.levels) - set(self.start.levels):
            raise UsageError(
                "SP121", f"The levels were {list(chosen)}; the model has the levels {list(self.start.levels)}."
            )
        self.identity["start"] = [pairing_id(self.start.pair(level)) for level in self.start.levels]
        self.load_loss_network(self.start.levels[0])
        self.load_lessons()

    def continued(self) -> list[str]:
        """Return the sha256 of the model that the run goes on from; none for the pairs of a bundle."""
        return self._origin

    @torch.no_grad()
    def write_model(self, target: Path) -> None:
        """Write the model with the figures of its pairs and of all of them sequentially, and pack it."""
        model, _ = load_model(read_weights(self.result_of(Decoders)))
        assert isinstance(model, PairModel)
        images = self.validation.cpu()
        contents, styles = self.held_out_pairs(len(self.validation))
        task = self.prepared(Decoders(self).task(CascadeTrainable(_copy(model).to(self.device), self.levels)))
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
        bundle([self.out / PAIRS], target, self.recipe.license, name=self.recipe.name, overwrite=True)

    def _pair_card(self, level: int, metrics: dict[str, float]) -> dict[str, Any]:
        """Return the card of a pair with its new figures, and the verdicts on it alone and in the row."""
        before, after = self.cards[level], {"gate": verdict(self.recipe, metrics)}
        gates = {"alone": before, "in the row": after} if "gate" in before else {"in the row": after}
        self.log.write(event="pair", level=level, **metrics)
        return before | {"metrics": metrics, "gate": join_gates(gates)}


class CascadeRun(PhasedRun):
    """The decoders of a WCT model.

    Args:
        recipe: Of a cascade.
        out: Its folder.
        places: Where pictures and teacher lie.
        pairs: The runs of a bundle that it goes on with; without them it begins with the recipe's model.
    """

    recipe_type = CascadeRecipe
    target_name = "student.safetensors"
    training = CascadeTraining

    def __init__(
        self, recipe: CascadeRecipe, out: Path, places: Places | None = None, *, pairs: Sequence[PairRun] = ()
    ) -> None:
        super().__init__(recipe, out, places)
        self.pairs = pairs

    def needs(self) -> Sequence[PairRun]:
        """Return the pairs."""
        return self.pairs


def _read_pairs(pairs: Sequence[PairRun]) -> tuple[PairModel, dict[int, dict[str, Any]]]:
    """Read the pairs of a bundle with their cards; those that are not there yet have arbitrary values."""
    found, cards = [], {}
    for recipe, path in ((pair.recipe, pair.target) for pair in pairs):
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
