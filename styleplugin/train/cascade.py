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

from styleplugin.losses import content_error, mse, style_error, weigh
from styleplugin.models.pairs import Pair, PairModel
from styleplugin.train.coders import open_end
from styleplugin.train.teachers import Judge
from styleplugin.transforms.wct import wct

CONTENT_LEVEL = 4
"""Where shapes are compared, or the judge's deepest level if it has fewer."""
WEIGHTS = ("content", "style", "pixel")
"""Parts of the loss, names of fields of `PhaseOptions`."""


class CascadeTrainee:
    """A WCT model whose decoders learn at some levels; all else is frozen."""

    def __init__(self, model: PairModel, levels: Sequence[int]) -> None:
        self.model = model.eval().requires_grad_(False)
        self.levels = tuple(levels)
        for pair in map(model.pair, model.levels):
            open_end(pair.decoder)
        self.trained = nn.ModuleDict({str(level): model.pair(level).decoder for level in self.levels})
        self.trained.requires_grad_(True)


class CascadeTask(nn.Module):
    """A step of training: owns judge and model, returns the losses.

    Each level's picture is judged at all levels of the judge, also at those deeper than its own: what a shallow level
    leaves of a deep level's work is part of what it must learn. No gradient goes from a level to the one before, since
    whitening would multiply it without bounds; the transform is a constant of the step.
    """

    def __init__(self, judge: Judge, trainee: CascadeTrainee, weights: dict[str, float]) -> None:
        """Keep the weights of the parts of the loss, by `WEIGHTS`."""
        super().__init__()
        self.judge, self.model, self.levels = judge, trainee.model, trainee.levels
        self.weights = weights

    def forward(self, content: Tensor, style: Tensor) -> dict[str, Tensor]:
        """Return "loss" and its parts, means over the levels in training.

        Args:
            content: (N, 3, H, W) in [0, 1].
            style: Of the same shape. Of contents and styles in turn, half must also come back.
        """
        with torch.no_grad():
            wanted, shapes = self.judge.features(style), self.judge.features(content)
        own = torch.cat([content, style])[::2]
        place = min(CONTENT_LEVEL, len(shapes)) - 1
        parts: dict[str, list[Tensor]] = {name: [] for name in WEIGHTS}
        for pair, output in self._cascade(content, style):
            if pair.level in self.levels:
                seen = self.judge.features(output)
                parts["content"].append(content_error(seen[place], shapes[place]))
                parts["style"].append(style_error(seen, wanted))
                parts["pixel"].append(mse(pair(own), own))
        return weigh({name: torch.stack(values).mean() for name, values in parts.items()}, self.weights)

    def _cascade(self, content: Tensor, style: Tensor) -> Iterator[tuple[Pair, Tensor]]:
        """Yield each pair with the picture it paints from that of the pair before, deepest first."""
        image = content
        for pair in map(self.model.pair, self.model.levels):
            with torch.no_grad():
                features = pair.encoder(torch.cat([image, style]))
                colored = wct(*features.float().split(len(content))).to(features.dtype)
            output = pair.decoder(colored)
            yield pair, output
            # The last ReLU of a WCT decoder, which is left out in training.
            image = output.detach().relu().to(content.dtype)

    @torch.no_grad()
    def stylize(self, content: Tensor, style: Tensor) -> Tensor:
        """Stylize contents with styles of the same number, for contact sheets."""
        return list(self._cascade(content, style))[-1][1]
