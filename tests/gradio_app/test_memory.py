"""A page that runs for long does not grow."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from .attack import ask, config_of, functions_of, good_values, upload

pytestmark = pytest.mark.filterwarnings("ignore::styleplugin.StylePluginWarning")
GROWTH = 300e6
STATM = Path("/proc/self/statm")


def resident() -> int:
    """Return the bytes of this process in memory."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def growth(address: str, style: Path, side: int, count: int) -> int:
    """Return by how many bytes the process is larger after so many square pictures than after the first."""
    config = config_of(address)
    number = next(one["id"] for one in config["dependencies"] if one["api_name"] == "paint")
    inputs = dict(functions_of(config))[number]
    _, painting = upload(address, "style.jpg", style.read_bytes())
    first = 0
    for i in range(count):
        coarse = np.random.default_rng(i).integers(0, 256, (20, 20, 3), dtype=np.uint8)
        data = io.BytesIO()
        Image.fromarray(coarse).resize((side, side)).save(data, "JPEG")
        _, photo = upload(address, f"{i}.jpg", data.getvalue())
        values = good_values(inputs, photo)
        values[1] = {"path": painting}
        message = ask(address, number, values)
        assert message["success"], message["output"]
        first = first or resident()
    return resident() - first


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.skipif(not STATM.exists(), reason="cannot tell the memory in use here")
def test_the_memory_after_some_pictures_is_that_after_the_first(address, painting):
    assert growth(address, Path(painting), 400, 10) < GROWTH


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not STATM.exists(), reason="cannot tell the memory in use here")
def test_the_memory_after_100_megapixel_pictures_is_that_after_the_first(address, painting):
    assert growth(address, Path(painting), 1000, 100) < GROWTH
