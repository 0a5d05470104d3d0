import os
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import nn

from styleplugin import metrics
from styleplugin.checkpoint import read_weights
from styleplugin.errors import WeightsError
from styleplugin.images.small import read_image
from styleplugin.importers.pca_distillation import backbones_in, import_pca_distillation
from styleplugin.models.photorealistic import PhotoModel, PhotoSpec
from styleplugin.registry import describe, load_model
from styleplugin.stylizer import Stylizer

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


@pytest.mark.skipif("STYLEPLUGIN_CD_CLONE" not in os.environ, reason="needs a clone of Collaborative-Distillation")
@pytest.mark.shared
@pytest.mark.parametrize(
    ("backbone", "reconstruction", "mean"),
    [("vgg", (32.34, 31.84), (0.6245, 0.6116, 0.6295)), ("mobilenet", (29.78, 29.63), (0.6300, 0.6151, 0.6221))],
)
def test_the_golden_numbers(shared_data, backbone, reconstruction, mean):
    model, _ = import_pca_distillation(shared_data / "teachers" / f"pcakd_{backbone}.safetensors", backbone)
    folder = Path(os.environ["STYLEPLUGIN_CD_CLONE"]) / "PytorchWCT"
    images = []
    for name in ("content/in4.jpg", "style/in3.jpg"):
        image = read_image(folder / name).rgb
        images.append(F.interpolate(image, (384, 512), mode="bilinear", antialias=True).clamp(0, 1))
    for image, wanted in zip(images, reconstruction, strict=True):
        assert metrics.psnr(model(image).clamp(0, 1), image) == pytest.approx(wanted, abs=0.15)
    stylizer = Stylizer(model, describe(model, name="released", license="MIT", sha256=""))
    result = stylizer(*images).tensor
    assert result.mean((0, 2, 3)).tolist() == pytest.approx(mean, abs=0.01)
