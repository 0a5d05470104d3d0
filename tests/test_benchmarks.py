"""The arithmetic of `benchmarks/quality.py`: which pairs, which comparison; the pictures are its own business."""

import hashlib
import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def load(name: str) -> ModuleType:
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)

    return load


def test_the_stronger_model_is_weakened_until_both_have_the_same_style(load):
    compare = load("compare")
    content = np.array([[0.4], [0.6], [0.8]]) + np.zeros((3, 5))
    strong = compare.Curve(content=content, style=np.array([[0.1], [0.2], [0.3]]) + np.zeros((3, 5)))
    weak = compare.Curve(content=content + 0.05, style=strong.style + 0.05)
    # At 0.15, halfway to 0.2, the strong one has 0.5 of content, the weak one 0.45.
    difference = compare.content_at_equal_style(strong, weak)
    assert (difference.value, difference.low, difference.high) == pytest.approx((0.05, 0.05, 0.05))
    # At 0.45 of content the strong one has come to 0.125, the weak one is at 0.15.
    assert compare.style_at_equal_content(strong, weak).value == pytest.approx(-0.025)
    assert compare.style_at_equal_content(weak, strong).value == pytest.approx(0.025)


def test_a_model_without_strengths_cannot_be_weakened(load):
    compare = load("compare")
    only = compare.Curve(content=np.full((1, 4), 0.5), style=np.full((1, 4), 0.1))
    weaker = compare.Curve(content=np.full((2, 4), 0.7), style=np.full((2, 4), 0.2))
    assert compare.content_at_equal_style(only, weaker) is None
    assert compare.content_at_equal_style(only, only).value == 0


def test_the_interval_holds_the_mean_and_narrows_with_more_pairs(load):
    compare = load("compare")
    random = np.random.default_rng(1)
    few, many = (random.normal(2, 1, size) for size in (10, 1000))
    intervals = [compare.interval(len(a), lambda drawn, a=a: float(a[drawn].mean())) for a in (few, many)]
    assert all(found.low < found.value < found.high for found in intervals)
    assert intervals[1].high - intervals[1].low == pytest.approx(4 * 1000**-0.5, rel=0.2)
    assert intervals[0].high - intervals[0].low > 4 * (intervals[1].high - intervals[1].low)


def test_validation_pairs_are_the_held_out_files_in_the_order_of_their_hashes(load, tmp_path: Path, monkeypatch):
    pairs = load("pairs")
    for kind in ("photos", "paintings"):
        (tmp_path / kind).mkdir()
        for i in range(120):
            Image.new("RGB", (32, 32), (i, 100 if kind == "photos" else 200, 0)).save(tmp_path / kind / f"{i}.png")
    sources = [f"--{kind}={tmp_path / kind}" for kind in ("photos", "paintings")]
    monkeypatch.setattr("sys.argv", ["pairs.py", str(tmp_path / "out"), *sources, "--count", "2"])
    pairs.main()
    hashes = {}
    for kind in ("photos", "paintings"):
        found = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / kind).iterdir())
        hashes[kind] = [sha256 for sha256 in found if sha256[0] == "0"]
    for kind, styles in (("artistic", hashes["paintings"]), ("photorealistic", hashes["photos"][2:])):
        read = pairs.read_pairs(tmp_path / "out", kind)
        assert [pair.name for pair in read] == [f"{kind} 00", f"{kind} 01"]
        for i, pair in enumerate(read):
            assert hashlib.sha256(pair.content.read_bytes()).hexdigest() == hashes["photos"][i]
            assert hashlib.sha256(pair.style.read_bytes()).hexdigest() == styles[i]


def test_photos_and_art_are_crossed_and_pairs_are_photorealistic(load, tmp_path: Path):
    pairs = load("pairs")
    for name in ("photos/a.jpg", "photos/b.jpg", "art/x.png", "pairs/00_content.jpg", "pairs/00_style.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    assert [pair.name for pair in pairs.read_pairs(tmp_path, "artistic")] == ["artistic a x x", "artistic b x x"]
    assert [pair.name for pair in pairs.read_pairs(tmp_path, "photorealistic")] == ["photorealistic 00"]


def test_figures_that_are_there_are_not_made_again(load, tmp_path: Path):
    quality = load("quality")
    ledger = quality.Ledger(tmp_path / "pictures.csv")
    assert ledger.find("model", 1.0) is None
    ledger.add("model", 1.0, **{"content SSIM": 0.5, "dead": None})
    again = quality.Ledger(tmp_path / "pictures.csv")
    assert again.find("model", 1.0) == {"content SSIM": 0.5, "dead": None}
    assert again.find("model", 0.8) is None
    with pytest.raises(SystemExit, match="other figures"):
        again.add("model", 0.8, **{"edge SSIM": 0.5})
