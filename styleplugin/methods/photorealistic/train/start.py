"""Starting values of a photorealistic student's blocks: random layers, and a last one solved by least squares.

The principal components of the teacher are linear in its features, and mostly so in the layers before them; the
solution in closed form is better than what the first hundreds of gradient steps find.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styleplugin.methods.photorealistic.model import PhotoDecoderBlock, PhotoModel
from styleplugin.networks.layers import Conv1x1, Conv3x3, Join
from styleplugin.train.pruning.filters import draw_layer, fit_affine

OPENING = 2.0
"""Mean of a feature channel at the start, in its standard deviations: the components have both signs, and so far above
0 they pass the ReLU whole."""
POSITIONS = 1 << 15
"""Most positions for a fit."""


@torch.no_grad()
def start_block(model: PhotoModel, block: int, images: Tensor, components: Tensor, generator: torch.Generator) -> None:
    """Give a block of encoder and decoder its starting values.

    Args:
        model: The blocks before are trained.
        block: 0 to 3.
        images: (N, 3, H, W) in [0, 1].
        components: (N, d, h, w), the teacher's principal components there.
        generator: On the CPU.
    """
    skips = [images, *model.encoder.features(images, block)]
    opening = OPENING * components.transpose(0, 1).flatten(1).std(1)[:, None, None]
    features = _start_layers(list(model.encoder.blocks[block]), skips[-1], components + opening, generator)  # type: ignore[arg-type]
    decoder = model.decoder.blocks[block]
    assert isinstance(decoder, PhotoDecoderBlock)
    _start_layers(list(decoder.layers), features, skips[-1], generator, detail=decoder.high_pass(skips[-1]))


def _start_layers(
    layers: Sequence[nn.Module], x: Tensor, target: Tensor, generator: torch.Generator, detail: Tensor | None = None
) -> Tensor:
    """Draw layers, fit the last one that mixes channels to the target, and return the output."""
    last = max(i for i, layer in enumerate(layers) if isinstance(layer, (Conv3x3, Conv1x1)) and layer.groups == 1)
    for layer in layers[:last]:
        if isinstance(layer, (Conv3x3, Conv1x1)):
            x = draw_layer(layer, x, generator)
        else:
            x = layer(x, detail) if isinstance(layer, Join) else layer(x)
    fitted, behind = layers[last], layers[last + 1 :]
    assert isinstance(fitted, (Conv3x3, Conv1x1))
    inputs = x
    for layer in behind:
        # A depthwise layer begins as a mean, which changes places with the mixing before it.
        assert isinstance(layer, Conv3x3)
        nn.init.constant_(layer.weight, 1 / 9)
        nn.init.zeros_(layer.get_parameter("bias"))
        inputs = F.avg_pool2d(F.pad(inputs, layer.rim, mode="reflect"), 3, layer.stride[0])
    fit_layer(fitted, inputs, target)
    for layer in (fitted, *behind):
        x = layer(x)
    return x


@torch.no_grad()
def fit_layer(layer: Conv3x3 | Conv1x1, x: Tensor, target: Tensor, *, ridge: float = 1e-3) -> None:
    """Solve for a layer's weights that come nearest to a target, by least squares in float64, without its ReLU.

    Args:
        layer: Its weights are set.
        x: (N, I, H, W), its input.
        target: (N, K, h, w), its wanted output.
        ridge: Added to the covariance, relative to its mean diagonal.
    """
    if isinstance(layer, Conv3x3):
        x = F.unfold(F.pad(x, layer.rim, mode="reflect"), 3, stride=layer.stride)
    inputs, wanted = (t.transpose(0, 1).flatten(1) for t in (x, target))
    step = max(1, inputs.shape[1] // POSITIONS)
    inputs, wanted = (t[:, ::step].to("cpu", torch.float64) for t in (inputs, wanted))
    matrix, bias = fit_affine(inputs, wanted, ridge)
    layer.weight.copy_(matrix.reshape(layer.weight.shape))
    layer.get_parameter("bias").copy_(bias)
