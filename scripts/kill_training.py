"""Kill a training 20 times at random moments with SIGKILL, let it end, and compare it with one that was left alone.

python scripts/kill_training.py [--rounds 20] [--out runs/killed]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

from styleplugin.train import new_recipe, recipe_text

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "docs" / "images" / "training"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/killed"))
    arguments = parser.parse_args()
    shutil.rmtree(arguments.out, ignore_errors=True)
    arguments.out.mkdir(parents=True)
    recipe = arguments.out / "recipe.toml"
    recipe.write_text(recipe_text(tiny()))
    begin = time.monotonic()
    start(recipe, arguments.out / "whole").wait()
    seconds = time.monotonic() - begin
    whole = digest(arguments.out / "whole")
    print(f"uninterrupted: {seconds:.0f} s, sha256 {whole}")
    chance, killed, out = random.Random(arguments.seed), 0, arguments.out / "killed"
    while killed < arguments.rounds and not (out / "pair.safetensors").exists():
        process = start(recipe, out)
        delay = chance.uniform(0.3, 1.5) * seconds / arguments.rounds + 2.5
        try:
            process.wait(delay)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
            print(f"round {killed}: killed after {delay:.1f} s at {place(out)}", flush=True)
    start(recipe, out).wait()
    print(f"killed {killed} times: sha256 {digest(out)}")
    leftovers = sorted(path.name for path in out.rglob("*.part"))
    print(f"equal: {digest(out) == whole}; temporary files left: {len(leftovers)}")
    sys.exit(digest(out) != whole or killed < arguments.rounds)


def tiny():
    """A recipe whose phases take some seconds each."""
    recipe = new_recipe(
        "adain",
        name="killed",
        teacher="cd-wct.x16",
        photos=str(EXAMPLES / "photos"),
        paintings=str(EXAMPLES / "paintings"),
        width=0.0625,
        levels=(3,),
        crop=64,
        batch=4,
        importance="increg",
    )
    phases = {
        phase: replace(recipe.phase(phase), steps=steps) for phase, steps in zip(recipe.phases, STEPS, strict=True)
    }
    return replace(recipe, minutes=0.0, log_every=5, validate_every=25, checkpoint_every=10, **phases)


STEPS = (100, 150, 100, 80, 400)


def start(recipe: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "styleplugin", "train", str(recipe), "--out", str(out), "--resume", "--no-plan"]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env, cwd=ROOT)


def digest(out: Path) -> str:
    return hashlib.sha256((out / "pair.safetensors").read_bytes()).hexdigest()


def place(out: Path) -> str:
    """Return the newest checkpoint or result."""
    files = [path for path in out.rglob("*.safetensors") if path.name != "best.safetensors"]
    return max(files, key=lambda path: path.stat().st_mtime).stem if files else "the start"


if __name__ == "__main__":
    main()
