"""From a weights file to a model: known architectures, and their file format.

Files with our metadata are built as it says; files of other origin go to the first entry whose `detect` knows their
tensor names. The architecture always comes from this list, never from code in a file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from styleplugin.errors import WeightsError
from styleplugin.networks.kbstyle import KBModel, KBSpec
from styleplugin.networks.pairs import Pair, PairModel, PairSpec, pairing_id
from styleplugin.networks.photorealistic import PhotoModel, PhotoSpec
from styleplugin.networks.vgg import CONVS, Decoder, Encoder, VGGSpec
from styleplugin.tensorfile import Weights, parsing_metadata, shortened, write_weights

M = TypeVar("M", bound=nn.Module)

StyleModel = PairModel | PhotoModel | KBModel
"""The models of all feed-forward methods."""

METRICS = "feature-metrics"
"""Architecture of files that say how much each direction of an encoder's features counts; no model of its own."""
ENCODER = "feature-encoder"
"""Architecture of files that hold an encoder and its metrics, for the optimization."""
MAX_PARAMETERS = 40_000_000
"""The largest model there is, the five teacher pairs, has 34 million."""
TILE_MULTIPLE = 16
_NAMES_SHOWN = 5


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
    tile_multiple: int = TILE_MULTIPLE
    """Origins and sides of tiles are multiples of it."""
    min_side: int
    """Smallest picture side in pixels; reflection padding needs two feature cells."""
    metrics: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One architecture."""

    id: str
    build: Callable[[Weights], tuple[nn.Module, ModelInfo]]
    detect: Callable[[Mapping[str, Tensor]], bool] = lambda tensors: False
    """Whether tensors without our metadata are of this architecture; by default files need the metadata."""


class Registry:
    """Architectures by id."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def add(self, entry: Entry) -> None:
        """Add an architecture; ValueError if its id is taken."""
        if entry.id in self._entries:
            raise ValueError(f"The architecture {entry.id} is registered already.")
        self._entries[entry.id] = entry

    def find(self, weights: Weights) -> Entry:
        """Return the entry that builds a file.

        Raises:
            WeightsError: SP309, no architecture of this version fits.
        """
        known = ", ".join(self._entries)
        if weights.metadata:
            architecture = weights.metadata.get("architecture")
            if isinstance(architecture, str) and architecture in self._entries:
                return self._entries[architecture]
            raise WeightsError(
                "SP309",
                f"{weights.path.name} has the architecture {shortened(architecture)}; this version knows {known}.",
                "Update styleplugin, or use another file.",
            )
        for entry in self._entries.values():
            if entry.detect(weights.tensors):
                return entry
        raise WeightsError(
            "SP309",
            f"{weights.path.name} has no styleplugin metadata and its tensor names fit none of {known}.",
            "Convert it with styleplugin.loading.convert, or train it with styleplugin.",
        )


ENTRIES = Registry()


def has_keys(*names: str) -> Callable[[Mapping[str, Tensor]], bool]:
    """Return a `detect` that asks for tensor names."""
    return lambda tensors: all(name in tensors for name in names)


def load_model(weights: Weights) -> tuple[nn.Module, ModelInfo]:
    """Build the model of a file: on the CPU, in float32 whatever the file's precision, in evaluation mode, frozen.

    Raises:
        WeightsError: SP307 malformed metadata, SP309 unknown architecture, SP310 tensors missing, surplus or of
            the wrong shape, SP311 too large, SP312 an encoder of another model, SP320 to SP323 impossible specs.
    """
    return ENTRIES.find(weights).build(weights)


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
    encoder = filled(lambda: Encoder(spec), own, where)
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
    pair = filled(lambda: blank_pairs([spec], where)[0], tensors, where)
    _check_pairing(pair, decoder.metadata.get("pairing"), decoder.path.name)
    return pair


def blank_pairs(specs: list[PairSpec], where: str) -> list[Pair]:
    """Build pairs whose values are zero.

    Raises:
        WeightsError: SP311, more parameters than any model has; nothing was built.
    """
    parameters = sum(_parameters(spec) for spec in specs)
    if parameters > MAX_PARAMETERS:
        raise WeightsError(
            "SP311",
            f"{where} describes a network of {parameters} parameters; at most {MAX_PARAMETERS} are allowed.",
            "The file is damaged or not made for styleplugin.",
        )
    return [Pair(spec) for spec in specs]


