"""Train all embedded models, in rounds, each some minutes in turn, until it is stopped; it goes on exactly.

    python scripts/train_weights.py                     # in the background: nice, one thread
    python scripts/train_weights.py --status
    python scripts/train_weights.py --take              # what has become better goes into weights/; commit it
    python scripts/train_weights.py --keep              # what has not yet goes into students/; commit it
    python scripts/train_weights.py --device cuda --together --minutes 9 --pack OUT --size-mb 60   # on a lent machine

Checkpoints lie in runs/queue. Where they are gone, a model goes on from its file in students/ or in weights/, if the
queue has made that.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from scripts.training_queue.jobs import JOBS, Job, job_of  # noqa: E402
from scripts.training_queue.packing import pack  # noqa: E402
from scripts.training_queue.rounds import keep, status, train_round  # noqa: E402
from scripts.training_queue.taking import take  # noqa: E402

PAUSED = ROOT / "runs" / "queue" / "paused"
"""While this file is there, the round at work is held: for timings."""
LOWEST = 19


def main() -> None:
    names = [job.name for job in JOBS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--status", action="store_true", help="print where all models stand")
    parser.add_argument("--take", action="store_true", help="take what has become better into weights/")
    parser.add_argument("--keep", action="store_true", help="put what is on its way into students/")
    parser.add_argument("--pause", action="store_true", help="hold the queue until --go")
    parser.add_argument("--go", action="store_true", help="let a held queue go on")
    parser.add_argument("--models", nargs="+", choices=names, default=names)
    parser.add_argument("--round-minutes", type=float, default=15, help="of one model before the next one's turn")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="of the whole queue")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--nice", type=int, default=LOWEST)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--together", action="store_true", help="all models at once, one round each")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "train")
    parser.add_argument("--teachers", type=Path, default=ROOT.parent / "shared" / "data" / "teachers")
    parser.add_argument("--pack", type=Path, help="folder for checkpoints and log, to bring back")
    parser.add_argument("--size-mb", type=float, default=60, help="largest pack")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    jobs = [job_of(name) for name in arguments.models]
    if arguments.status:
        print(status())
    elif arguments.take:
        for job in jobs:
            print(take(job), flush=True)
    elif arguments.keep:
        for job in jobs:
            print(keep(job))
    elif arguments.pause or arguments.go:
        hold(arguments.pause)
    elif arguments.one:
        places = {"teachers": arguments.teachers, "data": arguments.data}
        train_round(
            job_of(arguments.one), arguments.minutes, device=arguments.device, threads=arguments.threads, **places
        )
    else:
        work(jobs, arguments)


def hold(paused: bool) -> None:
    """Hold the queue, or let it go on."""
    PAUSED.parent.mkdir(parents=True, exist_ok=True)
    PAUSED.touch() if paused else PAUSED.unlink(missing_ok=True)


def work(jobs: list[Job], arguments: argparse.Namespace) -> None:
    """Train round after round until the time is over or somebody stops it; models whose round fails are left out."""
    end = time.monotonic() + 60 * arguments.minutes
    if arguments.together:
        wait(*[start(job, arguments, arguments.minutes) for job in jobs])
    else:
        turns = deque(jobs)
        while turns and (left := (end - time.monotonic()) / 60) > 0:
            job = turns.popleft()
            if wait(start(job, arguments, min(arguments.round_minutes, left))):
                turns.append(job)
            else:
                print(f"{job.name} is left out from now on.", flush=True)
    if arguments.pack:
        pack(jobs, arguments.pack, arguments.size_mb)


def start(job: Job, arguments: argparse.Namespace, minutes: float) -> subprocess.Popen[bytes]:
    """Begin a round in a process of its own, so that nothing is left of it, whatever happens."""
    command = [sys.executable, __file__, "--one", job.name, "--minutes", str(minutes), "--device", arguments.device]
    command += [
        "--threads",
        str(arguments.threads),
        "--teachers",
        str(arguments.teachers),
        "--data",
        str(arguments.data),
    ]
    threads = {name: str(arguments.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    # A session of its own, since Linux weighs sessions against each other and `nice` within them alone.
    return subprocess.Popen(
        command, env=os.environ | threads, start_new_session=True, preexec_fn=lambda: step_back(arguments.nice)
    )


def step_back(niceness: int) -> None:
    """Lower the priority of this process, and of its session where the system has such a thing."""
    os.nice(niceness)
    with contextlib.suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(niceness))


def wait(*rounds: subprocess.Popen[bytes]) -> bool:
    """Wait for rounds, and hold them as long as the queue is held; a stop of the queue stops them with a checkpoint.

    Return whether all ended well.
    """
    held = False
    try:
        while any(process.poll() is None for process in rounds):
            if PAUSED.exists() != held:
                held = not held
                tell(rounds, signal.SIGSTOP if held else signal.SIGCONT)
            time.sleep(1)
    except KeyboardInterrupt:
        tell(rounds, signal.SIGCONT)
        tell(rounds, signal.SIGTERM)
        for process in rounds:
            process.wait()
        raise
    for process in rounds:
        if process.returncode:
            print(f"A round ended with {process.returncode}.", flush=True)
    return not any(process.returncode for process in rounds)


def tell(rounds: Sequence[subprocess.Popen[bytes]], number: int) -> None:
    """Send a signal to all rounds; to one that has ended this does nothing."""
    for process in rounds:
        process.send_signal(number)


if __name__ == "__main__":
    # A shell lets its background jobs ignore SIGINT.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    main()
