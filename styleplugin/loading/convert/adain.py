"""AdaIN's own pair: the normalized VGG-19 up to relu4_1 and the authors' decoder, from 8-bit integers with scales.

Their preprocessing is ours (x255, BGR, mean subtracted) and stands in front of `conv1_1` unabsorbed; their padding, by
reflection, is this package's. Which of the authors' two decoders the file holds could not be proven.

Source: Huang and Belongie 2017, https://github.com/xunhuang1995/AdaIN-style, as converted to TensorFlow in
https://github.com/penny4860/android-style-transfer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from styleplugin.errors import WeightsError
from styleplugin.loading.convert.source import read_source
from styleplugin.networks.model import load_tensors
from styleplugin.networks.pairs import Pair, PairModel, PairSpec, blank_pairs
from styleplugin.networks.vgg import teacher_spec
from styleplugin.tensorfile import TEACHER

REPOSITORY = "https://github.com/xunhuang1995/AdaIN-style"
LICENSE = "MIT on the code of both repositories; the weights carry no terms of their own"
_LEVEL = 4
_QUANTIZED = replace(TEACHER, integers=True)


def import_adain(source: str | Path) -> tuple[PairModel, dict[str, Any]]:
    """Read AdaIN's pair.

    Args:
        source: A safetensors file with `encoder.conv1_1.weight_q` (integers), `weight_scale`, `weight_zero` and `bias`
            of every convolution, and the same of `decoder.`; weight = weight_scale * (weight_q + weight_zero).

    Returns:
        The model, 7 million parameters, float32, and `license` and `card` for `save_model(path, model, **metadata)`.

    Raises:
        WeightsError: SP301 to SP306 and SP318, the file cannot be read; SP310, its tensors are not the pair's.
    """
    file = read_source(source, limits=_QUANTIZED)
    where = Path(source).name
    spec = PairSpec(encoder=teacher_spec(_LEVEL), decoder=teacher_spec(_LEVEL, final_relu=False))
    [pair] = blank_pairs([spec], where)
    _fill(pair, file.tensors, where)
    return PairModel("adain", [pair]), {
        "license": LICENSE,
        "card": {"source": REPOSITORY, "sources_sha256": {where: file.sha256}, "weights": "dequantized from 8 bits"},
    }


def _fill(pair: Pair, tensors: Mapping[str, Tensor], where: str) -> None:
    for name, half in (("encoder", pair.encoder), ("decoder", pair.decoder)):
        own = {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
        load_tensors(half, _dequantized(own, f"the {name} of {where}"), f"the {name} of {where}")


def _dequantized(tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Return plain weights and biases of quantized ones, float32."""
    result = {name: value for name, value in tensors.items() if name.endswith(".bias")}
    for conv in (name.removesuffix(".weight_q") for name in tensors if name.endswith(".weight_q")):
        scale, zero = (tensors.get(f"{conv}.weight_{part}") for part in ("scale", "zero"))
        if scale is None or zero is None or scale.numel() != 1 or zero.numel() != 1:
            raise WeightsError("SP310", f"{where} has no weight_scale and weight_zero, one number each, for {conv}.")
        # The integers are exact in float32, and so is their sum.
        result[f"{conv}.weight"] = scale * (tensors[f"{conv}.weight_q"] + zero)
    return result
