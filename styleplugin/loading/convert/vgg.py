"""VGG-19 in its usual file layouts, to be used behind our fixed preprocessing (BGR, 0 to 255, mean subtracted)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from styleplugin.errors import WeightsError
from styleplugin.loading.convert.front import absorb_front
from styleplugin.loading.convert.source import read_source
from styleplugin.networks.vgg import CONVS
from styleplugin.tensorfile import Limits

WHOLE_VGG = Limits(header_bytes=8 << 20, file_bytes=1 << 30)
"""The whole VGG-19 has 548 MB in float32."""

# Place of each convolution in the Sequential of torchvision and timm, and in that of vgg_normalised, where a 1x1
# convolution, the preprocessing, stands at 0. The last three are conv5_2 to conv5_4, which nothing here needs.
_TORCHVISION = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)
_NORMALIZED = (2, 5, 9, 12, 16, 19, 22, 25, 29, 32, 35, 38, 42, 45, 48, 51)
_ALL_CONVS = (*CONVS, "5_2", "5_3", "5_4")

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


def import_vgg(path: str | Path, *, inputs: Literal["torchvision", "caffe"] | None = None) -> dict[str, Tensor]:
    """Read VGG-19, or its first layers.

    Args:
        path: safetensors or `.pth` with the tensor names `conv1_1.weight`, `features.0.weight` (torchvision, timm) or
            `0.weight`, `2.weight` (vgg_normalised, whose `0` is the preprocessing).
        inputs: What `features.` names expect: torchvision (RGB scaled by mean and standard deviation, the default
            for them) or caffe (as ours). The other two layouts say it themselves.

    Returns:
        `conv1_1.weight`, `conv1_1.bias`, ... in order, as far as the file goes without a gap, at most to conv5_1;
        float32, ready for an `Encoder` of teacher widths.

    Raises:
        WeightsError: SP301 to SP306 and SP318, the file cannot be read; SP319, it is not VGG-19.
    """
    where = Path(path).name
    tensors = read_source(path, limits=WHOLE_VGG).tensors
    names = _names(tensors, where)
    there = list(takewhile(lambda conv: f"{names[conv]}.weight" in tensors, CONVS))
    convs: dict[str, Tensor] = {}
    channels = 3
    for conv in there:
        weight, bias = tensors[f"{names[conv]}.weight"], tensors.get(f"{names[conv]}.bias")
        if weight.shape[1:] != (channels, 3, 3) or bias is None or bias.shape != weight.shape[:1]:
            raise _not_vgg(where, f"conv{conv} has the shape {tuple(weight.shape)}")
        convs |= {f"conv{conv}.weight": weight, f"conv{conv}.bias": bias}
        channels = weight.shape[0]
    front = _front(tensors, names["1_1"], inputs, where)
    if front:
        first = convs["conv1_1.weight"], convs["conv1_1.bias"]
        convs["conv1_1.weight"], convs["conv1_1.bias"] = absorb_front(first, front)
    return convs


def _names(tensors: Mapping[str, Tensor], where: str) -> dict[str, str]:
    """Return the name of each convolution in the file's layout."""
    if "conv1_1.weight" in tensors:
        return {conv: f"conv{conv}" for conv in _ALL_CONVS}
    for prefix, places in (("features.", _TORCHVISION), ("", _NORMALIZED)):
        found = [re.fullmatch(rf"{re.escape(prefix)}(\d+)\.weight", name) for name in tensors]
        kernels = {int(m[1]) for m in found if m and tensors[m[0]].shape[2:] == (3, 3)}
        if kernels and kernels == set(places[: len(kernels)]):
            return {conv: f"{prefix}{place}" for conv, place in zip(_ALL_CONVS, places, strict=True)}
    raise _not_vgg(where, "the places of its convolutions are others")


def _front(tensors: Mapping[str, Tensor], first: str, inputs: str | None, where: str) -> tuple[Tensor, Tensor] | None:
    """Return the preprocessing the file expects; None if it is ours."""
    if first == "2":
        if not {"0.weight", "0.bias"} <= tensors.keys():
            raise _not_vgg(where, "the preprocessing 0.weight, 0.bias is missing")
        return tensors["0.weight"], tensors["0.bias"]
    if first == "features.0" and inputs != "caffe":
        mean, std = (
            torch.tensor(values, dtype=torch.float32, device="cpu") for values in (_IMAGENET_MEAN, _IMAGENET_STD)
        )
        return torch.diag(1 / std)[:, :, None, None], -mean / std
    return None


def _not_vgg(where: str, why: str) -> WeightsError:
    return WeightsError("SP319", f"{where} is not VGG-19: {why}.", "Give a VGG-19 without batch normalization.")
