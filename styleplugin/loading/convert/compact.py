"""Dead channels: channels of an encoder that are zero on every picture, removed without changing a value."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from styleplugin.networks.layers import Conv3x3
from styleplugin.networks.model import load_tensors
from styleplugin.networks.pairs import Pair, PairSpec, blank_pairs
from styleplugin.networks.vgg import Encoder, convs_of_level


def compact_pair(pair: Pair, images: Iterable[Tensor]) -> Pair:
    """Remove the encoder's dead channels and the decoder's first input channels that belong to them.

    A dead channel is 0 before and after every transform, since its row and column in the covariances are 0, so all
    pictures for which it stays dead keep their values. Channels inside the decoder are left alone: whether they are
    dead depends on the styles as well.

    Args:
        pair: Of any widths.
        images: (N, 3, H, W) in [0, 1], sides at least 32; the more varied, the safer.

    Returns:
        A new pair, frozen.
    """
    alive = alive_channels(pair.encoder, images)
    convs = convs_of_level(pair.level)
    encoder = dict(pair.encoder.state_dict())
    before = torch.arange(3, dtype=torch.int64, device="cpu")
    for conv in convs:
        encoder[f"conv{conv}.weight"] = encoder[f"conv{conv}.weight"][alive[conv]][:, before]
        encoder[f"conv{conv}.bias"] = encoder[f"conv{conv}.bias"][alive[conv]]
        before = alive[conv]
    decoder = dict(pair.decoder.state_dict())
    first = f"conv{convs[-1]}.weight"
    decoder[first] = decoder[first][:, before]
    widths = tuple(len(alive[conv]) for conv in convs)
    spec = PairSpec(
        encoder=replace(pair.encoder.spec, widths=widths),
        decoder=replace(pair.decoder.spec, widths=(*pair.decoder.spec.widths[:-1], widths[-1])),
    )
    [compact] = blank_pairs([spec], "the compact pair")
    load_tensors(compact.encoder, encoder, "the compact encoder")
    load_tensors(compact.decoder, decoder, "the compact decoder")
    return compact


@torch.no_grad()
def alive_channels(encoder: Encoder, images: Iterable[Tensor]) -> dict[str, Tensor]:
    """Return, per convolution, the indices of the channels that are above 0 somewhere; at least one each."""
    convs = convs_of_level(encoder.spec.level)
    peaks = {
        conv: torch.zeros(width, dtype=torch.float32, device="cpu")
        for conv, width in zip(convs, encoder.spec.widths, strict=True)
    }
    for image in images:
        x, names = image, iter(convs)
        for layer in encoder.layers():
            x = layer(x)
            if isinstance(layer, Conv3x3):
                conv = next(names)
                peaks[conv] = peaks[conv].maximum(x.amax(dim=(0, 2, 3)))
    return {conv: peak.topk(max(1, int((peak > 0).sum()))).indices.sort().values for conv, peak in peaks.items()}


def probe_images(side: int = 256) -> Iterator[Tensor]:
    """Yield (N, 3, side, side) patterns in [0, 1], the same each time: noise of all scales, waves, and discs.

    On the released encoders they wake exactly the channels that photographs and paintings wake; there a living
    channel rises above 8 somewhere, and a dead one stays at 0.
    """
    generator = torch.Generator().manual_seed(0)

    def rand(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, dtype=torch.float32, device="cpu")

    line = torch.linspace(-1, 1, side, dtype=torch.float32, device="cpu")
    y, x = torch.meshgrid(line, line, indexing="ij")
    for cell in (1, 2, 4, 8, 16, 32, 64, side):
        for channels in (1, 3):
            for mode in ("nearest", "bilinear"):
                noise = rand(1, channels, side // cell, side // cell)
                yield F.interpolate(noise, size=side, mode=mode).expand(-1, 3, -1, -1)
    for _ in range(24):
        angle, frequency, sharpness = 2 * math.pi * rand(1), side / 2 * 0.01 ** rand(1), 1 + 20 * rand(1)
        wave = (math.pi * frequency * (x * angle.cos() + y * angle.sin())).sin() * sharpness
        yield rand(1, 3, 1, 1).lerp(rand(1, 3, 1, 1), (wave.clamp(-1, 1) + 1) / 2)
    for _ in range(12):
        image = rand(1, 3, 1, 1).expand(1, 3, side, side)
        for _ in range(100):
            disc = (x - 2 * rand(1) + 1) ** 2 + (y - 2 * rand(1) + 1) ** 2 < 0.01 ** (2 * rand(1))
            image = torch.where(disc, rand(1, 3, 1, 1), image)
        yield image
