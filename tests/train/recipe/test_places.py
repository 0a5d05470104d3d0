"""A run's folder: it destroys neither what the run reads nor what something else has left there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from styleplugin.errors import OutputError
from styleplugin.train import Recipe, bundle, run


def refused(recipe: Recipe, out: Path) -> str:
    before = sorted(out.iterdir())
    with pytest.raises(OutputError) as caught:
        run(recipe, out, device="cpu")
    assert sorted(out.iterdir()) == before
    return caught.value.code


def test_a_run_never_writes_where_it_reads(recipe: Recipe, vgg_file: Path, tmp_path: Path) -> None:
    inside = tmp_path / "pictures" / "run"
    inside.mkdir(parents=True)
    for folder in (inside.parent, inside):
        for name in ("photos", "paintings"):
            for place in (str(inside.parent), f"{tmp_path}/pict*", (str(vgg_file.parent), str(inside.parent))):
                assert refused(replace(recipe, data=replace(recipe.data, **{name: place})), folder) == "SP607"
    (tmp_path / "link").symlink_to(vgg_file.parent)
    assert refused(recipe, tmp_path / "link") == "SP607"


@pytest.mark.parametrize("name", ["loss.png", "pair.safetensors", "best.safetensors", "log.jsonl", "sheets"])
def test_a_run_replaces_no_file_of_something_else(recipe: Recipe, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"mine")
    (tmp_path / "mine.toml").touch()
    assert refused(recipe, tmp_path) == "SP602"
    assert (tmp_path / name).read_bytes() == b"mine"


def test_a_bundle_never_replaces_its_parts(tiny_weights: Path, tmp_path: Path) -> None:
    for overwrite in (False, True):
        with pytest.raises(OutputError) as caught:
            bundle([tiny_weights], tmp_path / "x" / ".." / tiny_weights.name, "MIT", overwrite=overwrite)
        assert caught.value.code in ("SP601", "SP607")
    with pytest.raises(OutputError, match="which this run reads"):
        bundle([tiny_weights], tiny_weights, "MIT", overwrite=True)
