"""Time, memory and arithmetic rate of stylizing, at several sizes.

python benchmarks/speed.py [--sizes 512x512 3840x2160] [--models cd-wct.x16 cd-adain.x16] [--tile auto] [--repeats 3]
"""

from __future__ import annotations

import argparse
import json

import torch
from common import SAMPLES, child, machine, middle, peak_mb, picture, seconds, size_of, table, write

import styleplugin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", nargs="+", default=["512x512", "1024x1024", "2048x1080", "3840x2160"])
    parser.add_argument("--models", nargs="+", default=["cd-wct.x16", "cd-adain.x16"])
    parser.add_argument("--tile", default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--child", type=json.loads)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(**options.child)))
        return
    rows, data = [], []
    for model in options.models:
        for size in options.sizes:
            given = {"model": model, "size": size} | {k: getattr(options, k) for k in ("tile", "device", "repeats")}
            result = child(__file__, given)
            data.append(given | result)
            best = min(result["seconds"])
            rate = result["gmacs"] / best
            share = f"{rate:.0f} ({100 * rate / result['peak_gmacs_per_s']:.0f}%)"
            cells = [model, size, middle(result["seconds"]), middle(result["prepare_s"])]
            rows.append([*cells, f"{result['memory_mb']:.0f}", f"{result['gmacs']:.0f}", share])
    write("speed", {"machine": machine(), "runs": data})
    print(f"{machine()}; tile {options.tile}; median (minimum) of {options.repeats}\n")
    header = ["model", "size", "stylize, s", "prepare 512x512 style, s", "peak memory, MB", "GMAC", "GMAC/s (of peak)"]
    print(table(header, rows))


def measure(model: str, size: str, tile: str, device: str, repeats: int) -> dict:
    stylizer = styleplugin.load(model, tile=tile, device=device)
    style = picture(SAMPLES / "swirls.jpg", 512, 512)
    stylizer(style[..., :64, :64], style[..., :64, :64])
    peak = peak_rate(stylizer.device)
    content = picture(SAMPLES / "lake.jpg", *size_of(size))
    before = peak_mb()
    prepare_s = seconds(lambda: stylizer.prepare(style), repeats)
    prepared = stylizer.prepare(style)
    times = seconds(lambda: stylizer(content, prepared), repeats)
    macs = stylizer.macs_per_pixel * content.shape[2] * content.shape[3]
    cuda = stylizer.device.type == "cuda"
    memory = torch.cuda.max_memory_allocated() / 2**20 if cuda else peak_mb() - before
    return {
        "seconds": times,
        "prepare_s": prepare_s,
        "memory_mb": memory,
        "gmacs": macs / 1e9,
        "peak_gmacs_per_s": peak,
    }


def peak_rate(device: torch.device) -> float:
    """Return the GMAC/s of one large convolution, 64 to 64 channels on 512 x 512."""
    x = torch.rand(1, 64, 512, 512, device=device).contiguous(memory_format=torch.channels_last)
    weight = torch.rand(64, 64, 3, 3, device=device).contiguous(memory_format=torch.channels_last)

    def run() -> None:
        torch.nn.functional.conv2d(x, weight, padding=1)
        if device.type == "cuda":
            torch.cuda.synchronize()

    with torch.inference_mode():
        run()
        return 64 * 64 * 9 * 512**2 / 1e9 / min(seconds(run, 5))


if __name__ == "__main__":
    main()
