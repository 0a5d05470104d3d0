import pytest
import torch

from styleplugin.engine.device import pick_device
from styleplugin.engine.plan import WHOLE, Plan, make_plan
from styleplugin.errors import ResourceError, UsageError
from styleplugin.options import MIN_TILE, EngineOptions

CPU = torch.device("cpu")


def test_M01_less_memory_means_less_kept_and_then_smaller_tiles():
    plans = [make_plan((2048, 2048), CPU, EngineOptions(memory_limit_mb=limit)) for limit in (1000, 270, 225)]
    assert [plan.keep_floats for plan in plans] == [12, 4, 4]
    assert plans[0].tile == plans[1].tile > plans[2].tile >= MIN_TILE
    assert all(plan.bytes <= limit << 20 for plan, limit in zip(plans, (1000, 270, 225), strict=True))


def test_kept_maps_of_huge_pictures_and_many_frames_stay_small():
    huge, one, many = (
        make_plan(size, CPU, EngineOptions(), frames=frames, budget=1 << 40)
        for size, frames in (((6400, 6500), 1), ((1024, 1024), 1), ((1024, 1024), 64))
    )
    assert one.keep_floats == 12
    assert huge.keep_floats * 6400 * 6500 * 4 <= 512 << 20
    assert many.keep_floats * 1024 * 1024 * 64 * 4 <= 512 << 20
    assert huge.bytes < 2.2e9
    assert many.bytes > 40 * one.bytes / 10


def test_M03_a_picture_that_cannot_fit_is_refused_before_work_starts():
    with pytest.raises(ResourceError, match=r"needs about .* MB, but 100 MB are planned for"):
        make_plan((4096, 4096), CPU, EngineOptions(memory_limit_mb=100))
    with pytest.raises(ResourceError, match="needs about"):
        make_plan((4096, 4096), CPU, EngineOptions(memory_limit_mb=1000, tile="whole"))


def test_tiles_are_as_asked_and_hold_the_same_memory_at_any_width():
    assert make_plan((600, 600), CPU, EngineOptions(tile="whole")).tile == WHOLE
    plan = make_plan((600, 600), CPU, EngineOptions(tile="512"))
    assert plan.side(16) == 512
    assert plan.side(64) == 256
    assert plan.halved() == Plan(CPU, 256, 4.0, plan.bytes)
    assert Plan(CPU, WHOLE, 0.0).halved() == Plan(CPU, 384, 0.0)
    assert Plan(CPU, MIN_TILE, 4.0).halved() is None


def test_devices_are_checked():
    assert pick_device("cpu") == CPU
    with pytest.raises(UsageError, match="must be auto, cpu"):
        pick_device("gpu")
    with pytest.raises(ResourceError, match="not available"):
        pick_device("cuda:99")
