"""The painters of lessons: models whose pictures students learn from."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from styleplugin.errors import UsageError
from styleplugin.loading import index
from styleplugin.methods.kbstyle.model import KBModel
from styleplugin.networks.padding import pad_in_channels_last
from styleplugin.networks.pairs import PairModel
from styleplugin.train.data.lessons import AT_ONCE, Painter
from styleplugin.transforms.adain import adain
from styleplugin.transforms.wct import wct


def load_painter(source: str, device: torch.device) -> Painter:
    """Load a model of WCT, AdaIN or KBStyle, by name or source.

    Raises:
        WeightsError: See `index.load`.
        UsageError: SP121, the model is no painter.
    """
    # Whoever writes a recipe knows the painter in it.
    model, info = index.load(source, allow_unknown=True)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    pad_in_channels_last(model)
    return Painter(name=info.name, sha256=info.sha256, paint=painter_of(model))


def painter_of(model: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the function that stylizes (N, 3, H, W) contents with as many styles, in [0, 1]; sides multiples of 16.

    Raises:
        UsageError: SP121, the model is no painter.
    """

    def by_levels(content: Tensor, style: Tensor) -> Tensor:
        assert isinstance(model, PairModel)
        transform = adain if model.method == "adain" else wct
        for pair in map(model.pair, model.levels):
            features = pair.encoder(torch.cat([content, style]))
            content = pair.decoder(transform(*features.split(len(content))))
        return content

    if not isinstance(model, (PairModel, KBModel)):
        raise UsageError("SP121", "The painter must be a model of WCT, AdaIN or KBStyle.", "Name another painter.")
    once = by_levels if isinstance(model, PairModel) else model

    @torch.no_grad()
    def paint(content: Tensor, style: Tensor) -> Tensor:
        parts = zip(content.split(AT_ONCE), style.split(AT_ONCE), strict=True)
        return torch.cat([once(*part).clamp(0, 1) for part in parts])

    return paint
