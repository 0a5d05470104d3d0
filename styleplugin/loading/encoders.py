"""VGG encoders by name or source: those of our models, and VGG-19 in a file or on the Hub."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from torch import Tensor

from styleplugin.errors import UsageError
from styleplugin.guard import guarded
from styleplugin.loading import index
from styleplugin.loading.build import ENCODER, load_saved_encoder
from styleplugin.loading.convert.vgg import import_vgg
from styleplugin.networks.model import load_tensors
from styleplugin.networks.pairs import PairModel
from styleplugin.networks.vgg import CONVS, Encoder, VGGSpec, convs_of_level


@dataclass(frozen=True, eq=False)
class LoadedEncoder:
    """An encoder, and what is known about it."""

    encoder: Encoder
    sha256: str
    """Of its file."""
    roots: tuple[Tensor, ...] | None = None
    """For each level the root of its metric, (C, C): how much each direction of the features counts to the teacher;
    None where that is not known."""


@guarded()
def load_encoder(source: str, *, allow_unknown: bool = False) -> LoadedEncoder:
    """Load an encoder.

    Args:
        source: A model whose deepest pair is taken, by name or source; an encoder that was trained for the
            optimization; or a VGG-19, whole or its first layers, as file:PATH or hub:OWNER/REPO@REVISION/FILE.
        allow_unknown: Admit a local model file that is not in the list of known models, with a warning.

    Raises:
        WeightsError: SP301 to SP319, the file cannot be used.
        UsageError: SP151, a model without a VGG encoder.
    """
    located = index.resolve_teacher(source)
    architecture = index.architecture_of(located.path)
    if architecture == ENCODER:
        weights = index.admit(located, allow_unknown=allow_unknown)
        encoder, roots = load_saved_encoder(weights)
        return LoadedEncoder(encoder, weights.sha256, roots)
    if architecture:
        model, info = index.load(source, allow_unknown=allow_unknown)
        if not isinstance(model, PairModel):
            raise UsageError(
                "SP151",
                f"The model {info.name} has no VGG encoder, which the optimization needs.",
                "Use cd-wct.x16, cd-adain.x16, or a VGG-19 as file:PATH.",
            )
        encoder = model.pair(max(model.levels)).encoder
        known = index.metrics_of(encoder)
        if known is None:
            return LoadedEncoder(encoder, info.sha256)
        roots = tuple(known[f"level{k}.root"] for k in range(1, encoder.spec.level + 1))
        return LoadedEncoder(encoder, info.sha256, roots)
    layers = import_vgg(located.path)
    deepest = max(int(conv[0]) for conv in CONVS if conv.endswith("_1") and f"conv{conv}.weight" in layers)
    convs = [f"conv{conv}" for conv in convs_of_level(deepest)]
    encoder = Encoder(VGGSpec(level=deepest, widths=tuple(len(layers[f"{conv}.bias"]) for conv in convs)))
    wanted = {name: value for name, value in layers.items() if name.split(".")[0] in convs}
    load_tensors(encoder, wanted, located.path.name)
    return LoadedEncoder(encoder, hashlib.sha256(located.path.read_bytes()).hexdigest())
