"""Several processes train one student: what they average is what one process computes, and the run goes through."""

from __future__ import annotations

import json
import math
import os
import pickle
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from styleplugin.errors import ResourceError, UsageError
from styleplugin.train import Recipe
from styleplugin.train.loop.distributed import Workers
from styleplugin.train.loop.setting import Setting
from styleplugin.train.pairs.run import PairRun, PairTraining
from styleplugin.train.recipe.options import PhaseOptions
from styleplugin.train.runs.phase_loop import PhaseLoop

pytestmark = pytest.mark.slow

STEP = """
import pickle, sys
from pathlib import Path
import torch
from styleplugin.train.pairs.run import PairRun, PairTraining
from styleplugin.train.runs.phase_loop import PhaseLoop
from styleplugin.train.loop.setting import Setting

recipe = pickle.loads(Path(sys.argv[1]).read_bytes())
out = Path(sys.argv[2])
setting = Setting(device="cpu")
training = PairTraining(PairRun(recipe, out), setting)
loop = PhaseLoop(training, training.phases[0])
stepper = loop.stepper
losses = stepper.gradients(loop.batches(0))
setting.workers.average_gradients(stepper.parameters)
gradients = [parameter.grad for parameter in stepper.parameters]
mean = setting.workers.average(torch.stack([losses["loss"].detach()]))
torch.save((gradients, mean), out / f"rank{setting.workers.rank}.pt")
"""

RUN = """
import pickle, sys
from pathlib import Path
from styleplugin.train import run
run(pickle.loads(Path(sys.argv[1]).read_bytes()), sys.argv[2], device="cpu", on_plan=lambda plan: print(plan))
"""


def in_two_processes(script: str, recipe: Recipe, folder: Path) -> str:
    """Run a script with a recipe's path and an output folder; return what the processes print."""
    (folder / "recipe").write_bytes(pickle.dumps(recipe))
    (folder / "script.py").write_text(script)
    (folder / "out").mkdir()
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=0", "--standalone"]
    command += [str(folder / "script.py"), str(folder / "recipe"), str(folder / "out")]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_the_averaged_gradient_of_two_half_batches_is_that_of_the_batch(make_recipe, tmp_path: Path):
    recipe: Recipe = make_recipe(teacher_decoder=PhaseOptions(steps=6, batch=4, warmup=2))
    in_two_processes(STEP, recipe, tmp_path)
    halves = [torch.load(tmp_path / "out" / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]

    (tmp_path / "whole").mkdir()
    training = PairTraining(PairRun(recipe, tmp_path / "whole"), Setting(device="cpu"))
    loop = PhaseLoop(training, training.phases[0])
    stepper = loop.stepper
    loss = stepper.gradients(loop.batches(0))["loss"].detach()

    for gradients, mean in halves:
        torch.testing.assert_close(mean[0], loss, rtol=1e-4, atol=1e-6)
        for averaged, parameter in zip(gradients, stepper.parameters, strict=True):
            assert parameter.grad is not None
            scale = float(parameter.grad.abs().max())
            torch.testing.assert_close(averaged, parameter.grad, rtol=1e-3, atol=1e-4 * scale)


def test_two_processes_go_through_and_one_of_them_writes(make_recipe, tmp_path: Path):
    printed = in_two_processes(RUN, make_recipe(validate_every=3), tmp_path)
    assert printed.count("of memory") == 1
    assert (tmp_path / "out" / "pair.safetensors").exists()
    rows = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    losses = {(row["phase"], row["step"]): row["loss"] for row in rows if "loss" in row}
    assert len(losses) == sum("loss" in row for row in rows)
    assert all(math.isfinite(loss) for loss in losses.values())


MEETING = """
import os, signal, sys
from styleplugin.errors import ResourceError
from styleplugin.train.loop.distributed import Workers

workers = Workers()
workers.wait()
if sys.argv[1] == "dies" and workers.rank == 1:
    os.kill(os.getpid(), signal.SIGKILL)
# The threads of Gloo wait for Python until it ends, as they may on a machine with much to do.
sys.setswitchinterval(100)
try:
    workers.any_process(True)
except ResourceError as error:
    print(error.code)
    if sys.argv[1] == "dies":
        sys.exit(error.exit_code)
"""


@pytest.mark.parametrize(
    ("second", "ends", "printed"),
    [("lives", (0, 0), ""), ("dies", (ResourceError.exit_code, -signal.SIGKILL), "SP522\n")],
)
def test_R08_a_process_that_dies_is_noticed_by_the_others_and_each_ends_as_it_should(
    second: str, ends: tuple[int, int], printed: str
):
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3]), "WORLD_SIZE": "2"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    command = [sys.executable, "-c", MEETING, second]
    with ExitStack() as stack:
        processes = []
        for rank in "01":
            process = subprocess.Popen(command, env=env | {"RANK": rank}, stdout=subprocess.PIPE, text=True)
            processes.append(stack.enter_context(process))
            stack.callback(process.kill)
        outputs = [process.communicate(timeout=240)[0] for process in processes]
    assert tuple(process.returncode for process in processes) == ends
    assert outputs[0] == printed


def test_the_log_holds_the_mean_of_all_processes(monkeypatch: pytest.MonkeyPatch):
    from styleplugin.train.loop.fit import _summarize

    workers = Workers()
    monkeypatch.setattr(workers, "average", lambda table: (table + torch.tensor([[3.0, 0.0]])) / 2)
    window = [{"loss": torch.tensor(1.0), "skipped": torch.tensor(0.0)}]
    assert _summarize(window, 1, workers) == ({"loss": 2.0}, ())


def test_a_batch_must_be_shared_evenly():
    workers = Workers()
    workers.check(3)
    workers.count = 2
    with pytest.raises(UsageError, match="3 crops"):
        workers.check(3)
