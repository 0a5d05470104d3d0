"""The results of the phases as files: full-width decoder (fp16), embedded small encoder, small decoder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from styleplugin.errors import CheckpointError, UsageError
from styleplugin.loading.build import load_model
from styleplugin.loading.convert.collaborative_distillation import EmbeddedEncoder
from styleplugin.networks.layers import Pointwise
from styleplugin.networks.model import load_tensors
from styleplugin.networks.pairs import PairModel
from styleplugin.networks.vgg import Decoder, Encoder, VGGSpec
from styleplugin.tensorfile import TEACHER, Weights, parsing_metadata, read_weights, write_weights
from styleplugin.train.pruning.pruned import PrunedAutoencoder

DTYPES = {"teacher_decoder": torch.float16}
"""Precision on disk; training goes on from the file's values, so that a resumed run equals an uninterrupted one."""
_HALVES = ("encoder", "decoder")


def save_part(path: Path, phase: str, part: nn.Module, card: dict[str, Any]) -> None:
    """Write the result of a phase.

    Args:
        path: Target.
        phase: Name of the phase.
        part: `Decoder`, `EmbeddedEncoder`, or both as "decoder" and "encoder" of a `ModuleDict`.
        card: JSON data.
    """
    embedded = part["encoder"] if isinstance(part, nn.ModuleDict) else part
    autoencoder = embedded.encoder if isinstance(embedded, EmbeddedEncoder) else embedded
    assert isinstance(autoencoder, Encoder | Decoder)
    metadata: dict[str, Any] = {"architecture": f"training-{phase}", "spec": autoencoder.spec.to_dict(), "card": card}
    if isinstance(embedded, EmbeddedEncoder):
        metadata["embeddings"] = [embed.out_channels for embed in embedded.embeddings]
    dtype = DTYPES.get(phase, torch.float32)
    write_weights(path, {name: value.to(dtype) for name, value in part.state_dict().items()}, metadata)


def save_pruned(path: Path, pruned: PrunedAutoencoder, card: dict[str, Any]) -> None:
    """Write what the phase "pruning" has left, with the keep lists of its layers."""
    encoder, decoder = pruned.cut()
    tensors = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    tensors |= {f"decoder.{name}": value for name, value in decoder.state_dict().items()}
    specs = {"encoder": encoder.spec.to_dict(), "decoder": decoder.spec.to_dict()}
    metadata = {"architecture": "training-pruning", "specs": specs, "keeps": pruned.keeps(), "card": card}
    write_weights(path, tensors, metadata)


def load_pruned(path: Path) -> tuple[Encoder, Decoder]:
    """Read the result of the phase "pruning"."""
    weights = read_weights(path, limits=TEACHER)
    with parsing_metadata(path.name):
        specs = weights.metadata["specs"]
        encoder = Encoder(VGGSpec.from_dict(specs["encoder"]))
        decoder = Decoder(VGGSpec.from_dict(specs["decoder"]))
    load_tensors(nn.ModuleDict({"encoder": encoder, "decoder": decoder}), weights.tensors, path.name)
    return encoder, decoder


Part = Decoder | Encoder | EmbeddedEncoder


def load_part(path: str | Path, phase: str) -> tuple[Part, dict[str, Any]]:
    """Read the result of a phase, or the matching half of a result of "student_pair" or of a finished pair.

    The half of a finished pair is an `Encoder`, without embeddings. Its decoder is a teacher's where its encoder is the
    teacher, as in AdaIN's own pair.

    Returns:
        The part and its card.

    Raises:
        WeightsError: As `read_weights` and `load_model`.
        UsageError: SP141, the file holds something else.
    """
    weights = read_weights(path, limits=TEACHER)
    architecture = str(weights.metadata.get("architecture"))
    if architecture == f"training-{phase}":
        return _build(weights, phase), weights.card
    half = phase.removeprefix("student_")
    if architecture == "training-student_pair" and half in _HALVES:
        prefix = f"{half}."
        tensors = {key.removeprefix(prefix): t for key, t in weights.tensors.items() if key.startswith(prefix)}
        return _build(replace(weights, tensors=tensors), phase), weights.card
    if architecture == "vgg-pairs":
        model, _ = load_model(weights)
        assert isinstance(model, PairModel)
        pair = model.pair(model.levels[0])
        return (pair.encoder if phase == "student_encoder" else pair.decoder), weights.card
    raise UsageError(
        "SP141", f"{Path(path).name} holds {architecture!r}; a result of the phase {phase} or a pair is needed."
    )


def check_spec(part: Part, spec: VGGSpec, where: str) -> None:
    """Raise CheckpointError SP805 if a part is deeper than the recipe wants, or has other widths as far as it goes.

    The entrance of a teacher's decoder is as wide as the loss network's features; elsewhere a shallower part must
    match.
    """
    found = (part.encoder if isinstance(part, EmbeddedEncoder) else part).spec
    if found.level > spec.level or found.widths != spec.widths[: len(found.widths)]:
        raise CheckpointError(
            "SP805",
            f"{where} has level {found.level} and the widths {list(found.widths)}, "
            f"the recipe level {spec.level} and {list(spec.widths)}.",
            "Give the result of a recipe with the same widths.",
        )


def _build(weights: Weights, phase: str) -> Decoder | EmbeddedEncoder:
    with parsing_metadata(weights.path.name):
        spec = VGGSpec.from_dict(weights.metadata["spec"])
        if phase == "student_encoder":
            encoder = Encoder(spec)
            own = (len(encoder.get_parameter(f"conv{k}_1.bias")) for k in range(1, spec.level + 1))
            widths = zip(own, weights.metadata["embeddings"], strict=True)
            embeddings = [Pointwise(narrow, wide) for narrow, wide in widths]
            part = EmbeddedEncoder(encoder, embeddings)
        else:
            part = Decoder(spec)
    load_tensors(part, weights.tensors, weights.path.name)
    return part
