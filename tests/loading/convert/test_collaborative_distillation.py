from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from styleplugin.errors import WeightsError
from styleplugin.loading.build import load_model, save_model
from styleplugin.loading.convert.collaborative_distillation import (
    import_collaborative_distillation,
)
from styleplugin.networks.layers import Conv3x3
from styleplugin.networks.pairs import Pair, PairModel
from styleplugin.networks.vgg import Preprocess, convs_of_level
from styleplugin.tensorfile import read_weights

TEACHER = "teachers/cd_vgg19_16x_wct.safetensors"


@pytest.fixture(scope="module")
def halves(make_pair: Callable[..., Pair]) -> dict[str, dict[str, Tensor]]:
    """State dicts in their layout, with a `conv0` that drifted and embeddings to twice the width."""
    generator = torch.Generator().manual_seed(0)
    ours, halves = Preprocess(), {}
    for level in range(1, 6):
        pair = make_pair(level, seed=level)
        encoder = {
            "conv0.weight": ours.weight + torch.randn(3, 3, 1, 1, generator=generator),
            "conv0.bias": ours.bias + torch.randn(3, generator=generator),
        }
        encoder |= {name.replace("_", ""): value for name, value in pair.encoder.state_dict().items()}
        for k in range(1, level + 1):
            width = len(encoder[f"conv{k}1.bias"])
            encoder[f"conv{k}1_aux.weight"] = torch.randn(2 * width, width, 1, 1, generator=generator)
            encoder[f"conv{k}1_aux.bias"] = torch.randn(2 * width, generator=generator)
        decoder = {name.replace("_", ""): value for name, value in pair.decoder.state_dict().items()}
        halves |= {f"e{level}": encoder, f"d{level}": decoder}
    return halves


@pytest.fixture
def clone(tmp_path: Path, halves: dict[str, dict[str, Tensor]]) -> Path:
    """A clone with the links of their repository: real ones for the encoders, those of a zip for the decoders."""
    for folder, half, link in (("wct_se_16x_new", "e", "SE"), ("wct_se_16x_new_sd", "d", "SD")):
        directory = tmp_path / "clone" / "trained_models" / folder
        directory.mkdir(parents=True)
        for level in range(1, 6):
            target = f"2019111{level}-133713_E20.pth"
            data = {"epoch": 20, "model": halves[f"{half}{level}"]}
            torch.save(data, directory / target, _use_new_zipfile_serialization=False)
            if half == "e":
                (directory / f"{level}{link}.pth").symlink_to(target)
            else:
                (directory / f"{level}{link}.pth").write_text(target)
    return tmp_path / "clone"


@pytest.fixture
def repack(tmp_path: Path, halves: dict[str, dict[str, Tensor]]) -> Path:
    tensors = {f"{half}.{name}": value for half, state in halves.items() for name, value in state.items()}
    safetensors.torch.save_file(tensors, tmp_path / "repack.safetensors")
    return tmp_path / "repack.safetensors"


def encode_by_hand(state: dict[str, Tensor], level: int, image: Tensor) -> Tensor:
    x = F.conv2d(image, state["conv0.weight"], state["conv0.bias"])
    for conv in convs_of_level(level):
        x = F.max_pool2d(x, 2) if conv.endswith("_1") and conv != "1_1" else x
        name = f"conv{conv.replace('_', '')}"
        x = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), state[f"{name}.weight"], state[f"{name}.bias"]).relu()
    return x


def picture(path: Path, resize: Callable[[Image.Image], Image.Image]) -> Tensor:
    with Image.open(path) as image:
        pixels = np.array(resize(image.convert("RGB")), dtype=np.float32)
    return torch.from_numpy(pixels / 255).permute(2, 0, 1)[None]


def psnr(a: Tensor, b: Tensor) -> float:
    return float(-10 * (a - b.clamp(0, 1)).square().mean().log10())


def same(first: PairModel, second: PairModel) -> bool:
    return all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))


def test_clone_and_repack_give_the_same_model(clone: Path, repack: Path) -> None:
    (model, metadata), (other, _) = map(import_collaborative_distillation, (clone, repack))
    assert model.levels == (5, 4, 3, 2, 1)
    assert same(model, other)
    assert metadata["license"] == "MIT"
    assert len(metadata["card"]["sources_sha256"]) == 10


def test_the_trained_preprocessing_is_kept(repack: Path, halves: dict[str, dict[str, Tensor]]) -> None:
    model, _ = import_collaborative_distillation(repack)
    image = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    for level in range(1, 6):
        expected = encode_by_hand(halves[f"e{level}"], level, image)
        torch.testing.assert_close(model.pair(level).encoder(image), expected, rtol=1e-4, atol=1e-4)


