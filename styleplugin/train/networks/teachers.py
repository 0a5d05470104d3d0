"""The loss network: normalized VGG-19 features, frozen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from styleplugin.errors import WeightsError
from styleplugin.loading.encoders import load_encoder
from styleplugin.networks.model import load_tensors
from styleplugin.networks.vgg import CONVS, Encoder, VGGSpec, convs_of_level
from styleplugin.tensorfile import TEACHER, read_weights
from styleplugin.train.recipe.options import TeacherOptions
from styleplugin.transforms.losses import Statistics, parted, statistics_of

RARE = 0.25
"""Channels with a smaller share of their layer's mean activation are scaled as if they had that much: on the few
pictures that are measured some hardly open, and would drown all others in training."""
DEAD = 1e-8
"""Channels with a smaller mean are not normalized."""


class LossNetwork(nn.Module):
    """Frozen features at the teacher's widths.

    Args:
        vgg: Normalized VGG-19 as deep as it is needed.
        layers: All known layers of normalized VGG-19, `conv1_1.weight` ..., also those that `vgg` does not reach;
            students start from them.
        sources: What it was made from, by name, for the model card.
    """

    def __init__(self, vgg: Encoder, *, layers: dict[str, Tensor], sources: dict[str, str]) -> None:
        super().__init__()
        self.vgg = vgg
        self.layers = layers
        self.sources = sources
        self.widths = tuple(vgg.spec.widths[CONVS.index(f"{k}_1")] for k in range(1, vgg.spec.level + 1))
        """Channels of each level."""
        self.eval().requires_grad_(False)

    def features(self, image: Tensor) -> list[Tensor]:
        """Return relu1_1, relu2_1, ... of (N, 3, H, W) in [0, 1], nonnegative, mean about 1."""
        return self.vgg.features(image)

    def forward(self, image: Tensor) -> Tensor:
        """Return the deepest of `features`."""
        return self.vgg(image)


def wanted_statistics(
    loss_network: LossNetwork, style: Tensor, known: Tensor | None, seen: Sequence[Tensor]
) -> Statistics:
    """Return the statistics that an output must reach.

    Args:
        loss_network: Sees the styles, where nothing is known.
        style: (N, 3, H, W) in [0, 1].
        known: Statistics of the styles, `joined`; None where they are to be measured.
        seen: Features of the output, whose levels they are parted into.
    """
    if known is not None:
        return parted(known, seen)
    with torch.no_grad():
        return statistics_of(loss_network.features(style))


def normalize_layers(layers: Mapping[str, Tensor], means: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rescale VGG-19 so that every channel has mean activation 1 and the network computes the same up to that scale.

    Args:
        layers: `conv1_1.weight`, `conv1_1.bias`, ... in order.
        means: Mean activation after the ReLU by layer, `conv1_1` ..., (C,).

    Source: Gatys et al. 2015. Differs from the script of Collaborative Distillation, which divides by one number per
    layer and does not rescale the next: here the function is preserved.
    """
    result: dict[str, Tensor] = {}
    scale = torch.ones(3, dtype=torch.float32, device="cpu")
    for name in (f"conv{conv}" for conv in CONVS if f"conv{conv}.weight" in layers):
        mean = means[name].double()
        mean = torch.where(mean > DEAD, mean, torch.ones_like(mean))
        weight = layers[f"{name}.weight"].double() * scale.double()[None, :, None, None] / mean[:, None, None, None]
        result[f"{name}.weight"] = weight.float()
        result[f"{name}.bias"] = (layers[f"{name}.bias"].double() / mean).float()
        scale = mean
    return result


