"""The released students of PCA-based knowledge distillation (Chiu and Gurari 2022), from TensorFlow checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import torch
from torch import Tensor, nn

from styleplugin.errors import WeightsError
from styleplugin.loading.convert.source import read_source
from styleplugin.loading.convert.tensorflow import read_tensorflow
from styleplugin.methods.photorealistic.model import Backbone, PhotoModel, PhotoSpec
from styleplugin.tensorfile import Weights
from styleplugin.transforms.affine import AffineMap

REPOSITORY = "https://github.com/chiutaiyin/PCA-Knowledge-Distillation"

_FOLDERS = {"vgg": "VGG backbone/ckpts", "mobilenet": "MobileNet backbone/ckpts"}
_ENCODER_LAYERS = {"vgg": (2, 2, 2, 4), "mobilenet": (1, 3, 4, 4)}
_DECODER_LAYERS = {"vgg": (1, 2, 2, 4), "mobilenet": (1, 2, 2, 2)}
_DEPTHWISE = (1, 3, 5, 7, 9, 11)
"""The depthwise ones of MobileNet's twelve layers."""

Convolution = tuple[Tensor, Tensor]
"""Weight and bias."""


def backbones_in(folder: str | Path) -> list[Backbone]:
    """Return the backbones whose checkpoints a clone holds."""
    return [name for name in get_args(Backbone) if (Path(folder) / _FOLDERS[name] / "sencoder.index").exists()]


def import_pca_distillation(source: str | Path, backbone: Backbone) -> tuple[PhotoModel, dict[str, Any]]:
    """Read a released student.

    Args:
        source: A clone of the repository, or one safetensors file with names like `enc.block1.0.weight`.
        backbone: Which of the two; a file holds one.

    Returns:
        The model, frozen, and `license` and `card` for `save_model(path, model, **metadata)`.

    Raises:
        WeightsError: SP301 to SP306 and SP325, a file cannot be read; SP310, tensors are missing or of other shapes.
    """
    source = Path(source)
    if source.is_dir():
        convolutions, sha256 = _from_clone(source / _FOLDERS[backbone], backbone)
    else:
        file = read_source(source)
        convolutions, sha256 = _from_tensors(file.tensors, backbone, source.name), {source.name: file.sha256}
    card = {"source": REPOSITORY, "sources_sha256": sha256, "front": "absorbed into the first convolution"}
    return _build(convolutions, backbone, source.name), {"license": "MIT", "card": card}


def _from_clone(folder: Path, backbone: Backbone) -> tuple[list[Convolution], dict[str, str]]:
    encoder, decoder = (read_tensorflow(folder / f"s{half}.index") for half in ("encoder", "decoder"))

    def read(tensors: Mapping[str, Tensor], prefix: str, *, depthwise: bool = False) -> Convolution:
        kernel = _find(tensors, f"{prefix}/{'depthwise_kernel' if depthwise else 'kernel'}/.ATTRIBUTES/VARIABLE_VALUE")
        bias = _find(tensors, f"{prefix}/bias/.ATTRIBUTES/VARIABLE_VALUE")
        if kernel.dim() != 4:
            raise WeightsError("SP310", f"{prefix} has the shape {tuple(kernel.shape)}, not that of a convolution.")
        # Height, width, input, output; a depthwise kernel has its channels where others have their input.
        return (kernel.permute(2, 3, 0, 1) if depthwise else kernel.permute(3, 2, 0, 1)), bias

    if backbone == "mobilenet":
        halves = [
            read(encoder.tensors, f"se_model/layer_with_weights-{i}", depthwise=i in _DEPTHWISE) for i in range(12)
        ]
    else:
        halves = [read(encoder.tensors, name) for name in _numbered(_ENCODER_LAYERS[backbone])]
    halves += [read(decoder.tensors, name) for name in _numbered(_DECODER_LAYERS[backbone])]
    return halves, {f"{backbone}/{name}": digest for half in (encoder, decoder) for name, digest in half.sha256.items()}


