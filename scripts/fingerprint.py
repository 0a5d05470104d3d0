"""Write the sha256 of some 160 results, to show that a change of the code changes no picture.

    python scripts/fingerprint.py before.json                       # then change the code, and
    python scripts/fingerprint.py after.json --compare before.json

Every method, model, option, mask, region, mix, kept color, depth, clip, look and optimization is run over the sample
pictures, with compiled code and without. Bits differ between processors: compare files of one machine.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import styleplugin  # noqa: E402

SAMPLES = ROOT / "styleplugin" / "samples"
SIDE = 160
"""Shorter side of the pictures, in pixels."""


def pictures() -> dict[str, torch.Tensor]:
    """Return the samples, small: (1, 3, H, W) in [0, 1]."""
    found = {}
    for path in sorted(SAMPLES.glob("*.jpg")):
        whole = styleplugin.read_image(path).rgb
        scale = SIDE / min(whole.shape[2:])
        size = [round(scale * side) + index for index, side in enumerate(whole.shape[2:])]
        found[path.stem] = torch.nn.functional.interpolate(whole, size=size, mode="area")
    return found


def runs() -> dict[str, Callable[[], list[torch.Tensor]]]:
    """Return what is run, by name."""
    known = pictures()
    lake, swirls, waves, dots = (known[name] for name in ("lake", "swirls", "waves", "dots"))
    left = torch.zeros_like(lake[:, :1])
    left[..., : left.shape[3] // 2] = 1
    frames = [lake, lake.roll(3, 3), lake.flip(3)]
    chosen: dict[str, Callable[[], list[torch.Tensor]]] = {}

    def add(name: str, style: Any = swirls, content: Any = lake, **options: Any) -> None:
        chosen[name] = lambda: [styleplugin.stylize(content, style, device="cpu", **options).tensor]

    everywhere: dict[str, dict[str, Any]] = {
        "plain": {},
        "strength": {"strength": 0.4},
        "mask": {"mask": left},
        "lab": {"keep_color": "lab"},
        "luminance": {"keep_color": "luminance"},
        "keep luminance": {"keep_luminance": True},
        "smooth": {"smooth": 8},
        "scale": {"style_scale": 0.7},
        "tiles": {"tile": "64"},
    }
    for entry in styleplugin.list_models():
        for label, options in everywhere.items():
            add(f"{entry.name}, {label}", model=entry.name, **options)
    for level in range(1, 6):
        add(f"cd-wct.x16, level {level}", model="cd-wct.x16", levels=(level,), grain=0)
    add("cd-wct.x16, official", model="cd-wct.x16", regularization="official")
    for palette in ("off", "map", "level1", "level2"):
        add(f"cd-adain.x16, palette {palette}", model="cd-adain.x16", palette=palette)
    mixed = [styleplugin.StyleWeight(style=swirls, weight=0.3), styleplugin.StyleWeight(style=waves, weight=0.7)]
    parted = [styleplugin.StyleWeight(style=swirls, region=left), styleplugin.StyleWeight(style=waves)]
    for model in ("cd-wct.x16", "cd-adain.x16", "kbstyle.200k", "pca-photo.mobilenet"):
        add(f"{model}, mix", mixed, model=model)
        add(f"{model}, regions", parted, model=model)
    deep = styleplugin.to_picture((lake[0].permute(1, 2, 0) * 65535).round().to(torch.int32).numpy().astype("uint16"))
    add("kbstyle.200k, 16 bits", model="kbstyle.200k", content=deep)
    for statistics in ("per frame", "whole batch", "one frame"):
        chosen[f"kbstyle.200k, frames, {statistics}"] = lambda statistics=statistics: [
            result.tensor
            for result in styleplugin.load("kbstyle.200k", device="cpu").frames(frames, waves, statistics=statistics)
        ]
    chosen["look"] = lambda: [
        styleplugin.fit_look(
            lake, styleplugin.stylize(lake, dots, model="pca-photo.vgg", device="cpu").tensor
        ).lut.table
    ]
    for optimizer in ("lbfgs", "adam"):
        for loss in ("gram", "wasserstein"):
            add(
                f"optimization, {optimizer}, {loss}",
                method="optimization",
                optimizer=optimizer,
                style_loss=loss,
                steps=4,
                start="content",
            )
    return chosen


def fingerprint() -> dict[str, str]:
    """Run everything here, in this process; return sha256 or the error by name."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    found = {}
    for name, run in runs().items():
        begin = time.monotonic()
        try:
            values = b"".join(tensor.contiguous().numpy().tobytes() for tensor in run())
            found[name] = hashlib.sha256(values).hexdigest()
        except styleplugin.StylePluginError as error:
            found[name] = f"{error.code}: {error}"
        print(f"{time.monotonic() - begin:5.1f} s  {found[name][:16]}  {name}", file=sys.stderr, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--compare", type=Path, help="a file from before: name what differs, and fail")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        arguments.output.write_text(json.dumps(fingerprint(), indent=1))
        return
    before = json.loads(arguments.compare.read_text()) if arguments.compare else {}
    found: dict[str, str] = {}
    for label, native in (("compiled", "1"), ("torch", "0")):
        command = [sys.executable, __file__, str(arguments.output), "--here"]
        subprocess.run(command, env=os.environ | {"STYLEPLUGIN_NATIVE": native}, check=True)
        found |= {f"{name} ({label})": value for name, value in json.loads(arguments.output.read_text()).items()}
    arguments.output.write_text(json.dumps(found, indent=1) + "\n")
    failed = [name for name, value in found.items() if value.startswith("SP")]
    print(f"{len(found)} results, {len(failed)} errors.", *failed, sep="\n")
    if arguments.compare:
        names = before.keys() | found.keys()
        changed = sorted(name for name in names if before.get(name) != found.get(name))
        print(f"{len(names) - len(changed)} of {len(names)} are the same.", *changed, sep="\n")
        sys.exit(bool(changed))


if __name__ == "__main__":
    main()
