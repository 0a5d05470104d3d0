"""Students out of teachers: the most important filters of each layer, in their original order.

What is removed is replaced by its mean: on normalized features every channel has mean 1, so the bias of the next
layer takes over the sum of the removed inputs' weights.

Source: Wang et al. 2020, L1-norm initialization; methods.md 3.6 and 6.6. Differs: the keep list of a layer is handed
to the next one and to the embedding, the order of channels is kept, biases are corrected, and the decoder's first
layer absorbs the embedding instead of choosing its own input channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from styleplugin.models.layers import Conv3x3
from styleplugin.models.vgg import Decoder, Encoder, VGGSpec, convs_of_level

Keeps = dict[str, list[int]]
"""Channels of the teacher that a student's layer keeps, by convolution "1_1" ..., in ascending order."""


def keep_channels(importance: Tensor, width: int) -> list[int]:
    """Return the indices of the `width` largest values of (C,) in ascending order; all of them if C is smaller."""
    return sorted(importance.topk(min(width, len(importance))).indices.tolist())


def filter_importance(weight: Tensor, outgoing: Tensor | None, means: Tensor | None) -> Tensor:
    """Rate the filters of a layer.

    Args:
        weight: (C, I, 3, 3), the layer.
        outgoing: (O, C, 3, 3), the next layer; None if there is none.
        means: (C,), mean activations; None for the plain L1 norm of the filters.

    Returns:
        (C,): the L1 norm of each filter, or mean activation times L1 norm of its outgoing weights.
    """
    if means is None or outgoing is None:
        return weight.abs().sum((1, 2, 3))
    return means * outgoing.abs().sum((0, 2, 3))


def reinitialize(module: nn.Module, generator: torch.Generator) -> None:
    """Draw all 3x3 convolutions anew for ReLU networks, so that the size of signals is kept (He et al. 2015)."""
    with torch.no_grad():
        for conv in module.modules():
            if isinstance(conv, Conv3x3):
                conv.weight.normal_(0, (2 / (9 * conv.in_channels)) ** 0.5, generator=generator)
                nn.init.zeros_(conv.get_parameter("bias"))


@torch.no_grad()
def prune_encoder(
    layers: Mapping[str, Tensor], spec: VGGSpec, importance: str, generator: torch.Generator
) -> tuple[Encoder, Keeps]:
    """Start a small encoder from the filters of a normalized teacher.

    Args:
        layers: `conv1_1.weight`, `conv1_1.bias`, ... of the teacher, maybe only its first layers.
        spec: The student, no wider than the teacher's layers.
        importance: "l1" or "activation", see `filter_importance`.
        generator: For the layers that the teacher lacks, which are drawn at random.

    Returns:
        The encoder, and the keep lists of its layers that come from the teacher.
    """
    encoder = Encoder(spec)
    reinitialize(encoder, generator)
    convs = convs_of_level(spec.level)
    keeps: Keeps = {}
    inputs = list(range(3))
    for index, (conv, width) in enumerate(zip(convs, spec.widths, strict=True)):
        if f"conv{conv}.weight" not in layers:
            break
        weight, bias = layers[f"conv{conv}.weight"], layers[f"conv{conv}.bias"]
        outgoing = layers.get(f"conv{convs[index + 1]}.weight") if index + 1 < len(convs) else None
        means = torch.ones(len(bias)) if importance == "activation" else None
        keeps[conv] = keep = keep_channels(filter_importance(weight, outgoing, means), width)
        layer = encoder.get_submodule(f"conv{conv}")
        if len(keep) == width:
            _fill(layer, *select_filters(weight, bias, keep, inputs, torch.ones(weight.shape[1])))
        inputs = keep
    return encoder, keeps


def select_filters(
    weight: Tensor, bias: Tensor, keep: Sequence[int], inputs: Sequence[int], means: Tensor
) -> tuple[Tensor, Tensor]:
    """Cut a layer down to some filters and inputs; the bias takes over the means (I,) of the removed inputs."""
    removed = torch.ones(weight.shape[1], dtype=torch.bool)
    removed[list(inputs)] = False
    rows = weight[list(keep)]
    correction = (rows[:, removed].sum((2, 3)) * means[removed]).sum(1)
    return rows[:, list(inputs)], bias[list(keep)] + correction


