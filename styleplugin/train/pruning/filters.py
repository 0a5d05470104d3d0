"""Students out of teachers: the most important filters of each layer, in their original order.

After a layer is cut, its filters are rescaled and shifted so that each channel, before the ReLU, has the mean and the
deviation of the teacher's channel again: what the removed inputs added on average is not lost. A channel that would be
dead all the same is half opened.

Source: Wang et al. 2020, L1-norm initialization; methods.md 3.6 and 6.6. Differs: the keep list of a layer is handed
to the next one and to the embedding, the order of channels is kept, statistics are matched, and the decoder's first
layer absorbs the embedding instead of choosing its own input channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styleplugin.networks.layers import Conv1x1, Conv3x3, Pointwise
from styleplugin.networks.vgg import Decoder, Encoder, VGGSpec, convs_of_level

Keeps = dict[str, list[int]]
"""Channels of the teacher that a student's layer keeps, by convolution "1_1" ..., in ascending order."""

DUPLICATE_NOISE = 0.2
"""Noise in the filter of a reinitialized channel, relative to the deviation of the weights it duplicates."""
REINITIALIZE_UNTIL = 0.9
"""Share of a phase's steps in which dead channels are reinitialized: later, a duplicate has no time left to part from
its original."""
MAX_GAIN = 10.0
"""A filter that hardly sees anything on the measured pictures is not amplified by more."""


def keep_channels(importance: Tensor, width: int) -> list[int]:
    """Return the indices of the `width` largest values of (C,) in ascending order; all of them if C is smaller."""
    return sorted(importance.topk(min(width, len(importance))).indices.tolist())


def filter_importance(kind: str, weight: Tensor, outgoing: Tensor | None, activations: Tensor) -> Tensor:
    """Rate the filters of a layer.

    Args:
        kind: "l1", the norm of each filter, or "activation", mean activation times norm of the outgoing weights.
        weight: (C, I, 3, 3), the layer.
        outgoing: (O, C, 3, 3), the next layer; None if there is none, then "l1" is used.
        activations: (N, C, H, W), after the ReLU.

    Returns:
        (C,), larger is more important.
    """
    if kind == "l1" or outgoing is None:
        return weight.abs().sum((1, 2, 3))
    return activations.mean((0, 2, 3)) * outgoing.abs().sum((0, 2, 3))


@torch.no_grad()
def prune_encoder(
    layers: Mapping[str, Tensor], spec: VGGSpec, importance: str, images: Tensor, generator: torch.Generator
) -> tuple[Encoder, Keeps]:
    """Start a small encoder from the filters of a teacher.

    Args:
        layers: `conv1_1.weight`, `conv1_1.bias`, ... of the teacher, maybe only its first layers.
        spec: The student, no wider than the teacher where the teacher has a layer.
        importance: See `filter_importance`.
        images: (N, 3, H, W) in [0, 1]; statistics are measured on them.
        generator: For the layers that the teacher lacks, which are drawn at random.

    Returns:
        The encoder, and the keep lists of its layers that come from the teacher.
    """
    encoder = Encoder(spec).to(images.device)
    convs = convs_of_level(spec.level)
    weights = [layers[f"conv{conv}.weight"].to(images) for conv in convs if f"conv{conv}.weight" in layers]
    keeps: Keeps = {}
    x = wide = images
    for layer in encoder.layers():
        if not isinstance(layer, Conv3x3):
            x, wide = layer(x), layer(wide)
        elif len(keeps) < len(weights):
            index, conv = len(keeps), convs[len(keeps)]
            before = convolve(wide, weights[index]) + layers[f"conv{conv}.bias"].to(images)[:, None, None]
            wide = before.relu()
            outgoing = weights[index + 1] if index + 1 < len(weights) else None
            keep = keep_channels(filter_importance(importance, weights[index], outgoing, wide), layer.out_channels)
            inputs = keeps[convs[index - 1]] if index else [0, 1, 2]
            layer.weight.copy_(weights[index][keep][:, inputs])
            match_statistics(layer, x, before[:, keep])
            keeps[conv] = keep
            x = layer(x)
        else:
            wide = x = draw_layer(layer, x, generator)
    return encoder, keeps


