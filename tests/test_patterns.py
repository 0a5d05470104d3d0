"""Patterns drawn by a script: licensed, the same every time, of all kinds, in colors of the artworks."""

from __future__ import annotations

import io
import tarfile
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts import draw_patterns, list_sources
from scripts.patterns.palettes import COLORS, Palette, palette_of
from scripts.patterns.scenes import SIDE
from styleplugin.errors import UsageError
from styleplugin.train.data.sources import read_files

COUNT = len(draw_patterns.KINDS)
PALETTE = Palette(
    np.array([(24, 22, 40), (60, 90, 120), (190, 60, 40), (90, 140, 90), (230, 180, 80), (245, 240, 220)], float)
)


@pytest.fixture(scope="session")
def artworks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A colored and a gray artwork with an open license, and a green one without, for whose colors nobody may ask."""
    folder = tmp_path_factory.mktemp("artworks")
    rows = ["tar,file,kind,license,sha256"]
    with tarfile.open(folder / "paintings-000.tar", "w") as archive:
        for k, (colors, license) in enumerate([(PALETTE.colors, "CC0-1.0"), (GRAYS, "CC0-1.0"), (GREENS, "")]):
            member, data = tarfile.TarInfo(f"{k}.png"), _striped(colors)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
            rows.append(f"paintings-000.tar,{k}.png,painting,{license},f{k:063}")
    (folder / "index.csv").write_text("\n".join(rows))
    return folder


GRAYS = np.repeat(np.linspace(10, 250, COLORS)[:, None], 3, axis=1)
GREENS = GRAYS * (0.2, 1, 0.2)


def _striped(colors: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.repeat(np.repeat(colors[None], 8, axis=1), 48, axis=0).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def drawn(artworks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pattern of each kind."""
    out = tmp_path_factory.mktemp("drawn") / "patterns"
    draw_patterns.draw_patterns(artworks, out, count=COUNT)
    return out


def test_patterns_are_the_same_every_time(artworks: Path, drawn: Path, tmp_path: Path):
    draw_patterns.draw_patterns(artworks, tmp_path / "again", count=COUNT)
    for name in (draw_patterns.TAR, "index.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (drawn / name).read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["again"]


def test_patterns_are_there_already_where_another_process_was_quicker(artworks: Path, tmp_path: Path):
    (tmp_path / "patterns").mkdir()
    draw_patterns.draw_patterns(artworks, tmp_path / "patterns", count=1)
    assert not any((tmp_path / "patterns").iterdir()) and [path.name for path in tmp_path.iterdir()] == ["patterns"]


def test_patterns_are_licensed_styles_of_all_kinds(drawn: Path):
    files = list(read_files(drawn))
    assert all(file.is_open and file.is_pattern and not file.is_content for file in files)
    assert [file.row["subject_or_technique"] for file in files] == list(draw_patterns.KINDS)
    assert {file.row["author"] for file in files} == {"drawn by scripts/draw_patterns.py"}
    for file in files:
        with Image.open(io.BytesIO(file.data)) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (SIDE, SIDE))


def test_palettes_come_from_artworks_with_open_licenses_alone(artworks: Path):
    found = {palette.colors.astype(int).tobytes() for palette in draw_patterns.palettes_of(artworks, 0)}
    by_luminance = PALETTE.colors[np.argsort(PALETTE.colors @ (0.299, 0.587, 0.114))]
    assert found == {colors.astype(int).tobytes() for colors in (by_luminance, np.floor(GRAYS))}


def test_artworks_without_a_license_give_no_palette(tmp_path: Path):
    (tmp_path / "mine.png").write_bytes(_striped(PALETTE.colors))
    with pytest.raises(UsageError) as caught:
        draw_patterns.draw_patterns(tmp_path, tmp_path / "out")
    assert caught.value.code == "SP131" and not (tmp_path / "out").exists()


def test_a_palette_holds_colors_of_its_picture():
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    palette = palette_of(pixels)
    there = {tuple(pixel) for pixel in pixels.reshape(-1, 3).tolist()}
    assert {tuple(color) for color in palette.colors.astype(int).tolist()} <= there
    assert (np.diff(palette.colors @ (0.299, 0.587, 0.114)) >= 0).all() and palette.is_usable


WAYS = [way for ways in draw_patterns.KINDS.values() for way in ways]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_every_technique_draws_in_its_palette(way):
    pixels = way(np.random.default_rng(1), PALETTE)
    assert pixels.shape == (SIDE, SIDE, 3) and np.isfinite(pixels).all()
    assert pixels.std() > 10, "it is a blank sheet"
    # Mixed, lit and on paper, but no color that the palette has nothing of: none is violet here.
    red, green, blue = pixels.mean(axis=(0, 1))
    assert green > 0.85 * min(red, blue)


def test_kinds_differ_from_each_other(drawn: Path):
    small = [np.asarray(Image.open(io.BytesIO(file.data)).resize((32, 32)), float) for file in read_files(drawn)]
    assert all(np.abs(a - b).mean() > 8 for a, b in combinations(small, 2))


def test_the_list_of_sources_names_all_patterns_in_one_row():
    row = list_sources.PATTERNS
    assert set(row) <= set(list_sources.COLUMNS) and row["title"].startswith(f"{draw_patterns.COUNT} patterns")
    assert row.items() >= draw_patterns.ORIGIN.items()
