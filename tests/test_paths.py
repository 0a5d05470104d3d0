"""Robustness rows D03 to D05: nothing that a run reads is destroyed, and nothing is replaced but by its own kind."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

import styleplugin
from styleplugin import paths
from styleplugin.errors import CheckpointError, OutputError
from styleplugin.files import check_target
from styleplugin.kinds import CHECKPOINT, JSON, PICTURE, RECIPE, STYLE, TABLE, WEIGHTS
from styleplugin.paths import Written, check_paths, paths_among

KINDS = {"picture": PICTURE, "json": JSON, "table": TABLE, "recipe": RECIPE, "weights": WEIGHTS, "style": STYLE,
         "checkpoint": CHECKPOINT}  # fmt: skip


def picture(path: Path, seed: int = 0) -> Path:
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(path)
    return path


def tensor_file(path: Path, metadata: dict) -> Path:
    path.write_bytes(safetensors.torch.save({"a": torch.ones(1)}, {"styleplugin": json.dumps(metadata)}))
    return path


@pytest.fixture
def of_each_kind(tmp_path: Path) -> dict[str, Path]:
    """A file of each kind, under names that say nothing."""
    files = {name: tmp_path / f"{name}.bin" for name in KINDS}
    Image.new("RGB", (2, 2)).save(files["picture"], "PNG")
    files["json"].write_text('{"a": 1}')
    files["table"].write_text('TITLE "x"\nLUT_3D_SIZE 2\n')
    files["recipe"].write_text('# a comment\nkind = "pair"\n')
    tensor_file(files["weights"], {"architecture": "vgg-pairs"})
    tensor_file(files["style"], {"kind": "style"})
    tensor_file(files["checkpoint"], {"architecture": "optimization-state"})
    return files


def refused(code: str, reads: list, writes: list[Written]) -> None:
    with pytest.raises(OutputError) as caught:
        check_paths(reads, writes)
    assert caught.value.code == code


def test_what_exists_is_replaced_by_its_own_kind_only(of_each_kind, tmp_path):
    for name, file in of_each_kind.items():
        for other, kind in KINDS.items():
            refused("SP602", [], [Written(file, kind)])
            if name == other:
                check_target(file, kind, overwrite=True)
            else:
                refused("SP608", [], [Written(file, kind, overwrite=True)])
    for content in (b"precious", b"\xff" * 99, b"[" * 99_999, b'"text"', b"BM is a name"):
        (tmp_path / "text").write_bytes(content)
        for kind in KINDS.values():
            refused("SP608", [], [Written(tmp_path / "text", kind, overwrite=True)])
    (tmp_path / "empty").touch()
    for kind in KINDS.values():
        check_target(tmp_path / "empty", kind, overwrite=True)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM"])
def test_every_format_is_a_picture(tmp_path, kind):
    Image.new("RGB", (3, 3)).save(tmp_path / "x", kind)
    assert PICTURE.may_replace(tmp_path / "x")


def test_D04_a_written_path_leads_to_nothing_that_is_read(tmp_path):
    content = picture(tmp_path / "x.png")
    (tmp_path / "soft.png").symlink_to(content)
    (tmp_path / "hard.png").hardlink_to(content)
    (tmp_path / "folder").mkdir()
    inside = picture(tmp_path / "folder" / "y.png")
    for path in (content, tmp_path / "folder" / ".." / "x.png", tmp_path / "soft.png", tmp_path / "hard.png"):
        refused("SP607", ["missing.png", content], [Written(path, PICTURE, overwrite=True)])
    refused("SP607", [tmp_path / "folder"], [Written(inside, PICTURE, overwrite=True)])
    check_paths([content, tmp_path / "folder"], [Written(tmp_path / "folder" / "new.png", PICTURE)])


def test_D04_two_written_paths_lead_to_two_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.png").symlink_to("out.png")
    for other in ("out.png", "./out.png", "link.png", "OUT.png"):
        refused("SP607", [], [Written("out.png", PICTURE, True), Written(other, JSON, True)])
    # Where one of two spellings exists alone, the disk tells them apart.
    picture(tmp_path / "out.png")
    if not Path("OUT.png").exists():
        check_paths([], [Written("out.png", PICTURE, True), Written("OUT.png", JSON, True)])


def test_D04_a_disk_that_tells_no_case_is_asked(tmp_path, monkeypatch):
    """Such a disk answers for both spellings with one file."""
    picture(tmp_path / "photo.png")
    same = os.path.samefile
    lower = lambda path: Path(path).with_name(Path(path).name.lower())  # noqa: E731
    monkeypatch.setattr(Path, "samefile", lambda a, b: same(lower(a), lower(b)))
    refused("SP607", [tmp_path / "photo.png"], [Written(tmp_path / "PHOTO.png", PICTURE, True)])


def test_a_dangling_link_is_replaced_only_if_asked(tmp_path):
    (tmp_path / "out.png").symlink_to(tmp_path / "nowhere")
    refused("SP602", [], [Written(tmp_path / "out.png", PICTURE)])
    check_target(tmp_path / "out.png", PICTURE, overwrite=True)


def test_paths_are_found_in_what_people_hand_in():
    style = styleplugin.StyleWeight(style="b.png", region=Path("c.png"))
    assert paths_among("a.png", [style, ("d.png", 0.5), np.zeros(1)], None) == (
        "a.png",
        "b.png",
        Path("c.png"),
        "d.png",
    )
    assert paths.source_paths("file:x.bin") == ("x.bin",) and paths.source_paths("x.safetensors") == ("x.safetensors",)
    assert paths.source_paths("X.SAFETENSORS") == ("X.SAFETENSORS",)
    assert paths.source_paths("cd-wct.x16") == paths.source_paths("hub:a/b@c/d.safetensors") == ()


def test_a_result_never_replaces_what_it_was_made_from(tmp_path, tiny_weights):
    content, style, mask = (picture(tmp_path / f"{name}.png", i) for i, name in enumerate(("c", "s", "m")))
    before = [path.read_bytes() for path in (content, style, mask)]
    options = {"model": f"file:{tiny_weights}", "allow_unknown_model": True, "device": "cpu", "levels": (1,)}
    with pytest.warns(styleplugin.StylePluginWarning):
        plain = styleplugin.stylize(content, style, mask=mask, **options)
        regions = [styleplugin.StyleWeight(style=style, region=mask)]
        placed = styleplugin.stylize(content, regions, **options)
    look = styleplugin.fit_look(content, style, size=2)
    for saved in (plain.save, placed.save, look.save, look.save_error_map):
        for path in (content, style, mask) if saved in (plain.save, placed.save) else (content, style):
            with pytest.raises(OutputError) as caught:
                saved(path, overwrite=True)
            assert caught.value.code == "SP607"
    assert [path.read_bytes() for path in (content, style, mask)] == before


@pytest.mark.weights
def test_a_checkpoint_gives_way_to_one_of_equal_inputs_and_options_only(tmp_path):
    content, style = picture(tmp_path / "c.png", 0), picture(tmp_path / "s.png", 1)
    state = tmp_path / "state.safetensors"

    def run(**options):
        options = {"steps": 2, "scales": 1, "start": "content", "device": "cpu", "checkpoint": state} | options
        return styleplugin.Optimization(content, style, **options)

    for path in (content, style):
        with pytest.raises(OutputError, match="which this run reads"):
            run(checkpoint=path, overwrite=True)
    list(run())
    before = state.read_bytes()
    with pytest.raises(OutputError) as caught:
        run()
    assert caught.value.code == "SP602"
    with pytest.raises(CheckpointError) as other:
        run(overwrite=True, steps=3)
    assert other.value.code == "SP801" and state.read_bytes() == before
    with pytest.raises(OutputError) as caught:
        run(checkpoint=picture(tmp_path / "p.safetensors.png"), overwrite=True)
    assert caught.value.code == "SP608"
    list(run(overwrite=True))
    list(run(resume=True))
