"""Stylizers of tiny random models, and pictures for them."""

import numpy as np
import pytest
from PIL import Image

import styleplugin
from styleplugin.loading.build import describe
from styleplugin.networks.pairs import PairModel
from styleplugin.options import EngineOptions
from styleplugin.stylizer import Stylizer


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A smooth picture with some noise, uint8."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    return np.clip(smooth + rng.integers(-20, 21, smooth.shape), 0, 255).astype(np.uint8)


def stylizer_of(model: PairModel, name: str = "tiny", **options) -> Stylizer:
    info = describe(model, name=name, license="MIT", sha256="0" * 64)
    return Stylizer(model, info, EngineOptions(device="cpu", **options))


@pytest.fixture(scope="module")
def wct(make_pair) -> Stylizer:
    return stylizer_of(PairModel("wct", [make_pair(level, seed=level) for level in (1, 2, 3)]))


@pytest.fixture(scope="module")
def adain(make_pair) -> Stylizer:
    return stylizer_of(PairModel("adain", [make_pair(4, final_relu=False)]), "tiny-adain")


@pytest.fixture(params=["wct", "adain"])
def stylizer(request, wct, adain) -> Stylizer:
    return {"wct": wct, "adain": adain}[request.param]


CONTENT, STYLE, OTHER = picture(70, 90), picture(50, 60, 1), picture(40, 64, 2)


LEVELS = {"levels": (3, 2, 1)}


def bytes_of(result: styleplugin.Result) -> np.ndarray:
    return np.asarray(result.image)
