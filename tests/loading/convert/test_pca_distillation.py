import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from styleplugin import cli
from styleplugin.errors import WeightsError
from styleplugin.images.read import read_image
from styleplugin.loading.build import describe, load_model
from styleplugin.loading.convert.pca_distillation import backbones_in, import_pca_distillation
from styleplugin.methods.photorealistic.model import PhotoModel, PhotoSpec
from styleplugin.stylizer import Stylizer
from styleplugin.tensorfile import read_weights
from styleplugin.transforms import metrics

BACKBONES = ("vgg", "mobilenet")
PARTS = {
    "vgg": [f"enc.block{k}.{i}" for k, n in enumerate((2, 2, 2, 4)) for i in range(n)]
    + [f"dec.block{k}.{i}" for k, n in enumerate((1, 2, 2, 4)) for i in range(n)],
    "mobilenet": [f"enc.conv{i}" for i in range(12)]
    + [f"dec.block{k}.{i}" for k, n in enumerate((1, 2, 2, 2)) for i in range(n)],
}


@pytest.fixture
def released(tmp_path):
    """Random students of the released shapes as files of their names, and as plain convolutions."""

    def make(backbone: str) -> tuple[Path, list[nn.Conv2d]]:
        torch.manual_seed(1)
        convs = [layer for layer in PhotoModel(PhotoSpec(backbone=backbone)).modules() if isinstance(layer, nn.Conv2d)]
        if backbone == "vgg":
            convs = [nn.Conv2d(3, 3, 1), *convs]
        tensors = {}
        for name, conv in zip(PARTS[backbone], convs, strict=True):
            tensors |= {f"{name}.weight": conv.weight.detach(), f"{name}.bias": conv.get_parameter("bias").detach()}
        path = tmp_path / f"{backbone}.safetensors"
        safetensors.torch.save_file(tensors, path)
        return path, convs

    return make


@pytest.fixture
def clone(released, checkpoints, tmp_path):
    """A folder laid out and named as the repository's, with the tensors of `released`."""
    folders = {"vgg": "VGG backbone", "mobilenet": "MobileNet backbone"}
    for backbone in BACKBONES:
        halves = {"enc": {}, "dec": {}}
        for part, conv in zip(PARTS[backbone], released(backbone)[1], strict=True):
            half, *place = part.split(".")
            depthwise = conv.groups > 1
            kernel = conv.weight.detach().permute(2, 3, 0, 1) if depthwise else conv.weight.detach().permute(2, 3, 1, 0)
            if len(place) == 2:
                prefix = f"btnecks/{place[0].removeprefix('block')}/layer_with_weights-{place[1]}"
            else:
                prefix = f"se_model/layer_with_weights-{place[0].removeprefix('conv')}"
            for name, value in (
                ("depthwise_kernel" if depthwise else "kernel", kernel),
                ("bias", conv.get_parameter("bias").detach()),
            ):
                halves[half][f"{prefix}/{name}/.ATTRIBUTES/VARIABLE_VALUE"] = value.numpy()
        for half, tensors in halves.items():
            tensors["_CHECKPOINTABLE_OBJECT_GRAPH"] = np.frombuffer(b"graph", np.uint8)
            name = f"s{half}oder"
            checkpoints.write(tmp_path / "clone" / folders[backbone] / "ckpts" / f"{name}.index", tensors)
    return tmp_path / "clone"


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_clone_gives_the_same_student_as_its_converted_file(clone, released, backbone):
    assert backbones_in(clone) == list(BACKBONES)
    model, metadata = import_pca_distillation(clone, backbone)
    expected, _ = import_pca_distillation(released(backbone)[0], backbone)
    torch.testing.assert_close(model.state_dict(), expected.state_dict(), rtol=0, atol=0)
    assert metadata["card"]["source"].startswith("https://")
    assert len(metadata["card"]["sources_sha256"]) == 4


def test_a_checkpoint_without_a_needed_tensor_is_refused(clone, checkpoints):
    checkpoints.write(clone / "VGG backbone" / "ckpts" / "sdecoder.index", {"other": np.ones(3, np.float32)})
    with pytest.raises(WeightsError, match="btnecks/0/layer_with_weights-0/kernel") as caught:
        import_pca_distillation(clone, "vgg")
    assert caught.value.code == "SP310"


