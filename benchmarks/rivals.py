"""Systems that make pictures, loaded and run in one way for all benchmarks: ours, other people's, and none at all.

Ours are named as everywhere, `cd-wct.x16` or `file:PATH`, with options behind a question mark where they are not the
default ones: `cd-wct.x16?levels=5,4,3,2,1&grain=0`. Others have a name of `RIVALS`; their weights are read by
importers, and padded by reflection as their authors do.
"""

from __future__ import annotations

import hashlib
import sys
import types
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import color_transfers
import torch
import torch.nn.functional as F
from common import label, model_and_options
from evaluation.networks import TEACHERS
from microast import import_microast
from torch import Tensor

import styleplugin
from styleplugin.errors import StylePluginWarning
from styleplugin.loading.build import describe
from styleplugin.loading.convert.adain import import_adain
from styleplugin.loading.convert.collaborative_distillation import import_collaborative_distillation
from styleplugin.loading.convert.pca_distillation import import_pca_distillation
from styleplugin.methods.photorealistic.model import Backbone
from styleplugin.networks.model import StyleModel
from styleplugin.options import EngineOptions, StylizeOptions, default_of
from styleplugin.stylizer import Stylizer

UNCHANGED = "content, unchanged"
Paint = Callable[[Tensor, Tensor], Tensor]
"""Content and style, (1, 3, H, W) in [0, 1], to the stylized picture of the content's size."""


@dataclass(frozen=True)
class System:
    """Something that paints."""

    name: str
    identity: str
    """Of weights and options: where it is another one, old results do not count."""
    paint: Paint
    most_pairs: int | None = None
    """Of a slow system, how many pairs it is given."""
    is_ours: bool = False


def open_system(spec: str) -> System:
    """Return a rival of that name, or one of ours; see the head of this file."""
    if spec in RIVALS:
        return RIVALS[spec]()
    source, options = model_and_options(spec)
    stylizer, (_, _, query) = _load(source), spec.partition("?")
    name = label(source) + (f" {query}" if query else "")
    # Pictures that were painted with other defaults are not those of today.
    defaults = default_of(StylizeOptions, "levels") if stylizer.info.method == "wct" else ""
    return System(name, f"{stylizer.info.sha256} {query}{defaults}", _painter(stylizer, options), is_ours=True)


def _load(source: str) -> Stylizer:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", StylePluginWarning)  # files that are not in the list are the point here
        return styleplugin.load(source, device="cpu", allow_unknown_model=True)


def _painter(stylizer: Stylizer, options: Mapping[str, Any]) -> Paint:
    return lambda content, style: stylizer(content, style, **options).tensor


def _stylizer(model: StyleModel, name: str) -> Stylizer:
    return Stylizer(model, describe(model, name=name, license="", sha256=""), EngineOptions(device="cpu"))


def _content() -> System:
    return System(UNCHANGED, "", lambda content, _: content)


_PAPER = {"levels": (5, 4, 3, 2, 1), "grain": 0.0}
"""What WCT is in the paper and in its authors' program."""


def _cd_16x() -> System:
    file = TEACHERS / "cd_vgg19_16x_wct.safetensors"
    stylizer = _stylizer(import_collaborative_distillation(file)[0], "CD-16x")
    return System("released CD-16x", _sha256(file), _painter(stylizer, _PAPER | {"regularization": "official"}))


def _adain() -> System:
    file = TEACHERS / "adain_vgg19_q8.safetensors"
    stylizer = _stylizer(import_adain(file)[0], "AdaIN")
    return System("AdaIN's own pair", _sha256(file), _painter(stylizer, {"palette": "off"}))


def _microast() -> System:
    file = TEACHERS / "microast.safetensors"
    model = import_microast(file)

    def paint(content: Tensor, style: Tensor) -> Tensor:
        height, width = content.shape[2:]
        with torch.no_grad():
            output = model(F.pad(content, (0, -width % 4, 0, -height % 4), mode="reflect"), style)
        return output[..., :height, :width].clamp(0, 1)

    return System("released MicroAST", _sha256(file), paint)