@torch.no_grad()
def prune_decoder(teacher: Decoder, embedding: nn.Conv2d, spec: VGGSpec, importance: str, features: Tensor) -> Decoder:
    """Start a small decoder from a teacher decoder that was trained on embedded features.

    Args:
        teacher: Wide decoder of the same level.
        embedding: From the student's features to the teacher's; the first layer absorbs it, which is exact.
        spec: The small decoder.
        importance: See `filter_importance`.
        features: (N, C, h, w), features of the student; statistics are measured on them.
    """
    decoder = Decoder(spec).to(features.device)
    wide_layers = teacher.layers()
    convs = [layer for layer in wide_layers if isinstance(layer, Conv3x3)]
    x, wide = features, embedding(features)
    keep: list[int] | None = None
    for layer, wide_layer in zip(decoder.layers(), wide_layers, strict=True):
        if not isinstance(layer, Conv3x3) or not isinstance(wide_layer, Conv3x3):
            x, wide = layer(x), layer(wide)
            continue
        before = convolve(wide, wide_layer.weight) + wide_layer.get_parameter("bias")[:, None, None]
        wide = before.relu()
        following = convs.index(wide_layer) + 1
        outgoing = convs[following].weight if following < len(convs) else None
        rating = filter_importance(importance, wide_layer.weight, outgoing, wide)
        inputs, keep = keep, keep_channels(rating, layer.out_channels)
        weight = wide_layer.weight[keep]
        if inputs is None:
            layer.weight.copy_(torch.einsum("ochw,ci->oihw", weight, embedding.weight[:, :, 0, 0]))
        else:
            layer.weight.copy_(weight[:, inputs])
        match_statistics(layer, x, before[:, keep])
        x = layer(x)
    return decoder


@torch.no_grad()
def draw_decoder(spec: VGGSpec, features: Tensor, generator: torch.Generator) -> Decoder:
    """Draw a decoder at random, every channel half open on the features; its first pictures are nearly gray.

    Args:
        spec: The decoder.
        features: (N, C, h, w); statistics are measured on them.
        generator: On the CPU.
    """
    decoder = Decoder(spec).to(features.device)
    x = features
    for layer in decoder.layers():
        x = draw_layer(layer, x, generator) if isinstance(layer, Conv3x3) else layer(x)
    last = decoder.layers()[-1]
    assert isinstance(last, Conv3x3)
    last.weight.mul_(0.1)
    last.get_parameter("bias").mul_(0.1).add_(0.5)
    return decoder


@torch.no_grad()
def draw_layer(layer: Conv3x3 | Conv1x1, x: Tensor, generator: torch.Generator) -> Tensor:
    """Draw a layer at random and return its output.

    Source: Krähenbühl et al. 2016, data-dependent initialization: deep networks without normalization layers learn
    faster when every channel begins with mean 0 and deviation 1.
    """
    layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator, dtype=torch.float32, device="cpu"))
    standard = torch.tensor([-1.0, 1.0], device=x.device, dtype=torch.float32)[:, None, None, None] * 2**-0.5
    match_statistics(layer, x, standard.expand(2, layer.out_channels, 1, 1))
    return layer(x)


@torch.no_grad()
def match_statistics(layer: Conv3x3 | Conv1x1, x: Tensor, target: Tensor) -> None:
    """Rescale and shift the filters so that each channel has the target's mean and deviation before the ReLU.

    A channel whose ReLU would then be closed everywhere gets mean 0 instead.

    Args:
        layer: Its weight is set, its bias is overwritten.
        x: (N, I, H, W), its input.
        target: (M, C, h, w), of any number of positions.
    """
    output = linear_part(layer, x)
    spread, wanted = (t.transpose(0, 1).flatten(1).std(1) for t in (output, target))
    scale = (wanted / spread.clamp_min(1e-12)).clamp_max(MAX_GAIN)
    middle = scale * output.mean((0, 2, 3))
    shift = target.mean((0, 2, 3)) - middle
    if isinstance(layer, Conv1x1) or layer.relu:
        shift = torch.where(scale * output.amax((0, 2, 3)) + shift <= 0, -middle, shift)
    layer.weight.mul_(scale[:, None, None, None])
    layer.get_parameter("bias").copy_(shift)


def linear_part(layer: Conv3x3 | Conv1x1, x: Tensor) -> Tensor:
    """Return a layer's output without bias and ReLU."""
    if isinstance(layer, Conv3x3):
        x = F.pad(x, layer.rim, mode="reflect")
    return F.conv2d(x, layer.weight, None, layer.stride, groups=layer.groups)


