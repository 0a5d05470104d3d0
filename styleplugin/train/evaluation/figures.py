"""How good a pair is: reconstruction in decibels and dead channels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from styleplugin.errors import UsageError
from styleplugin.images.formats.known import is_picture_name
from styleplugin.images.read import read_image
from styleplugin.networks.pairs import Pair
from styleplugin.train.networks.teachers import LossNetwork
from styleplugin.train.pruning.filters import dead_fraction
from styleplugin.transforms.losses import psnr, statistics_error
from styleplugin.transforms.metrics import ssim
from styleplugin.transforms.statistics import mean_and_deviation

BATCH = 8
"""Pictures that are looked at together."""


@torch.no_grad()
def reconstruction_psnr(reconstruct: Callable[[Tensor], Tensor], images: Tensor, batch: int = BATCH) -> float:
    """Return the mean over pictures of the PSNR between (N, 3, H, W) images and their clamped reconstructions."""
    errors = [(reconstruct(part).float().clamp(0, 1) - part).square().mean((1, 2, 3)) for part in images.split(batch)]
    return psnr(torch.cat(errors)).mean().item()


@torch.no_grad()
def evaluate_pair(pair: Pair, images: Tensor) -> dict[str, float]:
    """Return "psnr" in dB and the "dead" shares of encoder and decoder channels on (N, 3, H, W) images in float32."""
    return {
        "psnr": round(reconstruction_psnr(pair, images), 4),
        "dead_encoder": dead_fraction(pair.encoder, images),
        "dead_decoder": dead_fraction(pair.decoder, pair.encoder(images)),
    }


@torch.no_grad()
def evaluate_stylization(
    loss_network: LossNetwork, contents: Tensor, styles: Tensor, outputs: Tensor
) -> dict[str, float]:
    """Return "style", the distance of (N, 3, H, W) outputs to their styles, and "ssim", that to their contents."""

    def statistics(images: Tensor) -> list[tuple[Tensor, Tensor]]:
        batches = [
            [mean_and_deviation(level) for level in loss_network.features(batch)] for batch in images.split(BATCH)
        ]
        levels = zip(*batches, strict=True)
        return [(torch.cat([m for m, _ in level]), torch.cat([d for _, d in level])) for level in levels]

    style = float(statistics_error(statistics(outputs), statistics(styles)))
    return {"style": round(style, 4), "ssim": round(ssim(contents, outputs), 4)}


def sample_psnr(reconstruct: Callable[[Tensor], Tensor], folder: str | Path, side: int = 512) -> dict[str, float]:
    """Return the reconstruction PSNR of each picture of a folder, by file name.

    Args:
        reconstruct: A pair or model; gets (1, 3, H, W).
        folder: Of pictures, shrunk so that their longer side is `side`, then cut to multiples of 16.
        side: In pixels.
    """
    paths = sorted(path for path in Path(folder).iterdir() if is_picture_name(path) and path.is_file())
    if not paths:
        raise UsageError("SP131", f"There is no picture in {str(folder)!r}.", "Give another folder.")
    return {path.name: reconstruction_psnr(reconstruct, _sample(path, side)) for path in paths}


def _sample(path: Path, side: int) -> Tensor:
    image = read_image(path).rgb
    scale = side / max(image.shape[2:])
    if scale < 1:
        size = [round(n * scale) for n in image.shape[2:]]
        image = torch.nn.functional.interpolate(image, size, mode="bicubic", antialias=True).clamp(0, 1)
    height, width = (n // 16 * 16 for n in image.shape[2:])
    return image[..., :height, :width]