def test_the_imported_model_can_be_saved_as_ours(repack: Path, tmp_path: Path) -> None:
    model, metadata = import_collaborative_distillation(repack)
    save_model(tmp_path / "own.safetensors", model, **metadata)
    loaded, info = load_model(read_weights(tmp_path / "own.safetensors"))
    assert isinstance(loaded, PairModel)
    assert same(model, loaded)
    assert info.license == "MIT"


def test_the_repack_is_detected_as_it_is(repack: Path, tiny_weights: Path) -> None:
    loaded, info = load_model(read_weights(repack))
    assert isinstance(loaded, PairModel)
    assert same(loaded, import_collaborative_distillation(repack)[0])
    assert (info.architecture, info.method, info.license) == ("vgg-pairs", "wct", "MIT")


def test_importing_leaves_the_random_state_alone(repack: Path) -> None:
    before = torch.get_rng_state()
    import_collaborative_distillation(repack)
    assert torch.equal(before, torch.get_rng_state())


def test_a_missing_file_or_tensor_is_named(clone: Path, repack: Path) -> None:
    (clone / "trained_models/wct_se_16x_new/3SE.pth").unlink()
    with pytest.raises(WeightsError, match=r"3SE\.pth"):
        import_collaborative_distillation(clone)
    tensors = safetensors.torch.load(repack.read_bytes())
    for name in ("e4.conv0.bias", "e5.conv51.bias", "e2.conv11.weight", "d3.conv22.weight"):
        safetensors.torch.save_file({k: v for k, v in tensors.items() if k != name}, repack)
        with pytest.raises(WeightsError, match=name.split(".")[0]) as caught:
            import_collaborative_distillation(repack)
        assert caught.value.code == "SP310"


def test_misshapen_tensors_are_refused(repack: Path) -> None:
    tensors = safetensors.torch.load(repack.read_bytes())
    for name in ("e4.conv0.weight", "e4.conv0.bias", "e5.conv51.weight", "e1.conv11.weight", "d3.conv22.weight"):
        for wrong in (torch.ones(()), torch.ones(7), torch.ones(4, 3, 1, 1), torch.ones(0, 0, 0, 0)):
            safetensors.torch.save_file(tensors | {name: wrong}, repack)
            with pytest.raises(WeightsError):
                load_model(read_weights(repack))


def test_a_file_without_any_pair_is_refused(tmp_path: Path) -> None:
    safetensors.torch.save_file({"x": torch.ones(1)}, tmp_path / "x.safetensors")
    with pytest.raises(WeightsError):
        import_collaborative_distillation(tmp_path / "x.safetensors")


def test_a_link_of_a_zip_cannot_lead_elsewhere(clone: Path) -> None:
    link = clone / "trained_models/wct_se_16x_new_sd/1SD.pth"
    (clone / "evil.pth").write_bytes((link.parent / link.read_text()).read_bytes())
    link.write_text("../../evil.pth")
    with pytest.raises(WeightsError) as caught:
        import_collaborative_distillation(clone)
    assert caught.value.code == "SP318"


@pytest.mark.parametrize("content", ["", ".", "..", "no such file", "a\0b", "/etc/passwd"])
def test_an_empty_or_foreign_file_in_a_clone_is_refused(clone: Path, content: str) -> None:
    file = next(path for path in clone.rglob("5SD.pth") if not path.is_symlink())
    file.write_text(content)
    with pytest.raises(WeightsError) as caught:
        import_collaborative_distillation(clone)
    assert caught.value.code in ("SP301", "SP318")


def test_compacting_removes_dead_channels_and_changes_no_picture(
    repack: Path, halves: dict[str, dict[str, Tensor]]
) -> None:
    tensors = {f"{half}.{name}": value.clone() for half, state in halves.items() for name, value in state.items()}
    for name in ("e5.conv31.bias", "e5.conv51.bias", "e2.conv21.bias"):
        tensors[name][1] = -9999
    safetensors.torch.save_file(tensors, repack)
    images = [torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))]
    model, _ = import_collaborative_distillation(repack)
    compact, metadata = import_collaborative_distillation(repack, compact=True, images=images)
    assert metadata["card"]["compact"] is True
    for level in range(1, 6):
        before, after = model.pair(level), compact.pair(level)
        torch.testing.assert_close(after(images[0]), before(images[0]), rtol=1e-4, atol=1e-5)
        removed = sum(before.spec.encoder.widths) - sum(after.spec.encoder.widths)
        assert removed >= {5: 2, 2: 1}.get(level, 0)


def test_the_final_layer_of_a_wct_decoder_keeps_its_relu(repack: Path) -> None:
    model, _ = import_collaborative_distillation(repack)
    last = model.pair(5).decoder.layers()[-1]
    assert isinstance(last, Conv3x3)
    assert last.relu
