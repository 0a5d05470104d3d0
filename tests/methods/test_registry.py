"""A method is one folder and one record; a package of its own brings one without a change of ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from styleplugin.errors import UsageError
from styleplugin.methods import MethodSpec, default_models, find, names, register, registry, specs

ROOT = Path(__file__).parents[2]
TINT = ROOT / "tests" / "fakes" / "tint"


def test_the_records_name_what_there_is() -> None:
    assert names()[:5] == ("wct", "adain", "kbstyle", "photorealistic", "optimization")
    assert (names("levels"), names("looks"), names("iterative")) == (("wct",), ("photorealistic",), ("optimization",))
    for spec in specs():
        for name in filter(None, (spec.run, spec.method, *spec.architectures.values())):
            assert callable(registry.imported(name))
        assert bool(spec.default_model) == bool(spec.architectures) == bool(spec.method)
    assert default_models()["kbstyle"] == "kbstyle.200k"


def test_the_default_is_the_first_and_others_are_refused_by_name() -> None:
    assert find(None).name == "wct"
    for name in ("gan", "", "WCT", 7):
        with pytest.raises(
            UsageError, match=r"must be one of wct, adain, kbstyle, photorealistic, optimization"
        ) as bad:
            find(name)  # type: ignore[arg-type]
        assert bad.value.code == "SP102"


def test_a_program_registers_a_method_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_added", {})
    spec = replace(find("adain"), name="mine")
    register(spec)
    assert find("mine") is spec and names()[-1] == "mine"
    with pytest.raises(ValueError, match="mine is registered already"):
        register(MethodSpec(name="mine", title="", papers=()))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages in which the package `tint` is installed, with its weights, and one that is broken."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(TINT, folder / "tint", ignore=shutil.ignore_patterns("__pycache__"))
    for name, target in (("tint", "tint:SPEC"), ("broken", "broken:SPEC")):
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[styleplugin.methods]\n{name} = {target}\n")
    (folder / "tint" / "weights").mkdir()
    (folder / "tint" / "weights" / "index.json").write_text('{"models": []}')
    run_python(folder, "import tint.make_weights")
    return folder


def run_python(site: Path, code: str, *arguments: str) -> str:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, *arguments],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_package_brings_a_method_to_the_api_the_nodes_and_the_page(site: Path) -> None:
    code = """
import torch, styleplugin
from comfy_nodes.logic.styles import embedded_models
from gradio_app.events import PAINTERS, LOOKS
from gradio_app.models import models_of

content, style = torch.rand(1, 3, 40, 56), 0.2 + 0.3 * torch.rand(1, 3, 32, 32)
result = styleplugin.stylize(content, style, method="tint")
assert result.report.settings["model"] == "tint.linear"
light = [picture ** 2.2 for picture in (result.tensor, style)]
# What left the range was cut off.
for statistic in (torch.mean, torch.std):
    ours, wanted = (statistic(picture, dim=(2, 3)) for picture in light)
    assert torch.allclose(ours, wanted, atol=0.01), (ours, wanted)
tiled = styleplugin.stylize(content, style, model="tint.linear", tile=64, strength=0.5)
assert tiled.picture.size == (40, 56)
assert "tint.linear" in embedded_models()
assert "tint" in LOOKS and "tint" not in PAINTERS
assert [source for label, source in models_of("tint")] == ["tint.linear"]
print("all", *styleplugin.methods.names())
"""
    assert run_python(site, code).split() == ["all", *names(), "tint"]


@pytest.mark.slow
def test_a_package_brings_a_method_to_the_command(site: Path, tmp_path: Path) -> None:
    command = "import sys; from styleplugin.__main__ import main; sys.exit(main())"
    samples = ROOT / "styleplugin" / "samples"
    target = tmp_path / "out.png"
    pictures = (str(samples / "lake.jpg"), str(samples / "swirls.jpg"))
    run_python(site, command, "stylize", *pictures, "-o", str(target), "--method", "tint")
    assert target.stat().st_size > 10_000
    assert "tint.linear" in run_python(site, command, "models", "list")


def test_a_method_that_cannot_be_loaded_is_named_and_the_others_work(site: Path) -> None:
    code = """
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from styleplugin.methods import names
    assert names()[-1] == "tint"
print(*(note.message for note in caught))
"""
    assert "The method broken cannot be loaded: No module named 'broken'" in run_python(site, code)


def test_the_records_need_no_torch(site: Path) -> None:
    code = "import sys; from styleplugin.methods import specs; specs(); print('torch' in sys.modules)"
    assert run_python(site, code).strip() == "False"


def test_the_docs_show_the_package_as_it_is() -> None:
    text = (ROOT / "docs" / "adding-a-method.md").read_text()
    for path in sorted(TINT.glob("*.py")):
        assert f"```python\n{path.read_text()}```" in text, path.name
