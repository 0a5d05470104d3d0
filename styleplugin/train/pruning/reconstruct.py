"""Students out of teachers by least squares: each layer gives the teacher's channels back from what the student has.

Layer by layer, those of the teacher's channels are kept from which the others follow best, and the student's filters
are solved for: from its own features, as its earlier layers have made them, to what the kept channels are in the
teacher. So each layer mends what the layers before it have lost. Nothing is trained; it takes as long as a few hundred
steps of training and is worth thousands.

Source: Zhang et al. 2016, "Accelerating Very Deep Convolutional Networks" (asymmetric reconstruction, and that a ReLU
follows); He et al. 2017 and Luo et al. 2017 (channels by what they reconstruct). Differs: filters are solved for
anew, and channels are chosen greedily from their covariance.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from styleplugin.networks.layers import Conv3x3
from styleplugin.networks.vgg import Decoder, Encoder, VGGSpec, convs_of_level
from styleplugin.train.pruning.filters import Keeps, linear_part

POSITIONS = 24_000
"""Places of the feature maps that a layer is solved from."""
RIDGE = 1e-3
"""Added to the covariance of a layer's inputs, relative to its mean diagonal."""
ROUNDS = 6
"""How often closed places are reconsidered, see `solve_filters`."""
_AT_ONCE = 8


@torch.no_grad()
def reconstruct_encoder(
    teacher: Encoder, spec: VGGSpec, images: Tensor, generator: torch.Generator
) -> tuple[Encoder, Keeps]:
    """Start a small encoder.

    Args:
        teacher: The wide encoder, of the same level.
        spec: The student.
        images: (N, 3, H, W) in [0, 1], what the layers are solved from.
        generator: On the CPU; draws the places.

    Returns:
        The encoder, and the keep lists of its layers.
    """
    encoder = Encoder(spec).to(images.device)
    keeps = _reconstruct(encoder.layers(), teacher.layers(), images, images, generator)
    return encoder, dict(zip(convs_of_level(spec.level), keeps, strict=True))


@torch.no_grad()
def reconstruct_decoder(
    teacher: Decoder, spec: VGGSpec, features: Tensor, wide: Tensor, generator: torch.Generator
) -> Decoder:
    """Start a small decoder.

    Args:
        teacher: The wide decoder, of the same level.
        spec: The small decoder.
        features: (N, C, h, w), features of the student.
        wide: (N, K, h, w), the teacher's for the same pictures.
        generator: On the CPU; draws the places.
    """
    decoder = Decoder(spec).to(features.device)
    _reconstruct(decoder.layers(), teacher.layers(), features, wide, generator)
    return decoder


def _reconstruct(
    layers: Sequence[nn.Module], originals: Sequence[nn.Module], x: Tensor, wide: Tensor, generator: torch.Generator
) -> list[list[int]]:
    """Solve for all convolutions; return the channels of the originals that they give back."""
    parts, wide_parts = list(x.split(_AT_ONCE)), list(wide.split(_AT_ONCE))
    keeps = []
    for layer, original in zip(layers, originals, strict=True):
        if isinstance(layer, Conv3x3) and isinstance(original, Conv3x3):
            inputs, outputs = [], []
            for index, (part, wide_part) in enumerate(zip(parts, wide_parts, strict=True)):
                linear = linear_part(original, wide_part) + original.get_parameter("bias")[:, None, None]
                wide_parts[index] = linear.relu() if original.relu else linear
                places = _draw_places(linear, -(-POSITIONS // len(parts)), generator)
                inputs.append(_patches(part, *places).cpu())
                outputs.append(_values(linear, *places).cpu())
            target = torch.cat(outputs).double()
            keep = choose_channels(target.relu() if original.relu else target, layer.out_channels)
            # The last layer's pictures are not cut off, so that the training has gradients there.
            relu = original.relu and layer.out_channels != 3
            weight, bias = solve_filters(torch.cat(inputs).double(), target[:, keep], relu=relu)
            layer.weight.copy_(weight.reshape(layer.weight.shape))
            layer.get_parameter("bias").copy_(bias)
            keeps.append(keep)
        else:
            wide_parts = [original(part) for part in wide_parts]
        parts = [layer(part) for part in parts]
    return keeps


def choose_channels(features: Tensor, width: int) -> list[int]:
    """Return the channels, in ascending order, from which all others follow best by a linear map, chosen one by one.

    Args:
        features: (P, C), float64; channels count alike, however strong they are.
        width: How many channels are chosen; all, if there are no more.
    """
    if width >= features.shape[1]:
        return list(range(features.shape[1]))
    centered = features - features.mean(0)
    deviation = centered.std(0)
    centered /= deviation + 1e-6 * deviation.mean() + 1e-12
    # What is left of the covariance when the chosen channels are known.
    left = centered.T @ centered / len(centered)
    chosen: list[int] = []
    for _ in range(width):
        own = left.diagonal()
        explained = left.square().sum(0) / own.clamp_min(1e-9)
        explained[own < 1e-6] = 0
        explained[chosen] = -1
        best = int(explained.argmax())
        chosen.append(best)
        if own[best] > 1e-6:
            left = left - torch.outer(left[:, best], left[best]) / left[best, best]
    return sorted(chosen)


def solve_filters(inputs: Tensor, target: Tensor, *, relu: bool) -> tuple[Tensor, Tensor]:
    """Solve for the filters that bring inputs nearest to a target, by least squares.

    Args:
        inputs: (P, I), float64.
        target: (P, K), float64, before the ReLU.
        relu: Whether a ReLU follows. Then a closed place, where the target is not positive, is right with any value
            that is not positive: in rounds, the target there becomes what the last solution had.

    Returns:
        Filters (K, I) and bias (K,).
    """
    middle = inputs.mean(0)
    centered = inputs - middle
    covariance = centered.T @ centered / len(inputs)
    covariance.diagonal().add_(RIDGE * covariance.diagonal().mean() + 1e-12)
    factor = torch.linalg.cholesky(covariance)
    wanted = target
    for _ in range(ROUNDS if relu else 1):
        mean = wanted.mean(0)
        matrix = torch.cholesky_solve(centered.T @ (wanted - mean) / len(inputs), factor)
        wanted = torch.where(target > 0, target, (centered @ matrix + mean).clamp_max(0))
    return matrix.T, mean - middle @ matrix


def _draw_places(features: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Return `count` places in (N, C, H, W), as the numbers of pictures, rows and columns."""
    images, _, height, width = features.shape
    total = images * height * width
    places = torch.randperm(total, generator=generator, dtype=torch.int64, device="cpu")[:count].to(features.device)
    return places // (height * width), places % (height * width) // width, places % width


def _patches(x: Tensor, image: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Return what a 3x3 filter sees at the places, (P, 9 I), in the order of its values."""
    padded = F.pad(x, (1, 1, 1, 1), mode="reflect")
    seen = [padded[image, :, row + down, column + right] for down in range(3) for right in range(3)]
    return torch.stack(seen, 2).flatten(1)


def _values(x: Tensor, image: Tensor, row: Tensor, column: Tensor) -> Tensor:
    return x[image, :, row, column]
