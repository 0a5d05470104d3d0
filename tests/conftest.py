"""Fixtures of the whole suite: tiny random networks, and the shared pictures and teachers where they are."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fakes.stylizers import adain, stylizer, wct
from torch import nn

from styleplugin.loading.build import save_model
from styleplugin.methods.kbstyle.model import KBModel, KBSpec
from styleplugin.methods.photorealistic.model import Backbone, PhotoModel, PhotoSpec
from styleplugin.networks.layers import Conv1x1, Conv3x3
from styleplugin.networks.pairs import Pair, PairModel, PairSpec
from styleplugin.networks.vgg import VGGSpec, convs_of_level

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"

__all__ = ["adain", "stylizer", "wct"]


class _PlainRoot:
    """Keeps pytest from importing the nodes' entry point, which a clone whose name is no identifier forbids."""

    def pytest_collect_directory(self, path: Path, parent: pytest.Collector) -> pytest.Dir | None:
        return pytest.Dir.from_parent(parent, path=path) if path == ROOT else None


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_PlainRoot())


def _make_pair(level: int, *, seed: int = 0, final_relu: bool = True) -> Pair:
    """Build a random pair of widths 4 to 8 whose features neither vanish nor explode."""
    widths = tuple(4 + index % 5 for index in range(len(convs_of_level(level))))
    spec = VGGSpec(level=level, widths=widths, final_relu=final_relu)
    pair = Pair(PairSpec(encoder=spec, decoder=spec))
    generator = torch.Generator().manual_seed(seed)
    pair.eval().requires_grad_(False)
    for conv in pair.modules():
        if isinstance(conv, Conv3x3):
            # Pictures enter the first layer in [-124, 151]; it brings them near 1.
            gain = 1 / 64 if conv is pair.encoder.get_submodule("conv1_1") else 1
            conv.weight.normal_(0, gain * (2 / (9 * conv.in_channels)) ** 0.5, generator=generator)
            conv.get_parameter("bias").uniform_(0, 0.1, generator=generator)
    return pair


@pytest.fixture(scope="session")
def make_pair() -> Callable[..., Pair]:
    """The function that builds random pairs: level, and `seed=`, `final_relu=`."""
    return _make_pair


@pytest.fixture(scope="session")
def kb_model() -> KBModel:
    """A random KBStyle model, with modulators that do something."""
    model = KBModel(KBSpec(widths=(4, 5, 6), blocks=2))
    generator = torch.Generator().manual_seed(0)
    for part in model.modules():
        if isinstance(part, (nn.Conv2d, nn.Linear)):
            part.weight.data.normal_(0, (1 / part.weight[0].numel()) ** 0.5, generator=generator)
            part.bias.data.uniform_(0, 0.1, generator=generator)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def make_photo_model() -> Callable[..., PhotoModel]:
    """The function that builds random photorealistic students: backbone."""

    def make(backbone: Backbone) -> PhotoModel:
        model = PhotoModel(PhotoSpec(backbone=backbone, widths=(4, 5, 6, 7)))
        generator = torch.Generator().manual_seed(0)
        for conv in model.modules():
            if isinstance(conv, (Conv3x3, Conv1x1)):
                conv.weight.data.normal_(0, (2 / conv.weight[0].numel()) ** 0.5, generator=generator)
                conv.get_parameter("bias").data.uniform_(0, 0.1, generator=generator)
        return model.eval().requires_grad_(False)

    return make


@pytest.fixture
def tiny_pair() -> Pair:
    """A random level-3 pair."""
    return _make_pair(3)


@pytest.fixture
def tiny_model() -> PairModel:
    """A random WCT model of the levels 1 to 3."""
    return PairModel("wct", [_make_pair(level, seed=level) for level in (1, 2, 3)])


@pytest.fixture
def tiny_weights(tmp_path: Path, tiny_model: PairModel) -> Path:
    """The file of `tiny_model`."""
    path = tmp_path / "tiny.safetensors"
    save_model(path, tiny_model, license="MIT", card={"metrics": {"psnr": 12.5}})
    return path


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree, built as a release is: from the source distribution."""
    pytest.importorskip("build", reason="needs the package build")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of shared pictures and teachers; the test is skipped where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the shared data in {SHARED}")
    return SHARED
