import pytest
import torch

from styleplugin.engine.gradient_plan import GradientPlan, make_gradient_plan
from styleplugin.errors import ResourceError
from styleplugin.options import MIN_TILE, EngineOptions

CPU = torch.device("cpu")


def plan(size: tuple[int, int], history: tuple[int, int] = (2, 10), **options) -> GradientPlan:
    return make_gradient_plan(size, CPU, EngineOptions(**options), halo=96, bytes_per_pixel=500, history=history)


def test_M01_less_memory_means_smaller_tiles_and_fewer_steps_remembered():
    # 500 bytes for each pixel of the picture, of (256 + 2 * 96)^2, of (128 + 2 * 96)^2, ...; at most half of the limit.
    assert [plan((600, 600), memory_limit_mb=limit).tile for limit in (400, 300, 150, 90)] == [512, 256, 128, 64]
    picture = 12 * 2000 * 2000
    few = plan((2000, 2000), memory_limit_mb=1000)
    assert few.history == ((1000 << 20) - (500 * 704**2)) // picture - 10 < 10
    assert few.bytes == (500 * 704**2) + (10 + few.history) * picture
    assert plan((2000, 2000), memory_limit_mb=4000).history == 10


def test_a_picture_smaller_than_a_tile_counts_itself_only():
    assert plan((100, 200), memory_limit_mb=1000).bytes == 500 * 100 * 200 + 20 * 12 * 100 * 200
    assert plan((100, 200), memory_limit_mb=1000, tile="whole").tile == 0


def test_M03_what_cannot_fit_is_refused_before_work_starts():
    with pytest.raises(ResourceError, match="`optimizer=adam`") as caught:
        plan((2000, 2000), memory_limit_mb=500)
    assert caught.value.code == "SP503"


def test_tiles_are_halved_down_to_the_smallest():
    tiles, now = [], plan((800, 800), memory_limit_mb=2000, tile="whole")
    while (now := now.halved()) is not None:
        tiles.append(now.tile)
    assert tiles == [512, 256, 128, MIN_TILE]
