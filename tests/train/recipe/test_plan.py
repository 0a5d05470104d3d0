import math
from pathlib import Path

import pytest
import torch

from styleplugin.errors import ResourceError
from styleplugin.train.recipe.plan import MARGIN, PhasePlan, Plan, duration, peak_memory_mb


def plan(*seconds: float) -> Plan:
    phases = tuple(PhasePlan(run="r", phase=f"p{i}", steps=100, seconds_per_step=s) for i, s in enumerate(seconds))
    return Plan(phases=phases, device="cpu", memory_mb=10, disk_mb=3)


def test_a_budget_changes_all_steps_by_one_factor():
    fitted = plan(1.0, 3.0).within(200)
    assert [phase.steps for phase in fitted.phases] == [round(100 * MARGIN / 2)] * 2
    assert fitted.seconds == pytest.approx(200, rel=0.01)
    assert [phase.steps for phase in plan(1.0).within(0.001).phases] == [1]
    assert plan(1.0, 3.0).within(math.inf) == plan(1.0, 3.0)


def test_a_phase_that_begins_late_has_fewer_steps():
    whole = plan(1.0, 1.0)
    assert whole.steps_within("r", "p0", 100) == round(50 * MARGIN)
    assert whole.steps_within("r", "p1", 20) == round(20 * MARGIN)
    assert whole.steps_within("r", "other", 20) is None


def test_what_is_behind_a_phase_counts():
    assert plan(1.0, 2.0, 3.0).after("r", "p0") == 500
    assert plan(1.0, 2.0, 3.0).after("r", "p2") == 0
    assert Plan().after("r", "p0") == 0


def test_plans_of_several_runs_add_up():
    both = plan(1.0) + plan(2.0)
    assert len(both.phases) == 2 and both.disk_mb == 6 and both.memory_mb == 10
    assert "p0" in str(both) and "5 min on cpu, 10 MB of memory, 6 MB on disk" in str(both)


def test_a_full_disk_is_noticed_before_the_start(tmp_path: Path):
    plan(1.0).check_disk(tmp_path)
    with pytest.raises(ResourceError, match="free in") as caught:
        Plan(disk_mb=1 << 40).check_disk(tmp_path)
    assert caught.value.code == "SP521"


def test_times_are_written_for_people():
    assert [duration(s) for s in (5, 600, 7200)] == ["5 s", "10 min", "2.0 h"]


def test_memory_is_that_of_the_process():
    assert 50 < peak_memory_mb(torch.device("cpu")) < 1 << 20
