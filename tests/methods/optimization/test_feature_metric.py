"""The metrics of an encoder, solved for by least squares."""

import json

import pytest
import torch

from styleplugin.errors import UsageError, WeightsError
from styleplugin.loading import index
from styleplugin.loading.encoders import load_encoder
from styleplugin.methods.optimization.train.feature_metric import MetricRecipe
from styleplugin.networks.model import pairing_id
from styleplugin.networks.vgg import Encoder, VGGSpec
from styleplugin.tensorfile import read_weights
from styleplugin.train import run
from styleplugin.train.data.pictures import load_pictures
from styleplugin.train.networks.teachers import RARE
from styleplugin.train.recipe.options import TeacherOptions
from styleplugin.train.recipe.toml import read_recipe


@pytest.fixture(scope="module")
def recipe(data_options, vgg_file) -> MetricRecipe:
    return MetricRecipe(
        name="tiny",
        encoder=f"file:{vgg_file}",
        pictures=12,
        data=data_options,
        teacher=TeacherOptions(source=f"file:{vgg_file}"),
        license="MIT",
    )


def test_the_teachers_own_features_are_embedded_by_their_scale(recipe, tmp_path):
    rows = []
    weights = read_weights(run(recipe, tmp_path / "run", on_event=rows.append, device="cpu"))
    unexplained = weights.metadata["card"]["metrics"]["unexplained"]
    assert set(unexplained) == {f"level{k}" for k in range(1, 5)} and max(unexplained.values()) < 1e-3
    assert any(row.get("event") == "evaluated" for row in rows)
    # The loss network is the same network with every channel brought to mean 1 on the training photographs; those that
    # hardly open there are scaled as if they had a quarter of their layer's mean.
    photos = load_pictures(recipe.data.photos, short_side=40, smallest=32)[0].center_crops(32, 12)
    with torch.no_grad():
        features = load_encoder(recipe.encoder).encoder.features(photos)
    for k, feature in enumerate(features, 1):
        mean = feature.mean((0, 2, 3))
        used, root = mean > 0.1 * mean.mean(), weights.tensors[f"level{k}.root"]
        assert used.sum() > 2 and torch.equal(root, root.T)
        scale = mean.clamp_min(RARE * mean.mean())
        torch.testing.assert_close(root.diagonal()[used], 1 / scale[used], rtol=0.02, atol=0)


def test_metrics_are_listed_and_found_by_their_encoder(recipe, tmp_path, monkeypatch):
    torch.manual_seed(0)
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "index.json").write_text('{"models": []}')
    monkeypatch.setattr(index, "weights_folder", lambda where=None: folder)
    found = run(recipe, tmp_path / "run", device="cpu")
    encoder = load_encoder(recipe.encoder).encoder
    assert index.metrics_of(encoder) is None
    entry = index.add_to_index(found, "tiny")
    assert entry.encoder == pairing_id(encoder) and entry.file == "tiny.metrics.safetensors"
    assert index.list_models() == []
    metrics = index.metrics_of(encoder)
    assert metrics is not None and torch.equal(metrics["level2.root"], read_weights(found).tensors["level2.root"])
    assert index.metrics_of(Encoder(VGGSpec(level=1, widths=(8,)))) is None
    listed = json.loads((folder / "index.json").read_text())
    index.add_to_index(found, "tiny")
    assert json.loads((folder / "index.json").read_text()) == listed
    # Those of an encoder that was there before had the same file.
    (folder / "index.json").write_text(json.dumps(listed).replace(entry.encoder, "0" * 16))
    index.add_to_index(found, "tiny")
    assert json.loads((folder / "index.json").read_text()) == listed
    data = bytearray((folder / entry.file).read_bytes())
    data[-1] ^= 1
    (folder / entry.file).write_bytes(data)
    with pytest.raises(WeightsError) as raised:
        index.metrics_of(encoder)
    assert raised.value.code == "SP313"
    (folder / entry.file).unlink()
    with pytest.raises(WeightsError) as raised:
        index.metrics_of(encoder)
    assert raised.value.code == "SP316"


def test_the_recipe_is_checked(tmp_path):
    path = tmp_path / "metrics.toml"
    path.write_text('kind = "metrics"\nname = "a"\nencoder = "cd-wct.x16"\npictures = 0\n')
    with pytest.raises(UsageError) as raised:
        read_recipe(path)
    assert raised.value.code == "SP124"


@pytest.mark.weights
def test_the_default_encoder_has_metrics():
    loaded = load_encoder("cd-wct.x16")
    assert loaded.roots is not None and [len(root) for root in loaded.roots] == [16, 32, 64, 128, 128]
