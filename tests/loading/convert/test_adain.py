from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from styleplugin.errors import WeightsError
from styleplugin.images.read import read_image
from styleplugin.loading.build import load_model, save_model
from styleplugin.loading.convert.adain import import_adain
from styleplugin.networks.pairs import Pair, PairModel, PairSpec
from styleplugin.networks.vgg import teacher_spec
from styleplugin.tensorfile import read_weights
from styleplugin.transforms.metrics import psnr


def quantized(level: int = 4) -> dict[str, Tensor]:
    """Random integers of the published shapes."""
    generator = torch.Generator().manual_seed(0)
    spec = teacher_spec(level)
    tensors: dict[str, Tensor] = {}
    pair = Pair(PairSpec(encoder=spec, decoder=spec))
    for name, value in pair.state_dict().items():
        if name.endswith(".bias"):
            tensors[name] = torch.rand(value.shape, generator=generator)
            continue
        integers = torch.randint(0, 256, value.shape, generator=generator, dtype=torch.uint8)
        tensors |= {f"{name}_q": integers, f"{name}_scale": torch.tensor([2.0**-10])}
        tensors |= {f"{name}_zero": torch.tensor([-100], dtype=torch.int32)}
    return tensors


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("adain") / "adain.safetensors"
    save_file(quantized(), path)
    return path


def test_integers_become_the_weights_they_stand_for(file: Path, tmp_path: Path):
    model, metadata = import_adain(file)
    assert isinstance(model, PairModel) and (model.method, model.levels) == ("adain", (4,))
    assert sum(p.numel() for p in model.parameters()) == 7_010_947
    tensors, pair = quantized(), model.pair(4)
    for name, value in pair.state_dict().items():
        exact = tensors[name] if name.endswith("bias") else (tensors[f"{name}_q"].double() - 100) / 1024
        assert torch.equal(value.double(), exact.double()), name
    # AdaIN's picture passes no last ReLU.
    assert not pair.spec.decoder.final_relu
    path = tmp_path / "out.safetensors"
    save_model(path, model, **metadata)
    loaded, info = load_model(read_weights(path))
    assert info.method == "adain" and "no terms" in info.license
    assert loaded.encoder_ids == model.encoder_ids


def test_other_loaders_still_refuse_integers(file: Path):
    with pytest.raises(WeightsError) as caught:
        read_weights(file)
    assert caught.value.code == "SP305"


@pytest.mark.parametrize("missing", ["encoder.conv1_1.bias", "decoder.conv4_1.weight_q", "encoder.conv2_1.weight_zero"])
def test_incomplete_files_are_refused(missing: str, tmp_path: Path):
    tensors = quantized()
    del tensors[missing]
    save_file(tensors, tmp_path / "cut.safetensors")
    with pytest.raises(WeightsError, match=missing.split(".")[1]) as caught:
        import_adain(tmp_path / "cut.safetensors")
    assert caught.value.code == "SP310"


@pytest.mark.shared
@pytest.mark.slow
def test_the_released_pair_gives_a_photograph_back(shared_data: Path):
    model, _ = import_adain(shared_data / "teachers" / "adain_vgg19_q8.safetensors")
    image = read_image(next((shared_data / "samples").glob("**/*.jpg"))).rgb[..., :160, :160]
    with torch.no_grad():
        assert psnr(model(image), image) > 18
