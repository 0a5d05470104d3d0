from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from styleplugin.errors import WeightsError
from styleplugin.loading.convert.vgg import import_vgg
from styleplugin.networks.layers import Conv3x3
from styleplugin.networks.model import load_tensors
from styleplugin.networks.vgg import CONVS, TEACHER_WIDTHS, Encoder, VGGSpec

WIDTHS = (4, 5, 6, 7, 8, 8, 8, 8, 6, 6, 6, 6, 5, 5, 5, 5)
TORCHVISION = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)
NORMALIZED = (2, 5, 9, 12, 16, 19, 22, 25, 29, 32, 35, 38, 42, 45, 48, 51)
NAMES = (*CONVS, "5_2", "5_3", "5_4")


def random_convs(name: Callable[[int], str], count: int = 16) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    convs = {}
    for index, (inputs, outputs) in enumerate(zip((3, *WIDTHS), WIDTHS, strict=False)):
        if index < count:
            convs[f"{name(index)}.weight"] = torch.randn(outputs, inputs, 3, 3, generator=generator) / 8
            convs[f"{name(index)}.bias"] = torch.randn(outputs, generator=generator)
    return convs


def run(convs: dict[str, Tensor], front: nn.Module, image: Tensor, count: int) -> Tensor:
    """The first convolutions of a file behind its own preprocessing, by hand."""
    x = front(image)
    for (name, weight), bias in zip(list(convs.items())[: 2 * count : 2], list(convs.values())[1::2], strict=False):
        assert name.endswith("weight")
        x = nn.functional.conv2d(nn.functional.pad(x, (1, 1, 1, 1), mode="reflect"), weight, bias).relu()
    return x


def encode(convs: dict[str, Tensor], image: Tensor) -> Tensor:
    """The first two convolutions of an encoder that holds the imported tensors."""
    encoder = Encoder(VGGSpec(level=5, widths=WIDTHS[:13]))
    load_tensors(encoder, convs, "test")
    x = encoder.preprocess(image)
    for layer in [layer for layer in encoder.layers() if isinstance(layer, Conv3x3)][:2]:
        x = layer(x)
    return x


def write(folder: Path, tensors: dict[str, Tensor], suffix: str = "safetensors") -> Path:
    path = folder / f"vgg.{suffix}"
    if suffix == "pth":
        torch.save(tensors, path)
    else:
        safetensors.torch.save_file(tensors, path)
    return path


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_caffe_names_are_taken_as_they_are(suffix: str, tmp_path: Path) -> None:
    tensors = random_convs(lambda i: f"conv{NAMES[i]}")
    convs = import_vgg(write(tmp_path, tensors, suffix))
    assert list(convs) == [f"conv{conv}.{part}" for conv in CONVS for part in ("weight", "bias")]
    torch.testing.assert_close(convs, {name: tensors[name] for name in convs})


def test_torchvision_preprocessing_is_absorbed(tmp_path: Path) -> None:
    tensors = random_convs(lambda i: f"features.{TORCHVISION[i]}")
    path = write(tmp_path, tensors | {"classifier.0.weight": torch.ones(2, 2)})
    image = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    expected = run(tensors, lambda x: (x - mean) / std, image, 2)  # type: ignore[arg-type]
    torch.testing.assert_close(encode(import_vgg(path), image), expected, rtol=1e-4, atol=1e-4)


def test_caffe_values_under_torchvision_names_are_taken_as_they_are_on_request(tmp_path: Path) -> None:
    tensors = random_convs(lambda i: f"features.{TORCHVISION[i]}")
    convs = import_vgg(write(tmp_path, tensors), inputs="caffe")
    torch.testing.assert_close(convs["conv1_1.weight"], tensors["features.0.weight"])


def test_the_preprocessing_of_the_normalized_file_is_absorbed(tmp_path: Path) -> None:
    tensors = random_convs(lambda i: str(NORMALIZED[i]))
    front = nn.Conv2d(3, 3, 1)
    path = write(tmp_path, {**front.state_dict(prefix="0."), **tensors}, "pth")
    image = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        encode(import_vgg(path), image), run(tensors, front, image, 2).detach(), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("count", [1, 8, 13])
def test_a_file_of_the_first_layers_gives_these(count: int, tmp_path: Path) -> None:
    for names in (NAMES, TORCHVISION, NORMALIZED):
        prefix = {NAMES: "conv", TORCHVISION: "features.", NORMALIZED: ""}[names]
        tensors = random_convs(lambda i, p=prefix, n=names: f"{p}{n[i]}", count)
        if names is NORMALIZED:
            tensors |= {"0.weight": torch.randn(3, 3, 1, 1), "0.bias": torch.zeros(3)}
        assert len(import_vgg(write(tmp_path, tensors))) == 2 * count


def test_layers_after_a_gap_are_left_out(tmp_path: Path) -> None:
    tensors = random_convs(lambda i: f"conv{NAMES[i]}")
    del tensors["conv2_1.weight"]
    assert list(import_vgg(write(tmp_path, tensors)))[-1] == "conv1_2.bias"


@pytest.mark.parametrize(
    "tensors",
    [
        {"x": torch.ones(1)},
        {"conv1_1.weight": torch.ones(4, 4, 3, 3), "conv1_1.bias": torch.ones(4)},
        {"conv1_1.weight": torch.ones(4, 3, 3, 3)},
        {f"features.{i}.weight": torch.ones(4, 4, 3, 3) for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21)},
        {f"features.{i}.weight": torch.ones(4, 4, 3, 3) for i in (0, 3, 7, 10)},
        {"2.weight": torch.ones(4, 3, 3, 3), "2.bias": torch.ones(4)},
    ],
    ids=["nothing", "channels", "bias", "vgg16", "vgg19_bn", "front"],
)
def test_other_networks_are_refused(tensors: dict[str, Tensor], tmp_path: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        import_vgg(write(tmp_path, tensors))
    assert caught.value.code == "SP319"


@pytest.mark.shared
def test_the_shared_teacher_gives_its_first_three_blocks(shared_data: Path) -> None:
    convs = import_vgg(shared_data / "teachers" / "vgg19_imagenet_conv1_1-conv3_4.safetensors")
    assert list(convs)[-1] == "conv3_4.bias"
    assert tuple(convs[f"conv{conv}.bias"].numel() for conv in CONVS[:8]) == TEACHER_WIDTHS[:8]