@torch.no_grad()
def prune_decoder(teacher: Decoder, embedding: nn.Conv2d, spec: VGGSpec, importance: str, features: Tensor) -> Decoder:
    """Start a small decoder from a teacher decoder that was trained on embedded features.

    Args:
        teacher: Wide decoder of the same level.
        embedding: From the student's features to the teacher's; its first layer absorbs it, which is exact.
        spec: The small decoder.
        importance: "l1" or "activation", see `filter_importance`.
        features: (N, C, h, w), features of the student; mean activations are measured on them.
    """
    decoder = Decoder(spec)
    layers = [layer for layer in teacher.layers() if isinstance(layer, Conv3x3)]
    targets = [layer for layer in decoder.layers() if isinstance(layer, Conv3x3)]
    means = _mean_activations(teacher, embedding(features))
    inputs: list[int] = []
    for index, (layer, target) in enumerate(zip(layers, targets, strict=True)):
        weight, bias = layer.weight, layer.get_parameter("bias")
        if index + 1 < len(layers):
            outgoing, mean = layers[index + 1].weight, means[index] if importance == "activation" else None
            keep = keep_channels(filter_importance(weight, outgoing, mean), target.out_channels)
        else:
            keep = list(range(3))
        if index == 0:
            matrix, shift = embedding.weight[:, :, 0, 0], embedding.get_parameter("bias")
            bias = bias + torch.einsum("ochw,c->o", weight, shift)
            weight = torch.einsum("ochw,ci->oihw", weight, matrix)
            _fill(target, weight[keep], bias[keep])
        else:
            _fill(target, *select_filters(weight, bias, keep, inputs, means[index - 1]))
        inputs = keep
    return decoder


@torch.no_grad()
def selection_embedding(keep: Sequence[int] | None, width: int, teacher_width: int) -> nn.Conv2d:
    """Start an embedding: kept channels go where they came from, the others get their mean, 1.

    Args:
        keep: Keep list of the layer; None if the student's channels do not come from the teacher.
        width: Channels of the student.
        teacher_width: Channels of the teacher.

    Returns:
        A 1x1 convolution.

    Source: methods.md 6.6, item 6.
    """
    embedding = nn.Conv2d(width, teacher_width, 1)
    nn.init.zeros_(embedding.weight)
    bias = embedding.get_parameter("bias")
    nn.init.ones_(bias)
    for channel, place in enumerate(keep or ()):
        embedding.weight[place, channel] = 1
        bias[place] = 0
    return embedding


@torch.no_grad()
def fit_embedding(features: Tensor, targets: Tensor, ridge: float = 1e-3) -> nn.Conv2d:
    """Solve for the 1x1 convolution from features (N, c, H, W) to targets (N, C, H, W) with least squares, in float64.

    Args:
        features: Of the student.
        targets: Of the teacher.
        ridge: Added to the covariance, relative to its mean diagonal, so that dead channels do no harm.
    """
    x, y = (t.double().transpose(0, 1).flatten(1) for t in (features, targets))
    x_mean, y_mean = x.mean(1), y.mean(1)
    x, y = x - x_mean[:, None], y - y_mean[:, None]
    covariance = x @ x.T / x.shape[1]
    covariance.diagonal().add_(ridge * covariance.diagonal().mean() + 1e-12)
    matrix = torch.linalg.solve(covariance, x @ y.T / x.shape[1]).T
    embedding = nn.Conv2d(len(x), len(y), 1)
    embedding.weight.copy_(matrix[:, :, None, None])
    embedding.get_parameter("bias").copy_(y_mean - matrix @ x_mean)
    return embedding


@torch.no_grad()
def revive(network: Encoder | Decoder, inputs: Tensor) -> int:
    """Wake up channels that are zero on all inputs, layer by layer: their bias is raised to half-open the ReLU.

    Args:
        network: Changed in place.
        inputs: (N, 3, H, W) images for an encoder, (N, C, h, w) features for a decoder.

    Returns:
        The number of channels revived.
    """
    revived = 0
    x = inputs
    for layer in network.layers():
        output = layer(x)
        if isinstance(layer, Conv3x3) and layer.relu:
            dead = output.amax((0, 2, 3)) <= 0
            if dead.any():
                before = nn.functional.conv2d(nn.functional.pad(x, (1, 1, 1, 1), mode="reflect"), layer.weight[dead])
                layer.get_parameter("bias")[dead] = -before.mean((0, 2, 3))
                revived += int(dead.sum())
                output = layer(x)
        x = output
    return revived


@torch.no_grad()
def dead_fraction(network: Encoder | Decoder, inputs: Tensor) -> float:
    """Return the share of ReLU channels that are zero on all inputs, of the layers before the picture."""
    dead, total, x = 0, 0, inputs
    for layer in network.layers():
        x = layer(x)
        if isinstance(layer, Conv3x3) and layer.relu and layer.out_channels != 3:
            dead += int((x.amax((0, 2, 3)) <= 0).sum())
            total += layer.out_channels
    return dead / max(total, 1)


def _mean_activations(decoder: Decoder, features: Tensor) -> list[Tensor]:
    means, x = [], features
    for layer in decoder.layers():
        x = layer(x)
        if isinstance(layer, Conv3x3):
            means.append(x.mean((0, 2, 3)))
    return means


def _fill(layer: nn.Module, weight: Tensor, bias: Tensor) -> None:
    assert isinstance(layer, Conv3x3)
    layer.weight.copy_(weight)
    layer.get_parameter("bias").copy_(bias)