def _pcakd(backbone: Backbone) -> System:
    file = TEACHERS / f"pcakd_{backbone}.safetensors"
    stylizer = _stylizer(import_pca_distillation(file, backbone)[0], f"PCA-KD {backbone}")
    return System(f"released PCA-KD {backbone}", _sha256(file), _painter(stylizer, {}))


def _optimization() -> System:
    def paint(content: Tensor, style: Tensor) -> Tensor:
        run = styleplugin.Optimization(content, style, device="cpu")
        for _ in run:
            pass
        return run.result().tensor

    # Its encoder is an embedded model, whose file decides what it paints.
    return System("optimization", _load("cd-wct.x16").info.sha256, paint, most_pairs=6)


def _colors(name: str, transfer: Callable) -> System:
    def paint(content: Tensor, style: Tensor) -> Tensor:
        pixels = [image[0].flatten(1).T.double().numpy() for image in (content, style)]
        result = torch.from_numpy(transfer(*pixels)).T.reshape(content.shape)
        return result.clamp(0, 1).float()

    return System(name, name, paint)


RIVALS: dict[str, Callable[[], System]] = {
    "content": _content,
    "cd-16x": _cd_16x,
    "adain": _adain,
    "microast": _microast,
    "optimization": _optimization,
    "pcakd-vgg": partial(_pcakd, "vgg"),
    "pcakd-mobilenet": partial(_pcakd, "mobilenet"),
    "mkl": partial(_colors, "MKL", color_transfers.mkl),
    "reinhard": partial(_colors, "Reinhard", color_transfers.reinhard),
    "histogram": partial(_colors, "histogram", color_transfers.histogram),
}


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


# The released programs themselves, from a clone: what speed is compared with.


def released_wct(clone: str) -> Paint:
    """Return the program of Collaborative Distillation; see `side_by_side.py` for what stands around it."""
    import torch.utils.serialization

    torch.utils.serialization.load_lua = None
    transforms = types.ModuleType("torchvision.transforms")
    sys.modules["torchvision"] = types.ModuleType("torchvision")
    sys.modules["torchvision"].transforms = transforms
    sys.modules["torchvision.transforms"] = transforms
    sys.path[:0] = [clone, str(Path(clone) / "PytorchWCT")]
    from util_wct import WCT

    levels = (5, 4, 3, 2, 1)
    models = Path(clone) / "trained_models"
    files = {f"e{k}": str(models / "wct_se_16x_new" / f"{k}SE.pth") for k in levels}
    files |= {f"d{k}": str(models / "wct_se_16x_new_sd" / f"{k}SD.pth") for k in levels}
    stdout, sys.stdout = sys.stdout, sys.stderr
    wct = WCT(types.SimpleNamespace(mode="16x", numpy=False, alpha=1.0, **files))
    sys.stdout = stdout

    def stylize(k: int, content: Tensor, style: Tensor) -> Tensor:
        encoder, decoder = getattr(wct, f"e{k}"), getattr(wct, f"d{k}")
        of_style, of_content = encoder(style), encoder(content)
        buffer = torch.empty_like(of_content)
        return decoder(wct.transform(of_content.squeeze(0), of_style.squeeze(0), buffer, 1.0))

    @torch.no_grad()
    def run(content: Tensor, style: Tensor) -> Tensor:
        for k in levels:
            content = stylize(k, content, style)
        return content

    return run


def imported_wct(clone: str, *, compact: bool) -> Paint:
    """Return the same students in this package."""
    return _painter(_stylizer(import_collaborative_distillation(clone, compact=compact)[0], "released"), _PAPER)


def released_microast(clone: str) -> Paint:
    """Return the networks of MicroAST's own program."""
    sys.path.insert(0, clone)
    import net_microAST

    parts = ("content_encoder", "style_encoder", "modulator", "decoder")
    networks = [net_microAST.Encoder(), net_microAST.Encoder(), net_microAST.Modulator(), net_microAST.Decoder()]
    for part, network in zip(parts, networks, strict=True):
        path = Path(clone) / "models" / f"{part}_iter_160000.pth.tar"
        network.load_state_dict(torch.load(path, weights_only=True))
    network = net_microAST.TestNet(*networks).eval()
    return torch.no_grad()(lambda content, style: network(content, style, 1.0))
