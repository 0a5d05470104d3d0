"""Robustness rows W08 to W10 and W14: from a file to a model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from styleplugin.errors import WeightsError
from styleplugin.loading.build import (
    join_halves,
    load_model,
    load_saved_encoder,
    save_encoder,
    save_half,
    save_model,
)
from styleplugin.networks.model import pairing_id
from styleplugin.networks.pairs import Pair, PairModel
from styleplugin.tensorfile import read_weights, write_weights


def rewrite(path: Path, change: Callable[[dict[str, Any], dict[str, torch.Tensor]], object]) -> Path:
    """Change metadata and tensors of a file in place."""
    weights = read_weights(path)
    metadata, tensors = json.loads(json.dumps(weights.metadata)), dict(weights.tensors)
    change(metadata, tensors)
    write_weights(path, tensors, metadata)
    return path


def code_of(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        load_model(read_weights(path))
    return caught.value.code


def test_a_model_survives_its_file(tiny_weights: Path, tiny_model: PairModel) -> None:
    model, _ = load_model(read_weights(tiny_weights))
    assert isinstance(model, PairModel)
    assert [model.pair(level).spec for level in model.levels] == [tiny_model.pair(level).spec for level in (3, 2, 1)]
    torch.testing.assert_close(model.state_dict(), tiny_model.state_dict(), rtol=0, atol=0)
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_the_descriptor_says_what_users_of_a_model_need(tiny_weights: Path) -> None:
    model, info = load_model(read_weights(tiny_weights))
    assert (info.name, info.architecture, info.method, info.license) == ("tiny", "vgg-pairs", "wct", "MIT")
    assert (info.levels, info.min_side, info.tile_multiple) == ((3, 2, 1), 8, 16)
    assert info.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert info.metrics == {"psnr": 12.5}
    assert info.sha256 == read_weights(tiny_weights).sha256


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_precision_on_disk_becomes_float32(dtype: torch.dtype, tmp_path: Path, tiny_model: PairModel) -> None:
    rounded = PairModel("wct", [tiny_model.pair(level) for level in tiny_model.levels]).to(dtype).float()
    save_model(tmp_path / "w.safetensors", rounded, license="MIT", dtype=dtype)
    weights = read_weights(tmp_path / "w.safetensors")
    assert {value.dtype for value in weights.tensors.values()} == {dtype}
    model, _ = load_model(weights)
    torch.testing.assert_close(model.state_dict(), rounded.state_dict(), rtol=0, atol=0)


def test_half_precision_keeps_the_pairing(tmp_path: Path, tiny_model: PairModel) -> None:
    save_model(tmp_path / "w.safetensors", tiny_model, license="MIT", dtype=torch.float16)
    load_model(read_weights(tmp_path / "w.safetensors"))


@pytest.mark.parametrize("kind", ["pairs", "kbstyle", "photo"])
def test_loading_never_touches_the_random_state(
    kind: str, tmp_path: Path, tiny_model: PairModel, kb_model: Any, make_photo_model: Any, monkeypatch: Any
) -> None:
    """Another thread may draw at any moment: that the state is as before in the end would not do."""
    model = {"pairs": tiny_model, "kbstyle": kb_model, "photo": make_photo_model("mobilenet")}[kind]
    path = tmp_path / "model.safetensors"
    save_model(path, model, license="MIT")

    def touched(*_: Any, **__: Any) -> None:
        raise AssertionError("the random state is set")

    monkeypatch.setattr(torch.random, "set_rng_state", touched)
    before = torch.get_rng_state()
    load_model(read_weights(path))
    assert torch.equal(before, torch.get_rng_state())


def test_W08_missing_surplus_and_misshapen_tensors_are_named_at_most_five_of_each(tiny_weights: Path) -> None:
    def change(metadata: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        for name in sorted(tensors)[:7]:
            del tensors[name]
        tensors["pairs.3.encoder.conv9_9.weight"] = torch.ones(1)
        tensors["pairs.3.encoder.conv1_1.weight"] = torch.ones(4, 3, 1, 1)

    with pytest.raises(WeightsError) as caught:
        load_model(read_weights(rewrite(tiny_weights, change)))
    assert caught.value.code == "SP310"
    assert "missing: pairs.1.encoder.conv1_1.weight" in caught.value.message
    assert "and 2 more" in caught.value.message
    assert "surplus: pairs.3.encoder.conv9_9.weight" in caught.value.message
    assert "pairs.3.encoder.conv1_1.weight (4, 3, 1, 1) instead of (4, 3, 3, 3)" in caught.value.message


def test_W09_unknown_architectures_are_refused(tiny_weights: Path) -> None:
    for architecture in ("vgg-pears", "os.system", "", 7, None, ["vgg-pairs"]):
        assert code_of(rewrite(tiny_weights, lambda m, t, a=architecture: m.update(architecture=a))) == "SP309"


def test_W09_our_tensors_without_metadata_are_refused(tiny_weights: Path) -> None:
    tiny_weights.write_bytes(safetensors.torch.save(read_weights(tiny_weights).tensors))
    assert code_of(tiny_weights) == "SP309"


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.pop("pairs"),
        lambda m: m.pop("method"),
        lambda m: m.update(pairs=7),
        lambda m: m.update(pairs={"level": 1}),
        lambda m: m.update(pairs=m["pairs"] * 9),
        lambda m: m.update(card=[]),
        lambda m: m.update(card={"metrics": 7}),
        lambda m: m["pairs"][0].pop("encoder"),
        lambda m: m["pairs"][0].pop("pairing"),
        lambda m: m["pairs"][0]["decoder"].update(widths=None),
        lambda m: m["pairs"][0]["encoder"].update(level=3.5),
        lambda m: m["pairs"][0]["encoder"].update(level=[3]),
        lambda m: m["pairs"][0]["encoder"].update(widths="abcde"),
        lambda m: m["pairs"][0]["encoder"].update(widths=[4, 5, 6, 7, -8]),
        lambda m: m["pairs"][0]["encoder"].update(widths=[4, 5, 6, 7, "8"]),
        lambda m: m["pairs"][0]["encoder"].update(widths=[4, 5, 6, 7, 1e300]),
        lambda m: m.update(method="gan"),
        lambda m: m.update(method=["wct"]),
        lambda m: m.update(method="adain"),
        lambda m: m["pairs"].append(m["pairs"][0]),
        lambda m: m.update(pairs=[]),
    ],
)
def test_W09_malformed_descriptions_are_refused(change: Callable[[dict[str, Any]], object], tiny_weights: Path) -> None:
    assert code_of(rewrite(tiny_weights, lambda metadata, _: change(metadata))).startswith("SP3")


def test_W10_a_network_of_100_gigabytes_is_refused_before_it_is_built(tiny_weights: Path) -> None:
    def change(metadata: dict[str, Any], _: object) -> None:
        for half in ("encoder", "decoder"):
            metadata["pairs"][0][half]["widths"] = [4096] * len(metadata["pairs"][0][half]["widths"])

    assert code_of(rewrite(tiny_weights, change)) == "SP311"


def test_W14_swapped_encoders_are_refused(tiny_weights: Path, make_pair: Callable[..., Pair]) -> None:
    other = {f"pairs.2.encoder.{k}": v for k, v in make_pair(2, seed=99).encoder.state_dict().items()}
    assert code_of(rewrite(tiny_weights, lambda _, tensors: tensors.update(other))) == "SP312"


def test_W14_halves_trained_separately_join_only_with_their_partner(
    tmp_path: Path, make_pair: Callable[..., Pair]
) -> None:
    pair, other = make_pair(3), make_pair(3, seed=1)
    for name, source in (("own", pair), ("other", other)):
        pairing = pairing_id(source.encoder)
        save_half(tmp_path / f"{name}-encoder.safetensors", source.encoder, pairing=pairing)
        save_half(tmp_path / f"{name}-decoder.safetensors", source.decoder, pairing=pairing)
    encoder, decoder, foreign = (
        read_weights(tmp_path / f"{name}.safetensors") for name in ("own-encoder", "own-decoder", "other-decoder")
    )
    torch.testing.assert_close(join_halves(encoder, decoder).state_dict(), pair.state_dict(), rtol=0, atol=0)
    for wrong, code in (((encoder, foreign), "SP312"), ((encoder, encoder), "SP307"), ((decoder, encoder), "SP307")):
        with pytest.raises(WeightsError) as caught:
            join_halves(*wrong)
        assert caught.value.code == code


def test_a_file_of_one_method_is_no_model_of_another(tmp_path: Path, tiny_weights: Path, kb_model: Any) -> None:
    path = tmp_path / "kb.safetensors"
    save_model(path, kb_model, license="MIT")
    for file, method in ((path, "wct"), (path, "optimization"), (tiny_weights, "kbstyle")):
        assert code_of(rewrite(file, lambda metadata, _, m=method: metadata.update(method=m))) == "SP323"


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data["pairs"][0]["encoder"].update(level=True),
        lambda data: data["pairs"][0]["encoder"].update(level=3.0),
        lambda data: data["pairs"][0]["encoder"].update(widths=[True, 5, 6, 7, 8]),
        lambda data: data["pairs"][0]["encoder"].update(widths="abcde"),
        lambda data: data["pairs"][0]["encoder"].update(widths=5),
        lambda data: data["pairs"][0]["encoder"].update(final_relu="false"),
        lambda data: data["pairs"].append(5),
        lambda data: data.update(pairs="abc"),
        lambda data: data.update(card=[1]),
        lambda data: data["card"].update(metrics=5),
        lambda data: data.update(method=["wct"]),
        lambda data: data.update(architecture=["vgg-pairs"]),
    ],
)
def test_metadata_of_other_types_are_refused(tiny_weights: Path, change) -> None:
    rewrite(tiny_weights, lambda metadata, tensors: change(metadata))
    with pytest.raises(WeightsError):
        load_model(read_weights(tiny_weights))


@pytest.mark.parametrize("kind", ["pairs", "kbstyle"])
def test_a_network_is_compared_with_its_file_before_it_is_made(tmp_path, tiny_weights, kb_model, kind, monkeypatch):
    sizes = []
    monkeypatch.setattr("styleplugin.networks.model.load_tensors", lambda *given: pytest.fail("too early"))
    if kind == "pairs":
        path = rewrite(tiny_weights, lambda metadata, tensors: metadata["pairs"][0]["encoder"].update(widths=[512] * 5))
        rewrite(tiny_weights, lambda metadata, tensors: metadata["pairs"][0]["decoder"].update(widths=[512] * 5))
    else:
        path = tmp_path / "kb.safetensors"
        save_model(path, kb_model, license="MIT")
        rewrite(path, lambda metadata, tensors: metadata["spec"].update(widths=[1024] * 3, blocks=16))
    init = torch.nn.Conv2d.__init__

    def measured(self, *given, **named):
        init(self, *given, **named)
        sizes.append(0 if self.weight.is_meta else self.weight.numel())

    monkeypatch.setattr(torch.nn.Conv2d, "__init__", measured)
    assert code_of(path) == "SP310"
    assert sizes and max(sizes) == 0


def test_a_saved_encoder_is_compared_with_its_roots(tmp_path: Path, tiny_pair: Pair) -> None:
    roots = {f"level{k}.root": torch.eye(width) for k, width in ((1, 4), (2, 6), (3, 8))}
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, tiny_pair.encoder, roots, license="MIT", card={})
    _, found = load_saved_encoder(read_weights(path))
    assert [root.shape[0] for root in found] == [4, 6, 8]
    for wrong in ({"level2.root": torch.eye(5)}, {"level4.root": torch.eye(5)}, {"x": torch.ones(1)}):
        save_encoder(path, tiny_pair.encoder, roots | wrong, license="MIT", card={})
        with pytest.raises(WeightsError) as caught:
            load_saved_encoder(read_weights(path))
        assert caught.value.code == "SP310"
