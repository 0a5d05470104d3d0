"""Style files are checked against themselves, against limits and against the model before anything is made of them."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from styleplugin.api import choose_model
from styleplugin.errors import StylePluginError, UsageError, WeightsError
from styleplugin.style import Style, code_shapes
from styleplugin.tensorfile import STYLE, write_weights
from styleplugin.transforms.moments import Moments

SHAPES = code_shapes([[3], [2]], diagonal=False)


def metadata(**changes: Any) -> dict[str, Any]:
    full = {
        "kind": "style",
        "model": "tiny",
        "encoders": ["a", "b"],
        "name": "x.png",
        "size": [8, 9],
        "counts": [[20.0], [30.0]],
    }
    return {key: value for key, value in (full | changes).items() if value is not None}


def tensors(**changes: Any) -> dict[str, torch.Tensor]:
    full = {
        "stage0.point0.mean": torch.zeros(3),
        "stage0.point0.covariance": torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0, 1.0]),
        "stage1.point0.mean": torch.zeros(2),
        "stage1.point0.covariance": torch.tensor([1.0, -0.5, 1.0]),
    }
    return {key: value for key, value in (full | changes).items() if value is not None}


def load(folder: Path, data: dict[str, Any], values: dict[str, torch.Tensor]) -> Style:
    path = folder / "a.style.safetensors"
    path.unlink(missing_ok=True)
    write_weights(path, values, data, limits=STYLE)
    return Style.load(path)


def test_a_style_file_is_read(tmp_path):
    style = load(tmp_path, metadata(), tensors())
    assert style.shapes == SHAPES
    assert style.code[1][0].covariance(unbiased=False).tolist() == [[1.0, -0.5], [-0.5, 1.0]]
    style.check_fits(["a", "b"], "tiny", SHAPES)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "x"},
        {"kind": [1]},
        {"model": None},
        {"model": ["tiny"]},
        {"encoders": [1, 2]},
        {"encoders": "ab"},
        {"name": None},
        {"size": [8]},
        {"size": [-1, 9]},
        {"size": [8.5, 9]},
        {"size": [True, 9]},
        {"size": [1 << 40, 9]},
        {"counts": []},
        {"counts": [[], []]},
        {"counts": [[20.0]]},
        {"counts": [[20.0], [30.0], [40.0]]},
        {"counts": [20.0, 30.0]},
        {"counts": [[-1.0], [30.0]]},
        {"counts": [[1e300], [30.0]]},
        {"counts": [[10**400], [30.0]]},
        {"counts": [[True], [30.0]]},
        {"counts": [["20"], [30.0]]},
        {"card": [1]},
        {"palette": "b"},
        {"palette": [1]},
        {"palette": ["b", "b"]},
        {"palette": ["a", "b"]},
    ],
    ids=str,
)
def test_a_file_that_says_nonsense_is_refused(tmp_path, changes):
    with pytest.raises(WeightsError) as caught:
        load(tmp_path, metadata(**changes), tensors())
    assert caught.value.code in ("SP307", "SP340")


def test_the_last_stages_may_be_those_of_palettes(tmp_path):
    style = load(tmp_path, metadata(encoders=["a"], palette=["colors"]), tensors())
    assert [moments.channels for stage in style.code for moments in stage] == [3]
    assert style.palette["colors"].covariance(unbiased=False).tolist() == [[1.0, -0.5], [-0.5, 1.0]]
    style.check_fits(["a"], "tiny", SHAPES[:1])
    more = {"stage1.point1.mean": torch.zeros(2), "stage1.point1.covariance": torch.ones(3)}
    with pytest.raises(WeightsError, match="are no palette"):
        load(tmp_path, metadata(palette=["colors"], counts=[[20.0], [30.0, 30.0]]), tensors(**more))


@pytest.mark.parametrize("text", ["[1e999,1]", "[Infinity,1]", "[NaN,1]"])
def test_numbers_that_JSON_makes_infinite_are_refused(tmp_path, text):
    path = tmp_path / "a.style.safetensors"
    write_weights(path, tensors(), metadata(size=["#"]), limits=STYLE)
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"]["styleplugin"] = header["__metadata__"]["styleplugin"].replace('["#"]', text)
    changed = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(changed)) + changed + data[8 + length :])
    with pytest.raises(WeightsError) as caught:
        Style.load(path)
    assert caught.value.code == "SP307"


@pytest.mark.parametrize(
    "changes",
    [
        {"stage1.point0.mean": None},
        {"stage1.point0.covariance": None},
        {"stage2.point0.mean": torch.zeros(2)},
        {"stage0.point0.mean": torch.zeros(20_000), "stage0.point0.covariance": torch.zeros(1)},
        {"stage0.point0.mean": torch.zeros(1, 3)},
        {"stage0.point0.mean": torch.zeros(0), "stage0.point0.covariance": torch.zeros(0)},
        {"stage0.point0.covariance": torch.zeros(7)},
        {"stage0.point0.covariance": torch.eye(3)},
        {"stage0.point0.covariance": torch.tensor([1.0, 0.0, 0.0, -1.0, 0.0, 1.0])},
        {"stage0.point0.covariance": torch.tensor([1.0, 1.0, -1.0])},
    ],
    ids=lambda changes: str({name: None if t is None else tuple(t.shape) for name, t in changes.items()}),
)
def test_tensors_that_contradict_each_other_are_refused_before_anything_is_made_of_them(tmp_path, monkeypatch, changes):
    monkeypatch.setattr("styleplugin.style._unpack", lambda *given: pytest.fail("too early"))
    with pytest.raises(WeightsError) as caught:
        load(tmp_path, metadata(), tensors(**changes))
    assert caught.value.code == "SP340"


def diagonal(*channels: int) -> tuple[tuple[Moments, ...], ...]:
    return tuple((Moments(9.0, torch.zeros(c).double(), torch.ones(c).double()),) for c in channels)


@pytest.mark.parametrize(
    "points",
    [[[3]], [[3], [2], [2]], [[2], [3]], [[3, 2]], [[4], [2]]],
    ids=["missing", "surplus", "order", "points", "channels"],
)
def test_a_style_of_other_stages_or_channels_than_the_models_is_refused(tmp_path, points):
    style = load(tmp_path, metadata(), tensors())
    with pytest.raises(WeightsError) as caught:
        style.check_fits(["a", "b"], "tiny", code_shapes(points, diagonal=False))
    assert caught.value.code == "SP341"
    with pytest.raises(UsageError, match="was prepared with"):
        style.check_fits(["a"], "tiny", code_shapes(points, diagonal=False))


def test_variances_are_no_covariances_but_for_one_channel(tmp_path):
    style = Style(diagonal(3, 1), "tiny", ("a", "b"))
    style.save(tmp_path / "a.safetensors")
    again = Style.load(tmp_path / "a.safetensors")
    again.check_fits(["a", "b"], "tiny", code_shapes([[3], [1]], diagonal=True))
    with pytest.raises(WeightsError):
        again.check_fits(["a", "b"], "tiny", code_shapes([[3], [1]], diagonal=False))
    single = Style(diagonal(1), "tiny", ("a",))
    for kind in (True, False):
        single.check_fits(["a"], "tiny", code_shapes([[1]], diagonal=kind))


def test_every_model_says_what_its_styles_have(tiny_model, kb_model, make_photo_model):
    assert tiny_model.points == ((8,), (6,), (4,))
    assert kb_model.points == ((6, 5),)
    assert make_photo_model("vgg").points == ((7, 6, 5, 4),)


@pytest.mark.parametrize("model", ["hub:a/b@c", "file:/etc/x", "x.safetensors", "../x", "builtin:cd-wct.x16"])
def test_a_style_file_chooses_no_file_and_no_download(tmp_path, model):
    style = load(tmp_path, metadata(model=model), tensors())
    with pytest.raises(UsageError) as caught:
        choose_model(None, style)
    assert caught.value.code == "SP110"
    assert choose_model(None, load(tmp_path, metadata(model="cd-wct.x16"), tensors())) == "cd-wct.x16"


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: data[:9], lambda data: b"", lambda data: data + b"x"]
)
def test_a_damaged_file_is_refused(tmp_path, change: Callable[[bytes], bytes]):
    path = tmp_path / "a.style.safetensors"
    write_weights(path, tensors(), metadata(), limits=STYLE)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(StylePluginError):
        Style.load(path)