def load_tensors(module: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Fill a module with exactly its tensors, as float32; put it into evaluation mode and freeze it.

    Args:
        module: Any module.
        tensors: Its state dict, any floating-point type.
        where: Name of the file, for the message.

    Raises:
        WeightsError: SP310, tensors are missing, surplus or of the wrong shape; at most 5 names of each are shown.
    """
    check_shapes(module.state_dict(), tensors, where)
    module.load_state_dict({name: value.float() for name, value in tensors.items()})
    module.eval().requires_grad_(False)


def filled(build: Callable[[], M], tensors: Mapping[str, Tensor], where: str) -> M:
    """Build a network and fill it as `load_tensors` does; nothing of its size is made for a file that does not fit.

    Args:
        build: Makes the network; called for its shapes alone at first, without memory for its values.
        tensors: The state dict that the network shall have.
        where: Name of the file, for the message.

    Raises:
        WeightsError: SP310, tensors are missing, surplus or of the wrong shape.
    """
    with _Shapes():
        check_shapes(build().state_dict(), tensors, where)
    module = build()
    load_tensors(module, tensors, where)
    return module


class _Shapes(TorchFunctionMode):
    """Puts every tensor that is made on the meta device; `torch.device` only does where none is named."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        return func(*args, **(kwargs | {"device": "meta"} if "device" in kwargs else kwargs))


def check_shapes(needed: Mapping[str, Tensor], tensors: Mapping[str, Tensor], where: str) -> None:
    """Raise WeightsError SP310 unless there are exactly the tensors that are needed, in their shapes."""
    problems = {
        "missing": [name for name in needed if name not in tensors],
        "surplus": [name for name in tensors if name not in needed],
        "of the wrong shape": [
            f"{name} {tuple(tensors[name].shape)} instead of {tuple(value.shape)}"
            for name, value in needed.items()
            if name in tensors and tensors[name].shape != value.shape
        ],
    }
    if any(problems.values()):
        lists = "; ".join(f"{kind}: {_shorten(names)}" for kind, names in problems.items() if names)
        raise WeightsError(
            "SP310",
            f"{where} holds {len(tensors)} tensors where its network needs {len(needed)}; {lists}.",
            "The file belongs to another network.",
        )


def _build_pairs(weights: Weights) -> tuple[PairModel, ModelInfo]:
    where = weights.path.name
    metadata = weights.metadata
    with parsing_metadata(where):
        if len(metadata["pairs"]) > 5:
            raise ValueError("more than 5 pairs")
        specs = [PairSpec.from_dict(data) for data in metadata["pairs"]]
        ids = {data["level"]: data["pairing"] for data in metadata["pairs"]}
        method, metrics = metadata["method"], dict(weights.card.get("metrics", {}))
    model = filled(lambda: PairModel(method, blank_pairs(specs, where)), weights.tensors, where)
    for level in model.levels:
        _check_pairing(model.pair(level), ids.get(level), where)
    return model, describe(
        model,
        name=weights.path.stem,
        license=str(metadata.get("license", "unknown")),
        sha256=weights.sha256,
        metrics=metrics,
    )


def _single(
    read_spec: Callable[[dict[str, Any]], Any], build: Callable[[Any], StyleModel]
) -> Callable[[Weights], tuple[nn.Module, ModelInfo]]:
    """Return the `build` of an architecture whose files hold one network, made from one spec."""

    def build_from(weights: Weights) -> tuple[nn.Module, ModelInfo]:
        where = weights.path.name
        metadata = weights.metadata
        with parsing_metadata(where):
            spec = read_spec(metadata["spec"])
            pairing, metrics = metadata["pairing"], dict(weights.card.get("metrics", {}))
        model = filled(lambda: build(spec), weights.tensors, where)
        if (pairing,) != model.encoder_ids:
            raise _wrong_half("decoder", where, pairing, model.encoder_ids[0])
        return model, describe(
            model,
            name=weights.path.stem,
            license=str(metadata.get("license", "unknown")),
            sha256=weights.sha256,
            metrics=metrics,
        )

    return build_from


def _half_spec(weights: Weights, architecture: str) -> VGGSpec:
    with parsing_metadata(weights.path.name):
        if weights.metadata["architecture"] != architecture:
            raise ValueError(f"the architecture is not {architecture}")
        return VGGSpec.from_dict(weights.metadata["spec"])


def _parameters(spec: PairSpec) -> int:
    encoder = sum(9 * a * b + b for a, b in pairwise((3, *spec.encoder.widths)))
    decoder = sum(9 * a * b + a for a, b in pairwise((3, *spec.decoder.widths)))
    return encoder + decoder


def _check_pairing(pair: Pair, expected: Any, where: str) -> None:
    found = pairing_id(pair.encoder)
    if found != expected:
        raise _wrong_half(f"level-{pair.level} decoder", where, expected, found)


def _wrong_half(half: str, where: str, expected: Any, found: str) -> WeightsError:
    return WeightsError(
        "SP312",
        f"The {half} of {where} was trained for the encoder {shortened(expected)}, not for {found}.",
        "Use an encoder and a decoder of the same model; swapped halves give broken pictures.",
    )


def _shorten(names: list[str]) -> str:
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return ", ".join(names[:_NAMES_SHOWN]) + more


ENTRIES.add(Entry(id="vgg-pairs", build=_build_pairs))
ENTRIES.add(Entry(id="pca-photo", build=_single(PhotoSpec.from_dict, PhotoModel)))
ENTRIES.add(Entry(id="kbstyle", build=_single(KBSpec.from_dict, KBModel)))
