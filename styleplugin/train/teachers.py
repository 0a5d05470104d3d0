"""The judge: normalized VGG-19 features at the teacher's widths, frozen.

Where only VGG-19's layers up to conv3_4 are at hand, relu4_1 and relu5_1 are judged by a stand-in: the linear
embeddings that the released students of Collaborative Distillation carry for these features. The true layers and the
stand-in share the order of channels and the scale, on which every channel has mean 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from styleplugin.checkpoint import TEACHER, read_weights
from styleplugin.encoders import load_encoder
from styleplugin.errors import WeightsError
from styleplugin.importers.collaborative_distillation import EmbeddedEncoder, import_embeddings
from styleplugin.models.vgg import CONVS, Encoder, VGGSpec, convs_of_level
from styleplugin.registry import load_tensors
from styleplugin.train.config import TeacherOptions

RARE = 0.25
"""Channels with a smaller share of their layer's mean activation are scaled as if they had that much: on the few
pictures that are measured some hardly open, and would drown all others in training."""
DEAD = 1e-8
"""Channels with a smaller mean are not normalized."""


class Judge(nn.Module):
    """Frozen features at the teacher's widths.

    Args:
        vgg: Normalized VGG-19 as deep as it goes.
        stand_ins: Embedded encoders whose embeddings are averaged for the levels beyond it.
        layers: All known layers of normalized VGG-19, `conv1_1.weight` ..., also those that `vgg` does not reach;
            students start from them.
        sources: What it was made from, by name, for the model card.
    """

    def __init__(
        self, vgg: Encoder, stand_ins: list[EmbeddedEncoder], *, layers: dict[str, Tensor], sources: dict[str, str]
    ) -> None:
        super().__init__()
        self.vgg = vgg
        self.stand_ins = stand_ins
        # Registers them; a ModuleList forgets the type of what it holds.
        self._stand_ins = nn.ModuleList(stand_ins)
        self.layers = layers
        self.sources = sources
        own = [vgg.spec.widths[CONVS.index(f"{k}_1")] for k in range(1, vgg.spec.level + 1)]
        deepest = max(stand_ins, key=lambda stand_in: len(stand_in.embeddings)).embeddings if stand_ins else []
        self.widths: tuple[int, ...] = (*own, *(len(embed.get_parameter("bias")) for embed in deepest[len(own) :]))
        """Channels of each level."""
        self.eval().requires_grad_(False)

    @property
    def description(self) -> str:
        """What judges, for a card."""
        true = self.vgg.spec.level
        if len(self.widths) == true:
            return "VGG-19 at all levels"
        return f"VGG-19 up to level {true}; above, the linear embeddings of the released x16 students stand in"

    def features(self, image: Tensor) -> list[Tensor]:
        """Return relu1_1, relu2_1, ... of (N, 3, H, W) in [0, 1], nonnegative, mean about 1."""
        features = self.vgg.features(image)
        students = [(stand_in.embeddings, stand_in.encoder.features(image)) for stand_in in self.stand_ins]
        for k in range(len(features), len(self.widths)):
            guesses = [embeddings[k](feature[k]) for embeddings, feature in students if len(feature) > k]
            features.append(torch.stack(guesses).mean(0).relu())
        return features

    def forward(self, image: Tensor) -> Tensor:
        """Return the deepest of `features`."""
        return self.features(image)[-1]


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


def build_judge(options: TeacherOptions, level: int, images: Tensor) -> Judge:
    """Build the judge of a recipe, no deeper than its level.

    Args:
        options: Where the weights are.
        level: 1 to 5.
        images: (N, 3, H, W) in [0, 1]; the means of a full VGG-19 are measured on them.

    Raises:
        WeightsError: SP301 to SP319, a file is missing or wrong; SP330, its sha256 is not the recipe's; SP331, the
            given VGG-19 does not reach the level.
    """
    if options.source:
        return _full_judge(options.source, level, images)
    path = Path(options.root) / options.vgg
    weights = read_pinned(path, options.vgg_sha256)
    raw = {name: value for name, value in weights.items() if name.startswith("conv")}
    means = {f"conv{name[10:-5]}": value for name, value in weights.items() if name.startswith("stats.relu")}
    layers = normalize_layers(raw, means)
    known = min(level, 3)
    sources = {options.vgg: options.vgg_sha256}
    stand_ins = []
    if level > known:
        path = Path(options.root) / options.embeddings
        read_pinned(path, options.embeddings_sha256)
        embedded = import_embeddings(path)
        stand_ins = [_truncate(embedded[k], min(k, level)) for k in (4, 5)]
        sources[options.embeddings] = options.embeddings_sha256
    return Judge(teacher_encoder(layers, known), stand_ins, layers=layers, sources=sources)


def _full_judge(source: str, level: int, images: Tensor) -> Judge:
    """Build a judge of true layers only: of a VGG-19, or of the encoder of one of our models."""
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
    layers = normalize_layers(layers, {name: mean.clamp_min(RARE * float(mean.mean())) for name, mean in means.items()})
    return Judge(teacher_encoder(layers, level), [], layers=layers, sources={label_of(source): loaded.sha256})


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


def _truncate(embedded: EmbeddedEncoder, level: int) -> EmbeddedEncoder:
    """Return the encoder without the layers beyond a level."""
    spec = embedded.encoder.spec
    shorter = Encoder(replace(spec, level=level, widths=spec.widths[: len(convs_of_level(level))]))
    state = embedded.encoder.state_dict()
    load_tensors(shorter, {key: state[key] for key in shorter.state_dict()}, "the teacher")
    return EmbeddedEncoder(shorter, list(embedded.embeddings)[:level])
