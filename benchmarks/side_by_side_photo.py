"""The released code of PCA-based distillation against this package: same students, same pictures, runs in turns.

python benchmarks/side_by_side_photo.py --clone FOLDER --python PYTHON [--sizes 2048x1080 3840x2160] [--repeats 2]

FOLDER is your own clone of the authors' repository, PYTHON a Python with tensorflow-cpu, tf_keras and numpy, since the
released code is TensorFlow's. It runs on the CPU as it is: the cells of its demo up to the smoothing, left out on both
sides. Around it are stubs for yacs (two lines of settings) and for the download of MobileNet's weights, which the
checkpoint replaces anyway. Every run is a process of its own, each picture made twice and the faster run counted; both
programs encode the style each time.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from common import SAMPLES, child, machine, memory_now, memory_peak, middle, picture, seconds, size_of, table, write

from styleplugin.transforms import metrics

BACKBONES = ("vgg", "mobilenet")
RELEASED = Path(__file__).with_name("released_photo.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clone", type=Path)
    parser.add_argument("--python", help="a Python with tensorflow-cpu and tf_keras")
    parser.add_argument("--sizes", nargs="+", default=["2048x1080", "3840x2160"])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--child", type=json.loads)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(**options.child)))
        return
    if options.clone is None or options.python is None:
        parser.error("--clone and --python are needed")
    rows, data = [], []
    with tempfile.TemporaryDirectory() as folder:
        for size in options.sizes:
            width, height = (side // 16 * 16 for side in size_of(size))
            np.save(f"{folder}/content.npy", picture(SAMPLES / "lake.jpg", width, height)[0].permute(1, 2, 0).numpy())
            np.save(f"{folder}/style.npy", picture(SAMPLES / "swirls.jpg", 512, 512)[0].permute(1, 2, 0).numpy())
            for backbone in BACKBONES:
                given = {"clone": str(options.clone), "backbone": backbone, "folder": folder}
                runs: dict[str, list[dict]] = {"released": [], "ours": []}
                for _ in range(options.repeats):
                    runs["released"].append(child(str(RELEASED), given, python=options.python))
                    runs["ours"].append(child(__file__, given))
                ours, theirs = (torch.from_numpy(np.load(f"{folder}/{code}.npy")) for code in ("ours", "released"))
                ours, theirs = (result.mul(255).round() for result in (ours, theirs))
                times = {name: [min(run["seconds"]) for run in collected] for name, collected in runs.items()}
                memory = {name: max(run["memory_mb"] for run in collected) for name, collected in runs.items()}
                difference = int((ours - theirs).abs().max())
                similarity = metrics.psnr(ours / 255, theirs / 255)
                ratio = min(times["released"]) / min(times["ours"])
                rows.append(
                    [
                        f"{width}x{height}",
                        backbone,
                        *(middle(times[name]) for name in runs),
                        f"{ratio:.1f}",
                        " / ".join(f"{memory[name]:.0f}" for name in runs),
                        f"{difference} ({similarity:.1f} dB)",
                    ]
                )
                data.append({"size": [width, height], "backbone": backbone, "times": times, "memory_mb": memory})
                data[-1] |= {"largest_difference": difference, "psnr": similarity}
    write("side_by_side_photo", {"machine": machine(), "runs": data})
    print(f"{machine()}; 512x512 style encoded each time; median (minimum) seconds\n")
    header = ["size", "student", "released", "ours", "ratio", "peak MB of each", "largest 8-bit difference"]
    print(table(header, rows))


def measure(clone: str, backbone: str, folder: str) -> dict:
    from styleplugin.loading.build import describe
    from styleplugin.loading.convert.pca_distillation import import_pca_distillation
    from styleplugin.options import EngineOptions
    from styleplugin.stylizer import Stylizer

    model, _ = import_pca_distillation(clone, backbone)
    stylizer = Stylizer(model, describe(model, name="released", license="MIT", sha256=""), EngineOptions(device="cpu"))
    content, style = (
        torch.from_numpy(np.load(f"{folder}/{name}.npy")).permute(2, 0, 1)[None] for name in ("content", "style")
    )
    stylizer(torch.rand(1, 3, 128, 128), torch.rand(1, 3, 128, 128))
    before = memory_now()
    results = []

    def once() -> None:
        results.clear()
        results.append(stylizer(content, style).tensor)

    times = seconds(once, 2)
    memory = memory_peak() - before
    np.save(f"{folder}/ours.npy", results[0][0].permute(1, 2, 0).numpy())
    return {"seconds": times, "memory_mb": memory}


if __name__ == "__main__":
    main()