def _numbered(counts: Sequence[int]) -> list[str]:
    return [f"btnecks/{block}/layer_with_weights-{i}" for block, count in enumerate(counts) for i in range(count)]


def _from_tensors(tensors: Mapping[str, Tensor], backbone: Backbone, where: str) -> list[Convolution]:
    names = [f"enc.conv{i}" for i in range(12)]
    if backbone == "vgg":
        names = [f"enc.block{block}.{i}" for block, count in enumerate(_ENCODER_LAYERS["vgg"]) for i in range(count)]
    names += [f"dec.block{block}.{i}" for block, count in enumerate(_DECODER_LAYERS[backbone]) for i in range(count)]
    return [tuple(_find(tensors, f"{name}.{part}", where) for part in ("weight", "bias")) for name in names]  # type: ignore[misc]


def _find(tensors: Mapping[str, Tensor], name: str, where: str = "the checkpoint") -> Tensor:
    if name not in tensors:
        raise WeightsError("SP310", f"{where} has no float32 tensor {name}.", "Give the released files of the project.")
    return tensors[name]


@torch.no_grad()
def _build(convolutions: list[Convolution], backbone: Backbone, where: str) -> PhotoModel:
    """Fill a student; what stands in front of its first convolution is absorbed by it.

    VGG's front is a random 3x3 matrix that was never trained, MobileNet's maps [0, 1] to [-1, 1].
    """
    if backbone == "vgg":
        (weight, bias), *convolutions = convolutions
        if weight.shape != (3, 3, 1, 1) or bias.shape != (3,):
            raise WeightsError("SP310", f"The first layer of {where} has the shape {tuple(weight.shape)}, not 1x1.")
        matrix = weight[:, :, 0, 0]
    else:
        matrix = 2 * torch.eye(3, dtype=torch.float32, device="cpu")
        bias = -torch.ones(3, dtype=torch.float32, device="cpu")
    model = PhotoModel(PhotoSpec(backbone=backbone))
    layers = [layer for half in (model.encoder, model.decoder) for layer in _convolutions(half)]
    for number, (layer, (weight_of, bias_of)) in enumerate(zip(layers, convolutions, strict=True)):
        if layer.weight.shape != weight_of.shape or layer.get_parameter("bias").shape != bias_of.shape:
            raise WeightsError(
                "SP310",
                f"Layer {number} of {where} has the shape {tuple(weight_of.shape)} instead of "
                f"{tuple(layer.weight.shape)}.",
                f"Is it a student of the backbone {backbone}?",
            )
        layer.weight.copy_(weight_of)
        layer.get_parameter("bias").copy_(bias_of)
    first, front = layers[0], AffineMap(matrix.double(), bias.double())
    weight_of, bias_of = front.fold_into(first.weight, first.get_parameter("bias"))
    first.weight.copy_(weight_of)
    first.get_parameter("bias").copy_(bias_of)
    return model.eval().requires_grad_(False)


def _convolutions(half: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in half.modules() if isinstance(layer, nn.Conv2d)]


def _backbone_of(tensors: Mapping[str, Tensor]) -> Backbone | None:
    if "dec.block3.1.weight" not in tensors:
        return None
    return "vgg" if "enc.block0.0.weight" in tensors else "mobilenet" if "enc.conv0.weight" in tensors else None


def detect(tensors: Mapping[str, Tensor]) -> bool:
    """Return whether tensors have the names of a released student."""
    return _backbone_of(tensors) is not None


def build(weights: Weights) -> PhotoModel:
    """Build the model of a file of these names.

    Raises:
        WeightsError: SP310, tensors are missing or of other shapes.
    """
    backbone = _backbone_of(weights.tensors)
    assert backbone is not None
    return _build(_from_tensors(weights.tensors, backbone, weights.path.name), backbone, weights.path.name)
