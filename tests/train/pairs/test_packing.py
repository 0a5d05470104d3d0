"""What forged files of training say is refused with a sentence, before anything is made of it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from fakes.forgery import Forgery, forge, saying, without

from styleplugin.errors import WeightsError
from styleplugin.tensorfile import write_weights
from styleplugin.train.pairs.packing import bundle
from styleplugin.train.pairs.parts import load_part, load_pruned

FORGERIES = {
    "no pairs": without("pairs"),
    "pairs of another kind": saying("pairs", 5),
    "pairs without levels": saying("pairs", [{}]),
    "levels in words": saying("pairs", [{"level": "one"}]),
    "no method": without("method"),
    "no card": without("card"),
    "a card without its levels": saying("card", {"pairs": {}}),
    "a gate of another kind": saying("card", {"metrics": {}, "gate": 1}),
}


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
def test_forged_pairs_make_no_bundle(tiny_weights: Path, tmp_path: Path, forgery: Forgery):
    forge(tiny_weights, forgery)
    with pytest.raises(WeightsError, match=r"tiny\.safetensors") as caught:
        bundle([tiny_weights], tmp_path / "out.safetensors", license="MIT")
    assert caught.value.code == "SP307"
    assert not (tmp_path / "out.safetensors").exists()


SPEC = {"level": 1, "widths": [4]}


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"spec": 5},
        {"spec": {"level": 1, "widths": 4}, "embeddings": [6]},
        {"spec": SPEC},
        {"spec": SPEC, "embeddings": 6},
        {"spec": SPEC, "embeddings": [6, 6]},
        {"spec": SPEC, "embeddings": ["six"]},
    ],
)
def test_forged_parts_are_refused(tmp_path: Path, metadata: dict[str, Any]):
    path = tmp_path / "part.safetensors"
    write_weights(path, {"a": torch.ones(1)}, {"architecture": "training-student_encoder", **metadata})
    with pytest.raises(WeightsError) as caught:
        load_part(path, "student_encoder")
    assert caught.value.code == "SP307"


@pytest.mark.parametrize("metadata", [{}, {"specs": [SPEC, SPEC]}, {"specs": {"encoder": SPEC}}, {"specs": "abc"}])
def test_forged_pruned_networks_are_refused(tmp_path: Path, metadata: dict[str, Any]):
    path = tmp_path / "pruned.safetensors"
    write_weights(path, {"a": torch.ones(1)}, {"architecture": "training-pruning", **metadata})
    with pytest.raises(WeightsError) as caught:
        load_pruned(path)
    assert caught.value.code == "SP307"