def build_loss_network(options: TeacherOptions, level: int, images: Tensor) -> LossNetwork:
    """Build the loss network of a recipe, no deeper than its level.

    Args:
        options: Where the weights are.
        level: 1 to 5.
        images: (N, 3, H, W) in [0, 1]; the means of a full VGG-19 are measured on them.

    Raises:
        UsageError: SP126, the recipe names no teacher.
        WeightsError: SP301 to SP319, a file is missing or wrong; SP330, its sha256 is not the recipe's; SP331, the
            given VGG-19 does not reach the level.
    """
    if options.source:
        return _full_judge(options.source, level, images)
    weights = read_pinned(options.file(options.vgg), options.vgg_sha256)
    raw = {name: value for name, value in weights.items() if name.startswith("conv")}
    layers = normalize_layers(raw, _means_of_file(weights))
    return LossNetwork(teacher_encoder(layers, level), layers=layers, sources={options.vgg: options.vgg_sha256})


def _means_of_file(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the means by which the papers normalize VGG-19, and those measured where these are not known."""
    means = {}
    for conv in CONVS:
        published, measured = weights.get(f"adain.relu{conv}_mean"), weights.get(f"stats.relu{conv}_mean")
        if published is not None:
            means[f"conv{conv}"] = published
        elif measured is not None:
            means[f"conv{conv}"] = _lift_rare(measured)
    return means


def _lift_rare(mean: Tensor) -> Tensor:
    return mean.clamp_min(RARE * float(mean.mean()))


def _full_judge(source: str, level: int, images: Tensor) -> LossNetwork:
    """Build a loss network of true layers only: of a VGG-19, or of the encoder of one of our models."""
    # Whoever names a teacher knows it.
    loaded = load_encoder(source, allow_unknown=True)
    state = loaded.encoder.state_dict()
    needed = [f"conv{conv}.{part}" for conv in convs_of_level(level) for part in ("weight", "bias")]
    if needed[-1] not in state:
        raise WeightsError(
            "SP331",
            f"The teacher {label_of(source)} ends before conv{convs_of_level(level)[-1]}, which level {level} needs.",
            "Give a deeper one, for example a full VGG-19, or choose a lower level.",
        )
    layers = {key: state[key] for key in needed}
    means = measure_means(teacher_encoder(layers, level), images)
    layers = normalize_layers(layers, {name: _lift_rare(mean) for name, mean in means.items()})
    return LossNetwork(teacher_encoder(layers, level), layers=layers, sources={label_of(source): loaded.sha256})


def label_of(source: str) -> str:
    """Return the name of a teacher for the card, without the folders of this machine."""
    return Path(source.removeprefix("file:")).name if source.startswith("file:") else source


@torch.no_grad()
def measure_means(encoder: Encoder, images: Tensor) -> dict[str, Tensor]:
    """Return the mean activation of each channel by layer, (C,), over (N, 3, H, W) images one by one."""
    totals: dict[str, Tensor] = {}
    convs = {id(layer): name for name, layer in encoder.named_children()}
    for image in images.split(1):
        x = image
        for layer in encoder.layers():
            x = layer(x)
            if (name := convs[id(layer)]).startswith("conv"):
                totals[name] = totals.get(name, 0) + x.mean((0, 2, 3)).double()
    return {name: total / len(images) for name, total in totals.items()}


def read_pinned(path: Path, sha256: str) -> dict[str, Tensor]:
    """Read a teacher's file, or raise WeightsError SP330 if its sha256 is another one."""
    weights = read_weights(path, limits=TEACHER)
    if weights.sha256 != sha256:
        raise WeightsError(
            "SP330",
            f"{path.name} has the sha256 {weights.sha256[:16]}..., the recipe needs {sha256[:16]}....",
            "Get the file again, or change the recipe if another teacher is meant.",
        )
    return weights.tensors


def teacher_encoder(layers: Mapping[str, Tensor], level: int) -> Encoder:
    """Build the teacher from its layers, `conv1_1.weight` ...; WeightsError SP331 if they end before the level."""
    convs = convs_of_level(level)
    if f"conv{convs[-1]}.weight" not in layers:
        raise WeightsError("SP331", f"The teacher ends before conv{convs[-1]}.", f"Level {level} needs a deeper one.")
    encoder = Encoder(VGGSpec(level=level, widths=tuple(len(layers[f"conv{conv}.bias"]) for conv in convs)))
    keys = encoder.state_dict().keys()
    load_tensors(encoder, {key: layers[key] for key in keys}, "the teacher")
    return encoder
