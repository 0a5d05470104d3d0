"""Pictures for the functions of the nodes, and what the core makes of them by itself."""

import torch

import styleplugin
from comfy_nodes.logic import transfer as transfers

PLAIN = {"strength": 1.0, "keep_color": "off", "statistics": "per frame"}


def pictures(count=1, height=40, width=52, channels=3, seed=0) -> torch.Tensor:
    """Smooth pictures (B, H, W, C) with some noise."""
    rng = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, 4, 5, generator=rng)
    smooth = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")
    return (0.9 * smooth + 0.1 * torch.rand(count, channels, height, width, generator=rng)).movedim(1, -1).contiguous()


STYLE = pictures(seed=5)


def transfer(host, content, style, model, mask=None, **given):
    return transfers.transfer(host, content, style, model, mask, **(PLAIN | given))


def alone(model, content: torch.Tensor, style=STYLE, **options) -> torch.Tensor:
    """The core's own result for one picture (H, W, C)."""
    stylizer = styleplugin.Stylizer(model.module, model.info, styleplugin.EngineOptions(device="cpu"))
    if model.info.method == "wct":
        options.setdefault("levels", model.info.levels)
    result = stylizer(content.movedim(-1, 0), style[0].movedim(-1, 0), **options)
    return result.tensor[0].movedim(0, -1)
