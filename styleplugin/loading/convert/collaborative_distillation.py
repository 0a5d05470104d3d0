"""The released models of Collaborative Distillation (Wang et al. 2020), from a user's own clone or one file.

Their 1x1 convolution `conv0`, the preprocessing, was trained along by accident and drifted from its constants; the
difference is absorbed into the first convolution. Each encoder also carries the linear embeddings `conv{k}1_aux`
to the teacher's channels, an approximation of VGG-19's features without VGG-19.

Source: https://github.com/MingSun-Tse/Collaborative-Distillation, MIT license.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from styleplugin.errors import WeightsError
from styleplugin.loading.convert.compact import compact_pair, probe_images
from styleplugin.loading.convert.front import absorb_front
from styleplugin.loading.convert.source import Source, read_source
from styleplugin.networks.model import build_filled
from styleplugin.networks.pairs import Pair, PairModel, PairSpec, blank_pairs
from styleplugin.networks.vgg import Encoder, VGGSpec, convs_of_level
from styleplugin.tensorfile import Weights

LEVELS = (1, 2, 3, 4, 5)
REPOSITORY = "https://github.com/MingSun-Tse/Collaborative-Distillation"
_FILES = {"e": "trained_models/wct_se_16x_new/{}SE.pth", "d": "trained_models/wct_se_16x_new_sd/{}SD.pth"}
_LONGEST_LINK = 255


class EmbeddedEncoder(nn.Module):
    """A student encoder with the 1x1 convolutions that map its features linearly to the teacher's channels."""

    def __init__(self, encoder: Encoder, embeddings: Sequence[nn.Module]) -> None:
        super().__init__()
        self.encoder = encoder
        self.embeddings = nn.ModuleList(embeddings)

    def features(self, image: Tensor) -> list[Tensor]:
        """Return relu1_1, ... relu{level}_1 at the teacher's widths of (N, 3, H, W) in [0, 1].

        No ReLU follows the embedding, so small negative values occur.
        """
        features = self.encoder.features(image)
        return [embed(feature) for embed, feature in zip(self.embeddings, features, strict=True)]

    def forward(self, image: Tensor) -> Tensor:
        """Return the deepest of `features`."""
        return self.features(image)[-1]


def import_collaborative_distillation(
    source: str | Path, *, compact: bool = False, images: Iterable[Tensor] | None = None
) -> tuple[PairModel, dict[str, Any]]:
    """Read the released WCT model.

    Args:
        source: A clone of the repository, or one safetensors file with names like `e5.conv11.weight`.
        compact: Remove the encoders' channels that are zero on every image, which halves the encoders and changes
            no picture for which they stay zero.
        images: (N, 3, H, W) in [0, 1] for `compact`, sides at least 32; by default generated patterns.

    Returns:
        The model with final ReLU, and `license` and `card` for `save_model(path, model, **metadata)`.

    Raises:
        WeightsError: SP301 to SP306 and SP318, a file cannot be read; SP310, tensors are missing.
    """
    halves, sha256 = _read(Path(source))
    model = _build(halves, Path(source).name)
    if compact:
        probes = list(probe_images() if images is None else images)
        model = PairModel("wct", [compact_pair(model.pair(level), probes) for level in model.levels])
    card = {"source": REPOSITORY, "sources_sha256": sha256, "conv0": "absorbed into conv1_1", "compact": compact}
    return model, {"license": "MIT", "card": card}


def _read(source: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, str]]:
    """Return the state dicts e1 ... e5, d1 ... d5 that are there, and the sha256 of each file."""
    if not source.is_dir():
        file = read_source(source)
        return _split(file.tensors), {source.name: file.sha256}
    files: dict[str, Source] = {}
    for level in LEVELS:
        for half, pattern in _FILES.items():
            files[f"{half}{level}"] = read_source(_follow_link(source / pattern.format(level)))
    return {name: file.tensors for name, file in files.items()}, {name: file.sha256 for name, file in files.items()}


def _follow_link(path: Path) -> Path:
    """Return the file a link leads to; in a zip download a link is a small text file with its target's name."""
    if path.is_file() and path.stat().st_size <= _LONGEST_LINK:
        target = path.read_text(errors="replace").strip()
        # Not for an empty file, whose name would be the folder's.
        if target not in ("", "..") and target == Path(target).name:
            return path.with_name(target)
    return path


def _split(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Turn names like `e5.conv11.weight` into one state dict per half."""
    halves: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        half, _, rest = name.partition(".")
        halves.setdefault(half, {})[rest] = value
    return halves


def _build(halves: Mapping[str, Mapping[str, Tensor]], where: str) -> PairModel:
    return PairModel("wct", [_pair(halves, level, where) for level in _levels(halves, "e", "d")])


def _levels(halves: Mapping[str, Any], *kinds: str) -> list[int]:
    return [level for level in LEVELS if all(f"{kind}{level}" in halves for kind in kinds)]


def _pair(halves: Mapping[str, Mapping[str, Tensor]], level: int, where: str) -> Pair:
    spec, encoder = _encoder(halves[f"e{level}"], level, f"e{level} of {where}")
    tensors = {f"encoder.{name}": value for name, value in encoder.items()}
    tensors |= {f"decoder.{name}": value for name, value in _renamed(halves[f"d{level}"]).items()}
    where = f"e{level} and d{level} of {where}"
    return build_filled(lambda: blank_pairs([PairSpec(encoder=spec, decoder=spec)], where)[0], tensors, where)


def _encoder(tensors: Mapping[str, Tensor], level: int, where: str) -> tuple[VGGSpec, dict[str, Tensor]]:
    """Return spec and tensors of an encoder; `conv0` is absorbed, the embeddings are dropped."""
    widths = tuple(len(_conv(tensors, f"conv{conv.replace('_', '')}", where)[0]) for conv in convs_of_level(level))
    convs = {name: value for name, value in tensors.items() if not name.startswith("conv0.") and "_aux." not in name}
    first, front = _conv(tensors, "conv11", where), _conv(tensors, "conv0", where)
    convs["conv11.weight"], convs["conv11.bias"] = absorb_front(first, front)
    return VGGSpec(level=level, widths=widths), _renamed(convs)


def _renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Turn `conv11.weight` into `conv1_1.weight`."""
    return {f"{name[:5]}_{name[5:]}": value for name, value in tensors.items()}


def _conv(tensors: Mapping[str, Tensor], name: str, where: str) -> tuple[Tensor, Tensor]:
    """Return weight and bias of a convolution."""
    weight, bias = tensors.get(f"{name}.weight"), tensors.get(f"{name}.bias")
    if weight is None or bias is None or weight.ndim != 4:
        raise WeightsError("SP310", f"{where} has no convolution {name}.", "Give the released files of the project.")
    return weight, bias


def detect(tensors: Mapping[str, Tensor]) -> bool:
    """Return whether tensors have the names of the released pairs, all in one file."""
    return any(f"e{level}.conv0.weight" in tensors and f"d{level}.conv11.weight" in tensors for level in LEVELS)


def build(weights: Weights) -> PairModel:
    """Build the model of a file of these names.

    Raises:
        WeightsError: SP310, tensors are missing or of the wrong shape.
    """
    return _build(_split(weights.tensors), weights.path.name)
