import pytest
import torch
from safetensors.torch import save_file
from torch.testing import assert_close

from benchmarks.microast import MicroAST, import_microast
from styleplugin.errors import WeightsError

_PLACES = {"encoder": (0, 2, 4, 6, 8), "decoder": (1, 3, 6, 8, 10)}


def their_name(name: str) -> str:
    """Ours to theirs, written the other way round than in the importer."""
    part, kind, number, *rest = name.split(".")
    *inner, value = rest
    if kind in ("scales", "shares"):
        return f"{part}.{'weight' if kind == 'scales' else 'bias'}{int(number) + 1}.0.conv_layer.{value}"
    if kind == "convs":
        place = _PLACES[part.split("_")[-1]][int(number)]
        return f"{part}.{'dec3' if part == 'decoder' else 'enc1'}.{place}.conv_layer.{value}"
    block = f"dec{int(number) + 1}" if part == "decoder" else ("enc1.10", "enc2.0")[int(number)]
    return f"{part}.{block}.{'conv1' if inner == ['first'] else 'conv2'}.conv_layer.{value}"


@pytest.fixture(scope="module")
def micro() -> MicroAST:
    torch.manual_seed(0)
    return MicroAST().eval()


def test_it_has_the_published_size_and_stylizes(micro):
    assert sum(p.numel() for p in micro.parameters()) == 471_987
    contents, styles = torch.rand(2, 3, 32, 48), torch.rand(2, 3, 40, 36)
    with torch.no_grad():
        both = micro(contents, styles)
        assert both.shape == contents.shape
        assert_close(both[1:], micro(contents[1:], styles[1:]))
        assert not torch.allclose(both, micro(contents, styles.flip(0)))


@pytest.mark.parametrize("kind", ["safetensors", "clone"])
def test_released_weights_are_read_from_one_file_or_from_a_clone(micro, tmp_path, kind):
    tensors = {their_name(name): value.clone() for name, value in micro.state_dict().items()}
    source = tmp_path / "microast.safetensors"
    if kind == "safetensors":
        save_file(tensors, source)
    else:
        source = tmp_path / "clone"
        (source / "models").mkdir(parents=True)
        for part in ("content_encoder", "style_encoder", "modulator", "decoder"):
            own = {name.removeprefix(f"{part}."): t for name, t in tensors.items() if name.startswith(part)}
            torch.save(own, source / "models" / f"{part}_iter_160000.pth.tar")
    model = import_microast(source)
    content, style = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(model(content, style), micro(content, style))


def test_incomplete_sources_are_refused(micro, tmp_path):
    with pytest.raises(WeightsError, match="holds no content_encoder"):
        import_microast(tmp_path)
    tensors = {their_name(name): value.clone() for name, value in micro.state_dict().items()}
    tensors.pop("decoder.dec3.10.conv_layer.bias")
    save_file(tensors, tmp_path / "cut.safetensors")
    with pytest.raises(WeightsError, match=r"missing: decoder.convs.4.bias"):
        import_microast(tmp_path / "cut.safetensors")


@pytest.mark.shared
def test_the_released_weights_make_a_picture(shared_data):
    model = import_microast(shared_data / "teachers" / "microast.safetensors")
    ramp = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)
    with torch.no_grad():
        output = model(ramp, 1 - 0.5 * ramp.transpose(2, 3) ** 2)
    assert output.min() > -0.5
    assert output.max() < 1.5
    assert output.std() > 0.05


@pytest.mark.parametrize("name", ["decoder.dec3.7.weight", "decoder.dec3.9999999999.weight", "x", ""])
def test_names_of_no_place_in_the_network_are_refused(micro, tmp_path, name):
    tensors = {their_name(key): value for key, value in micro.state_dict().items()}
    torch.save(tensors | {name or "decoder.dec3..weight": torch.ones(1)}, tmp_path / "x.pth")
    with pytest.raises(WeightsError) as caught:
        import_microast(tmp_path / "x.pth")
    assert caught.value.code == "SP310"