def convolve(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve (N, I, H, W) with (C, I, 3, 3), reflection padding, no bias, no ReLU."""
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), weight)


@torch.no_grad()
def selection_embedding(keep: Sequence[int], teacher_width: int) -> Pointwise:
    """Start an embedding: kept channels go where they came from, the others get their mean, 1.

    Args:
        keep: Keep list of the layer.
        teacher_width: Channels of the teacher, normalized.

    Returns:
        A 1x1 convolution.

    Source: methods.md 6.6, item 6.
    """
    embedding = Pointwise(len(keep), teacher_width)
    bias = embedding.get_parameter("bias")
    nn.init.zeros_(embedding.weight)
    nn.init.ones_(bias)
    bias[list(keep)] = 0
    embedding.weight[list(keep), list(range(len(keep)))] = 1
    return embedding


@torch.no_grad()
def fit_embedding(features: Tensor, targets: Tensor, *, ridge: float = 1e-2, positions: int = 1 << 16) -> Pointwise:
    """Solve for the 1x1 convolution from features (N, c, H, W) to targets (N, C, H, W) with least squares, in float64.

    Args:
        features: Of the student.
        targets: Of the teacher.
        ridge: Added to the covariance, relative to its mean diagonal, so that dead channels do no harm.
        positions: Most positions to use, evenly spread.
    """
    step = max(1, features[:, 0].numel() // positions)
    x, y = (t.transpose(0, 1).flatten(1)[:, ::step].double() for t in (features, targets))
    matrix, bias = fit_affine(x, y, ridge)
    embedding = Pointwise(len(x), len(y)).to(features.device)
    embedding.weight.copy_(matrix[:, :, None, None])
    embedding.get_parameter("bias").copy_(bias)
    return embedding


def fit_affine(x: Tensor, y: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """Solve for the matrix (K, I) and bias (K,) that bring (I, P) nearest to (K, P), by least squares.

    Args:
        x: Inputs at P positions, float64.
        y: Wanted outputs.
        ridge: Added to the covariance, relative to its mean diagonal.
    """
    x_mean, y_mean = x.mean(1), y.mean(1)
    x, y = x - x_mean[:, None], y - y_mean[:, None]
    covariance = x @ x.T / x.shape[1]
    covariance.diagonal().add_(ridge * covariance.diagonal().mean() + 1e-12)
    matrix = torch.linalg.solve(covariance, x @ y.T / x.shape[1]).T
    return matrix, y_mean - matrix @ x_mean


@torch.no_grad()
def reinitialize(network: Encoder | Decoder, inputs: Tensor, generator: torch.Generator) -> int:
    """Reinitialize channels that are zero on all inputs, layer by layer: each duplicates a strong channel.

    Original and duplicate share their outgoing weights, so that the network's output hardly changes (a channel that
    disturbs it is soon closed again), and noise in the filter lets them part. The deepest channels of an encoder, whose
    next layer is not in the network, get a bias that half opens them.

    Args:
        network: Changed in place.
        inputs: (N, 3, H, W) images for an encoder, (N, C, h, w) features for a decoder.
        generator: On the CPU.

    Returns:
        The number of channels that were.

    Source: Chen et al. 2016 (Net2Net), for the duplicates.
    """
    reinitialized, x = 0, inputs
    layers = network.layers()
    convs = [layer for layer in layers if isinstance(layer, Conv3x3)]
    for layer in layers:
        output = layer(x)
        if isinstance(layer, Conv3x3) and layer.relu and (dead := output.amax((0, 2, 3)) <= 0).any():
            index = dead.nonzero()[:, 0]
            next_layer = convs[convs.index(layer) + 1] if layer is not convs[-1] else None
            if next_layer is None:
                layer.get_parameter("bias")[index] = -convolve(x, layer.weight[index]).mean((0, 2, 3))
            else:
                _duplicate(layer, next_layer, index, output.mean((0, 2, 3)), generator)
            reinitialized += len(index)
            output = layer(x)
        x = output
    return reinitialized


def _duplicate(
    layer: Conv3x3, next_layer: Conv3x3, dead: Tensor, activation: Tensor, generator: torch.Generator
) -> None:
    """Give each dead channel half of one of the channels that matter most to the next layer."""
    strength = activation * next_layer.weight.abs().sum((0, 2, 3))
    donors = strength.topk(min(len(dead), int((strength > 0).sum()))).indices
    for channel, donor in zip(dead.tolist(), donors.tolist(), strict=False):
        weight = layer.weight[donor]
        noise = torch.randn(weight.shape, generator=generator, dtype=torch.float32, device="cpu").to(weight)
        layer.weight[channel] = weight + DUPLICATE_NOISE * weight.std() * noise
        layer.get_parameter("bias")[channel] = layer.get_parameter("bias")[donor]
        next_layer.weight[:, donor] *= 0.5
        next_layer.weight[:, channel] = next_layer.weight[:, donor]


@torch.no_grad()
def dead_fraction(network: Encoder | Decoder, inputs: Tensor) -> float:
    """Return the share of hidden channels that are zero on all inputs, (N, 3, H, W) images or (N, C, h, w) features."""
    dead, total, x = 0, 0, inputs
    for layer in network.layers():
        x = layer(x)
        if isinstance(layer, Conv3x3) and layer.out_channels != 3:
            dead += int((x.amax((0, 2, 3)) <= 0).sum())
            total += layer.out_channels
    return dead / max(total, 1)