def test_the_command_writes_each_student_of_a_clone(clone, tmp_path):
    assert cli.run(["models", "import", "pca-distillation", str(clone), "-o", str(tmp_path / "out")]) == 0
    for backbone in BACKBONES:
        model, info = load_model(read_weights(tmp_path / "out" / f"pca-photo.{backbone}.released.safetensors"))
        assert (model.spec.backbone, info.license) == (backbone, "MIT")
    assert cli.run(["models", "import", "pca-distillation", str(tmp_path / "out"), "-o", str(tmp_path)]) == 4


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_front_is_absorbed_and_all_else_is_taken_over(released, backbone):
    path, convs = released(backbone)
    model, metadata = import_pca_distillation(path, backbone)
    image = torch.rand(1, 3, 32, 32)
    front, first = (convs[0], convs[1]) if backbone == "vgg" else (lambda x: 2 * x - 1, convs[0])
    torch.testing.assert_close(model.encoder.blocks[0](image), first(front(image)), rtol=1e-4, atol=1e-5)
    assert torch.equal(model.decoder.blocks[0].layers[-1].weight, convs[-7 if backbone == "mobilenet" else -9].weight)
    assert metadata["license"] == "MIT"
    assert set(metadata["card"]["sources_sha256"]) == {path.name}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_converted_file_is_recognized_by_its_names(released, backbone):
    path, _ = released(backbone)
    model, info = load_model(read_weights(path))
    assert isinstance(model, PhotoModel)
    assert (info.method, model.spec.backbone) == ("photorealistic", backbone)


def test_a_file_of_the_other_backbone_is_refused(released):
    path, _ = released("vgg")
    with pytest.raises(WeightsError) as caught:
        import_pca_distillation(path, "mobilenet")
    assert caught.value.code == "SP310"


def test_a_folder_without_checkpoints_holds_no_backbone(tmp_path):
    assert backbones_in(tmp_path) == []
    with pytest.raises(WeightsError) as caught:
        import_pca_distillation(tmp_path, "vgg")
    assert caught.value.code == "SP301"


@pytest.mark.shared
@pytest.mark.parametrize(("backbone", "lowest", "highest"), [("vgg", 31, 33), ("mobilenet", 20.7, 33)])
def test_the_released_students_reconstruct_as_well_as_they_should(shared_data, backbone, lowest, highest):
    model, _ = import_pca_distillation(shared_data / "teachers" / f"pcakd_{backbone}.safetensors", backbone)
    values = []
    for path in sorted((shared_data / "samples" / "photos").glob("*.jpg")):
        image = read_image(path).rgb
        scale = 512 / max(image.shape[2:])
        size = [round(side * scale) for side in image.shape[2:]]
        image = F.interpolate(image, size, mode="bicubic", antialias=True).clamp(0, 1)
        image = image[..., : size[0] // 16 * 16, : size[1] // 16 * 16]
        values.append(metrics.psnr(model(image).clamp(0, 1), image))
    assert lowest - 0.1 <= min(values) <= max(values) <= highest + 0.1


def zca(content: Tensor, style: Tensor) -> Tensor:
    """Return the content with the style's covariance and mean; the identity is added to both covariances."""

    def powers(features: Tensor, power: float) -> tuple[Tensor, Tensor, Tensor]:
        rows = features[0].flatten(1)
        mean = rows.mean(1, keepdim=True)
        values, vectors = torch.linalg.eigh((rows - mean) @ (rows - mean).T / rows.shape[1] + torch.eye(len(rows)))
        return (vectors * values**power) @ vectors.T, rows - mean, mean

    whitening, rows, _ = powers(content, -0.5)
    coloring, _, mean = powers(style, 0.5)
    return (coloring @ whitening @ rows + mean).view_as(content)


@pytest.mark.skipif("STYLEPLUGIN_CD_CLONE" not in os.environ, reason="needs a clone of Collaborative-Distillation")
@pytest.mark.shared
@pytest.mark.parametrize(
    ("backbone", "reconstruction", "extremes", "mean"),
    [
        ("vgg", (32.34, 31.84), (-0.279, 1.379), (0.6245, 0.6116, 0.6295)),
        ("mobilenet", (29.78, 29.63), (-0.121, 1.322), (0.6300, 0.6151, 0.6221)),
    ],
)
def test_the_golden_numbers(shared_data, backbone, reconstruction, extremes, mean):
    model, _ = import_pca_distillation(shared_data / "teachers" / f"pcakd_{backbone}.safetensors", backbone)
    images = []
    for name in ("content/in4.jpg", "style/in3.jpg"):
        with Image.open(Path(os.environ["STYLEPLUGIN_CD_CLONE"]) / "PytorchWCT" / name) as file:
            pixels = np.array(file.convert("RGB").resize((512, 384), Image.Resampling.BILINEAR))
        images.append(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255)
    for image, wanted in zip(images, reconstruction, strict=True):
        assert metrics.psnr(model(image).clamp(0, 1), image) == pytest.approx(wanted, abs=0.01)
    content, style = (model.encoder.features(image) for image in images)
    stylized = content[-1]
    for k in reversed(range(4)):
        stylized = model.decoder.blocks[k](zca(stylized, style[k]), [images[0], *content][k])
    assert [stylized.min().item(), stylized.max().item()] == pytest.approx(extremes, abs=0.002)
    assert stylized.clamp(0, 1).mean((0, 2, 3)).tolist() == pytest.approx(mean, abs=0.0002)
    stylizer = Stylizer(model, describe(model, name="released", license="MIT", sha256=""))
    assert stylizer(*images).tensor.mean((0, 2, 3)).tolist() == pytest.approx(mean, abs=0.01)
