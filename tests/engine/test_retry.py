import pytest
import torch

from styleplugin.engine.plan import WHOLE, Plan
from styleplugin.engine.retry import with_smaller_tiles
from styleplugin.errors import ResourceError

CPU = torch.device("cpu")


def fitting(most: int):
    """Work that fits in memory in tiles of `most` and less."""

    def run(plan: Plan) -> str:
        if plan.tile == WHOLE or plan.tile > most:
            raise MemoryError
        return f"in tiles of {plan.tile}"

    return run


def test_M02_the_plan_that_worked_comes_back_with_the_result():
    notes: list[str] = []
    result, plan = with_smaller_tiles(fitting(100), Plan(CPU, WHOLE, 4.0), (50, 70), notes.append)
    assert (result, plan.tile) == ("in tiles of 96", 96)
    assert notes == [
        "Out of memory with tiles of the whole picture; went on with 384.",
        "Out of memory with tiles of 384; went on with 192.",
        "Out of memory with tiles of 192; went on with 96.",
    ]
    again, same = with_smaller_tiles(fitting(100), plan, (50, 70), notes.append)
    assert (again, same, len(notes)) == (result, plan, 3)


def test_M02_what_does_not_fit_in_the_smallest_tiles_is_refused_with_its_size():
    with pytest.raises(ResourceError, match="A picture of 70 x 50 does not fit in memory") as caught:
        with_smaller_tiles(fitting(0), Plan(CPU, 96, 0.0), (50, 70), lambda note: None)
    assert caught.value.code == "SP502"


def test_other_errors_come_through_at_once():
    def run(plan: Plan) -> None:
        raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="shape mismatch"):
        with_smaller_tiles(run, Plan(CPU, 96, 0.0), (50, 70), lambda note: pytest.fail(note))
