"""What `benchmarks/quality.py` is made of: systems by name, what is kept, tables and sheets."""

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
FLAT = ("color_transfers", "common", "evaluation", "judged", "microast", "quality", "rivals", "sheet")


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    """The function that imports a benchmark as its script does, beside its neighbors."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = dict(sys.modules)

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield load
    for name in sys.modules.keys() - before.keys():
        if name.split(".")[0] in FLAT:
            del sys.modules[name]


@pytest.fixture
def pixels() -> tuple[np.ndarray, np.ndarray]:
    """Colors of two pictures, (P, 3) and (Q, 3), correlated."""
    random = np.random.default_rng(0)
    mixes = [[[0.1, 0.05, 0], [0, 0.1, 0.02], [0.03, 0, 0.1]], [[0.05, 0, 0.02], [0.05, 0.08, 0], [0, 0, 0.15]]]
    content, style = (
        0.5 + random.standard_normal((count, 3)).clip(-2, 2) @ mix for count, mix in zip((500, 400), mixes, strict=True)
    )
    return content, style


def test_mkl_gives_mean_and_covariance_and_moves_no_more_than_needed(load, pixels):
    content, style = pixels
    moved = load("color_transfers").mkl(content, style)
    assert moved.mean(0) == pytest.approx(style.mean(0))
    assert np.cov(moved.T, bias=True) == pytest.approx(np.cov(style.T, bias=True), abs=1e-5)
    # The optimal map is symmetric.
    matrix = np.linalg.lstsq(content - content.mean(0), moved - moved.mean(0), rcond=None)[0]
    assert matrix == pytest.approx(matrix.T, abs=1e-6)


def test_reinhard_and_histogram_give_a_picture_its_own_colors_back_and_take_the_styles(load, pixels):
    transfers = load("color_transfers")
    content, style = pixels
    for transfer in (transfers.reinhard, transfers.histogram, transfers.mkl):
        assert transfer(content, content) == pytest.approx(content, abs=0.003), transfer
        assert transfer(content, style).mean(0) == pytest.approx(style.mean(0), abs=0.02), transfer
    moved = transfers.histogram(content, style)
    assert np.quantile(moved, (0.1, 0.5, 0.9), axis=0) == pytest.approx(
        np.quantile(style, (0.1, 0.5, 0.9), axis=0), abs=0.02
    )


@pytest.mark.weights
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::styleplugin.errors.StylePluginWarning")
def test_systems_are_opened_by_name_with_options(load):
    rivals = load("rivals")
    content, style = torch.rand(1, 3, 64, 80), torch.rand(1, 3, 96, 96)
    whole, shallow = (rivals.open_system(f"cd-wct.x16{query}") for query in ("", "?levels=2,1&strength=0.5"))
    assert (whole.name, shallow.name) == ("cd-wct.x16", "cd-wct.x16 levels=2,1&strength=0.5")
    assert whole.identity != shallow.identity and whole.is_ours
    stylizer = rivals._load("cd-wct.x16")
    expected = stylizer(content, style, levels=(2, 1), strength=0.5).tensor
    assert torch.equal(shallow.paint(content, style), expected)
    assert rivals.open_system("content").paint(content, style) is content


@pytest.mark.shared
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::styleplugin.errors.StylePluginWarning")
def test_every_rival_paints_a_picture_of_the_contents_size(load, shared_data):
    rivals = load("rivals")
    content, style = torch.rand(1, 3, 70, 83), torch.rand(1, 3, 66, 75)
    for name in rivals.RIVALS.keys() - {"optimization"}:
        system = rivals.open_system(name)
        output = system.paint(content, style)
        assert output.shape == content.shape, name
        assert not system.is_ours and (torch.equal(output, content) == (name == "content")), name


class _Evaluator:
    """Judges in no time, and counts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, content: Tensor, style: Tensor, output: Tensor) -> dict[str, float]:
        self.count += 1
        return {"e_style": float(output.mean()), "weave": 1.5}

    def distances(self, content: Tensor, style: Tensor, output: Tensor) -> dict[str, float]:
        return {"e_style": float(output.mean()), "e_content": float((output - content).abs().mean())}


@pytest.fixture
def painted(load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Two systems' results of two pairs, what judges, and the function that makes them again."""
    judged, rivals = load("judged"), load("rivals")
    evaluation = load("evaluation")
    monkeypatch.setattr(judged, "RESULTS", tmp_path)
    chosen = []
    for i, value in enumerate((64, 128)):
        Image.new("RGB", (72, 66), (value, value, value)).save(tmp_path / f"{i}.png")
        chosen.append(evaluation.Pair(i, tmp_path / f"{i}.png", tmp_path / "0.png"))
    evaluator = _Evaluator()
    systems = [
        rivals.System("bright", "1", lambda content, _: content + 0.2, is_ours=True),
        rivals.System("dark", "1", lambda content, _: content - 0.1, most_pairs=1),
    ]
    run = lambda kind="artistic", **changes: {  # noqa: E731
        system.name: judged.judge(rivals.System(**{**vars(system), **changes}), chosen, kind, evaluator)
        for system in systems
    }
    return chosen, systems, evaluator, run


def test_what_is_there_is_not_made_again(painted, tmp_path: Path):
    _, _, evaluator, run = painted
    results = run()
    assert evaluator.count == 3
    assert {name: list(own) for name, own in results.items()} == {"bright": [0, 1], "dark": [0]}
    assert run() == results and evaluator.count == 3
    run(identity="2")
    assert evaluator.count == 6
    assert "halo" in run("photo")["bright"][0].figures
    ledger = next(tmp_path.glob("quality/artistic/bright-*/figures.json"))
    assert list(json.loads(ledger.read_text())) == ["0", "1"]


def test_tables_show_means_and_differences_over_common_pairs(load, painted):
    quality = load("quality")
    _, systems, _, run = painted
    results = run()
    quality.FIGURES = ("e_style", "weave")
    figures = quality.figure_table(results).splitlines()
    assert figures[2].startswith("| bright | 0.576 ± ")
    assert figures[3] == "| dark (1 pairs) | 0.151 ± 0.000 | 1.50 ± 0.00 |"
    comparison = quality.comparison_table(systems, results).splitlines()
    assert len(comparison) == 3
    assert comparison[2].startswith("| bright | dark | **+0.300 [+0.300, +0.300]** | +0.00 [+0.00, +0.00] | ")


def test_sheets_hold_the_pairs_that_all_systems_have(load, painted, tmp_path: Path):
    quality = load("quality")
    chosen, _, _, run = painted
    for one_to_one in (False, True):
        quality.draw(tmp_path / "sheet.png", chosen, run(), None, one_to_one=one_to_one)
        with Image.open(tmp_path / "sheet.png") as sheet:
            assert sheet.size == (4 * 388 - 4, 18 + 260 - 4)
