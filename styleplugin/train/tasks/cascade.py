"""What the decoders of a WCT model learn in a row, each from the pictures that the levels before it have made.

In use a level sees a picture that deeper levels have painted, and decodes features that were whitened and colored;
reconstruction of photographs shows it neither. At levels 4 and 5 the answer is blur, a grid and washed faces, and what
the shallow levels change takes away from what the deep ones have reached.

Source: ours, after the losses of Huang and Belongie 2017; the paper trains on pictures alone, one level at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from styleplugin.networks.pairs import Pair, PairModel
from styleplugin.train.networks.autoencoders import drop_final_relu
from styleplugin.train.networks.teachers import LossNetwork, wanted_statistics
from styleplugin.train.tasks.weave import weave_error
from styleplugin.transforms.losses import content_error, mse, picture_errors, statistics_error, statistics_of, weigh
from styleplugin.transforms.wct import wct

CONTENT_LEVEL = 4
"""Where shapes are compared, or the loss network's deepest level if it has fewer."""
WEIGHTS = ("content", "style", "pixel", "weave", "taught", "picture")
"""Parts of the loss, names of fields of `PhaseOptions`."""


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
