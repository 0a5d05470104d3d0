import asyncio
import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from comfy_nodes.logic.interface import MODEL_SUFFIX, STYLE_SUFFIX, StyleModel, has_suffix
from comfy_nodes.logic.styles import embedded_models
from styleplugin.loading.build import describe
from styleplugin.networks.pairs import PairModel


class Interrupted(BaseException):
    """What a host raises when the user presses Cancel."""


class PlainHost:
    """Bare torch as a host. It notes what is asked of it, and can refuse memory or stop a run."""

    def __init__(self, folder: Path, node_id: str | None = None) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.shares: list[float] = []
        self.previews: list[Any] = []
        self.prepared: list[int] = []
        self.emptied = self.asked = 0
        self.failures = 0
        """How many times `prepare` runs out of memory."""
        self.stop_at: int | None = None
        """The call of `check_interrupt` that raises."""
        self.dtype = torch.float32

    def device(self):
        return torch.device("cpu")

    def output_device(self):
        return torch.device("cpu")

    def output_dtype(self):
        return self.dtype

    def prepare(self, model, activation_bytes):
        if self.failures:
            self.failures -= 1
            raise torch.OutOfMemoryError("Allocation on device")
        self.prepared.append(activation_bytes)

    def progress(self):
        return self

    def make_room(self, activation_bytes):
        self.prepared.append(activation_bytes)

    def update(self, share, preview=None):
        self.shares.append(share)
        if preview is not None:
            self.previews.append(preview)

    def check_interrupt(self):
        self.asked += 1
        if self.asked - 1 == self.stop_at:
            raise Interrupted

    def say(self, text):
        self.said.append(text)

    def is_oom(self, error):
        return isinstance(error, torch.OutOfMemoryError)

    def empty_cache(self):
        self.emptied += 1

    def files(self, suffix):
        names = sorted(path.name for path in self.folder.iterdir() if has_suffix(path.name, suffix))
        if suffix != MODEL_SUFFIX:
            return names
        return [*embedded_models(), *(name for name in names if not has_suffix(name, STYLE_SUFFIX))]

    def path(self, name):
        return self.folder / name

    def input_folder(self):
        return self.folder / "input"

    def runs_folder(self):
        return self.folder / "style_training"

    def models_folder(self):
        return self.folder / "models"

    def fingerprint(self, name):
        path = self.folder / name
        return path.stat().st_mtime_ns if path.exists() else None

    def save_path(self, prefix, suffix):
        return self.folder / f"{Path(prefix).name}_00001_{suffix}"


@pytest.fixture
def host(tmp_path) -> PlainHost:
    return PlainHost(tmp_path)


@pytest.fixture
def nodes(tmp_path, monkeypatch) -> ModuleType:
    """The module of the nodes, declared against the stand-in, its host in `nodes.ComfyHost`."""
    spec = importlib.util.spec_from_file_location("stand_in", Path(__file__).parent / "stand_in.py")
    stand_in = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "stand_in", stand_in)
    spec.loader.exec_module(stand_in)
    hosts = {}

    def make(node_id=None):
        return hosts.setdefault("host", PlainHost(tmp_path))

    for name, module in stand_in.modules(make, lambda: None).items():
        monkeypatch.setitem(sys.modules, name, module)
    for name in stand_in.NODES:
        monkeypatch.delitem(sys.modules, name)
    module = importlib.import_module("comfy_nodes.nodes")
    module.stand_in, module.the_host = stand_in, make()
    listed = asyncio.run(module.StylePluginExtension().get_node_list())
    module.by_id = {node.define_schema().node_id: node for node in listed}
    yield module
    stand_in.forget()


@pytest.fixture(scope="session")
def models(make_pair, make_photo_model) -> dict[str, StyleModel]:
    """Tiny untrained models of each method."""
    modules = {
        "wct": PairModel("wct", [make_pair(level, seed=level) for level in (1, 2, 3)]),
        "adain": PairModel("adain", [make_pair(4, final_relu=False)]),
        "photorealistic": make_photo_model("vgg"),
    }
    return {
        name: StyleModel(describe(module, name=f"tiny-{name}", license="MIT", sha256="0" * 64), module)
        for name, module in modules.items()
    }


@pytest.fixture(params=["wct", "adain", "photorealistic"])
def model(request, models) -> StyleModel:
    return models[request.param]
