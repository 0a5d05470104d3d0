"""What a KBStyle model is trained for: strokes and palette of the style on the content's shapes; and what its student
learns from its teacher, symmetrically.

The paper's own losses and weights could not be read (see `styleplugin.methods.kbstyle.model`); these are ours. Content
loss after Huang and Belongie 2017 on normalized features, so that colors are free; style loss as theirs, relative and
weighted by level; identity loss after Park and Lee 2019.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from styleplugin.methods.kbstyle.model import KBModel, KBTrace, statistics
from styleplugin.networks.layers import Pointwise
from styleplugin.train.networks.teachers import LossNetwork, wanted_statistics
from styleplugin.train.tasks.weave import weave_error
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

DISTILLED = ("encoder", "decoder", "code", "output")
WEIGHTS = ("content", "style", "pixel", "grid", "weave", "taught", "picture", *DISTILLED)
"""Parts of the loss, names of fields of `PhaseOptions`; those distilled need a teacher."""


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
