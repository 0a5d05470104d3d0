"""From a weights file to a model: known architectures, and their file format.

Files with our metadata are built as the method that they name says; files of other origin go to the importer that knows
their tensor names. The architecture always comes from the records of the methods, never from code in a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from styleplugin.errors import WeightsError
from styleplugin.loading.convert import collaborative_distillation, pca_distillation
from styleplugin.methods import registry
from styleplugin.networks.model import StyleModel, build_filled, check_pairing, pairing_id
from styleplugin.networks.pairs import Pair, PairSpec, blank_pairs
from styleplugin.networks.vgg import CONVS, Decoder, Encoder, VGGSpec
from styleplugin.options import DEEPEST_STRIDE
from styleplugin.tensorfile import Weights, parsing_metadata, shortened, write_weights

METRICS = "feature-metrics"
"""Architecture of files that say how much each direction of an encoder's features counts; no model of its own."""
ENCODER = "feature-encoder"
"""Architecture of files that hold an encoder and its metrics, for the optimization."""
_FOREIGN = (collaborative_distillation, pca_distillation)
"""Importers of files without our metadata: each says whether it knows the tensors, and builds a model of them."""


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What is known about a loaded model."""

    name: str
    architecture: str
    method: str
    levels: tuple[int, ...]
    """Deepest first."""
    parameters: int
    license: str
    sha256: str
    """Of the weights file."""
    tile_multiple: int = DEEPEST_STRIDE
    """Origins and sides of tiles are multiples of it."""
    min_side: int
    """Smallest picture side in pixels; reflection padding needs two feature cells."""
    metrics: dict[str, Any] = field(default_factory=dict)


def load_model(weights: Weights) -> tuple[StyleModel, ModelInfo]:
    """Build the model of a file: on the CPU, in float32 whatever the file's precision, in evaluation mode, frozen.

    Raises:
        WeightsError: SP307 malformed metadata, SP309 unknown architecture, SP310 tensors missing, surplus or of
            the wrong shape, SP311 too large, SP312 an encoder of another model, SP320 to SP323 impossible specs.
    """
    name = weights.path.stem
    if not weights.metadata:
        model = _foreign(weights)
        return model, describe(model, name=name, license="MIT", sha256=weights.sha256)
    build = _builder(weights)
    with parsing_metadata(weights.path.name):
        license, metrics = str(weights.metadata.get("license", "unknown")), dict(weights.card.get("metrics", {}))
    model = build(weights)
    return model, describe(model, name=name, license=license, sha256=weights.sha256, metrics=metrics)


def _builder(weights: Weights) -> Any:
    """Return what builds a file of the method that its metadata name."""
    method, architecture = (weights.metadata.get(key) for key in ("method", "architecture"))
    known = {name: builder for spec in registry.specs() for name, builder in spec.architectures.items()}
    if not isinstance(architecture, str) or architecture not in known:
        raise WeightsError(
            "SP309",
            f"{weights.path.name} has the architecture {shortened(architecture)}; this version knows "
            f"{', '.join(known)}.",
            "Update styleplugin, or use another file.",
        )
    spec = next((spec for spec in registry.specs() if spec.name == method), None)
    if spec is None or architecture not in spec.architectures:
        raise WeightsError(
            "SP323",
            f"{weights.path.name} has the architecture {architecture} and the method {shortened(method)}, which "
            "do not belong together.",
            "Get the file again, or write it with styleplugin.",
        )
    return registry.imported(spec.architectures[architecture])


def _foreign(weights: Weights) -> StyleModel:
    for importer in _FOREIGN:
        if importer.detect(weights.tensors):
            return importer.build(weights)
    raise WeightsError(
        "SP309",
        f"{weights.path.name} has no styleplugin metadata and its tensor names fit no importer.",
        "Convert it with styleplugin.loading.convert, or train it with styleplugin.",
    )


def describe(model: StyleModel, *, name: str, license: str, sha256: str, **more: Any) -> ModelInfo:
    """Return the descriptor of a model."""
    return ModelInfo(
        name=name,
        architecture=model.architecture,
        method=model.method,
        levels=model.levels,
        parameters=sum(p.numel() for p in model.parameters()),
        license=license,
        sha256=sha256,
        min_side=model.min_side,
        **more,
    )


def save_model(
    path: str | Path,
    model: StyleModel,
    *,
    license: str,
    card: Mapping[str, Any] | None = None,
    dtype: torch.dtype = torch.float32,
    overwrite: bool = True,
) -> str:
    """Write a model, the file that is distributed.

    Args:
        path: Target.
        model: Finite weights.
        license: SPDX id or a sentence.
        card: JSON data: teacher and its sha256, data set, steps, seed, metrics, ...
        dtype: Precision on disk; float16 where the output stays within 1/255.
        overwrite: Replace an existing file.

    Returns:
        The sha256 of the file.

    Raises:
        WeightsError: SP306, a value that is not finite or too large.
        OutputError: SP601 to SP604, the file exists or cannot be written.
    """
    metadata = {
        "architecture": model.architecture,
        **model.describe(),
        "license": license,
        "card": dict(card or {}),
    }
    tensors = {key: value.to(dtype) for key, value in model.state_dict().items()}
    return write_weights(path, tensors, metadata, overwrite=overwrite)


def save_encoder(
    path: str | Path, encoder: Encoder, roots: Mapping[str, Tensor], *, license: str, card: Mapping[str, Any]
) -> str:
    """Write an encoder for the optimization with the roots of its metrics; return the sha256 of the file.

    Args:
        path: Target.
        encoder: Finite weights.
        roots: `level1.root` ... (C, C).
        license: SPDX id or a sentence.
        card: JSON data.
    """
    metadata = {"architecture": ENCODER, "spec": encoder.spec.to_dict(), "license": license, "card": dict(card)}
    tensors = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    return write_weights(path, tensors | dict(roots), metadata)


def load_saved_encoder(weights: Weights) -> tuple[Encoder, tuple[Tensor, ...]]:
    """Build the encoder of a file of `save_encoder`; return it with the roots of its metrics, level 1 first.

    Raises:
        WeightsError: SP307 malformed metadata, SP310 tensors missing, surplus or of the wrong shape, SP311 too large.
    """
    spec, where = _half_spec(weights, ENCODER), weights.path.name
    roots = {f"level{level}.root": weights.tensors.get(f"level{level}.root") for level in range(1, spec.level + 1)}
    for (name, root), conv in zip(roots.items(), (conv for conv in CONVS if conv.endswith("_1")), strict=False):
        width = spec.widths[CONVS.index(conv)]
        if root is None or root.shape != (width, width):
            found = "missing" if root is None else f"of the shape {tuple(root.shape)}"
            raise WeightsError("SP310", f"{name} of {where} is {found}; ({width}, {width}) is needed.")
    own = {name.removeprefix("encoder."): value for name, value in weights.tensors.items() if name not in roots}
    encoder = build_filled(lambda: Encoder(spec), own, where)
    return encoder, tuple(weights.tensors[name].float() for name in roots)


def save_half(path: str | Path, half: Encoder | Decoder, *, pairing: str, card: Mapping[str, Any] | None = None) -> str:
    """Write an encoder or a decoder that was trained separately.

    Args:
        path: Target.
        half: Finite weights.
        pairing: `pairing_id` of the encoder, or of the encoder this decoder was trained for.
        card: JSON data.

    Returns:
        The sha256 of the file.
    """
    metadata = {
        "architecture": "vgg-encoder" if isinstance(half, Encoder) else "vgg-decoder",
        "spec": half.spec.to_dict(),
        "pairing": pairing,
        "card": dict(card or {}),
    }
    return write_weights(path, half.state_dict(), metadata)


def join_halves(encoder: Weights, decoder: Weights) -> Pair:
    """Assemble a pair from two files of `save_half`.

    Raises:
        WeightsError: SP312, the decoder was trained for another encoder; otherwise as `load_model`.
    """
    spec = PairSpec(encoder=_half_spec(encoder, "vgg-encoder"), decoder=_half_spec(decoder, "vgg-decoder"))
    where = f"{encoder.path.name} and {decoder.path.name}"
    tensors = {f"encoder.{name}": value for name, value in encoder.tensors.items()}
    tensors |= {f"decoder.{name}": value for name, value in decoder.tensors.items()}
    pair = build_filled(lambda: blank_pairs([spec], where)[0], tensors, where)
    expected = decoder.metadata.get("pairing")
    check_pairing(f"level-{pair.level} decoder", pairing_id(pair.encoder), expected, decoder.path.name)
    return pair


def _half_spec(weights: Weights, architecture: str) -> VGGSpec:
    with parsing_metadata(weights.path.name):
        if weights.metadata["architecture"] != architecture:
            raise ValueError(f"the architecture is not {architecture}")
        return VGGSpec.from_dict(weights.metadata["spec"])
