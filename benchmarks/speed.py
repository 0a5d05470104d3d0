"""Time, memory and arithmetic rate of stylizing, at several sizes.

python benchmarks/speed.py [--sizes 512x512 3840x2160] [--models cd-wct.x16 "kbstyle.200k?palette=off"] [--tile auto]

Multiply-adds are counted twice: as the networks define them, 9 per pair of channels; and as they are done: Winograd's
products where convolutions are compiled, and upsampling merged into the convolution behind it. The peak is the rate of
one large convolution of torch's in the same process.
"""

from __future__ import annotations

import argparse
import json
from statistics import median

import torch
from common import (
    SAMPLES,
    child,
    label,
    machine,
    memory_now,
    memory_peak,
    middle,
    model_and_options,
    picture,
    seconds,
    size_of,
    table,
    write,
)
from torch import Tensor, nn

import styleplugin
from styleplugin.loading import index
from styleplugin.methods.palette import LEVELS, MODEL


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
            rates = [result[kind] / best for kind in ("gmacs_defined", "gmacs_done")]
            total = median(result["seconds"]) + median(result["prepare_s"])
            rows.append(
                [
                    label(model),
                    size,
                    middle(result["seconds"]),
                    f"{total:.2f}",
                    f"{result['memory_mb']:.0f}",
                    f"{result['gmacs_defined']:.0f} / {result['gmacs_done']:.0f}",
                    " / ".join(f"{rate:.0f} ({rate / result['peak_gmacs_per_s']:.0%})" for rate in rates),
                ]
            )
    write("speed", {"machine": machine(), "runs": data})
    print(f"{machine()}; tile {options.tile}; median (minimum) of {options.repeats}\n")
    print(
        table(
            [
                "model",
                "size",
                "seconds",
                "with a new 512x512 style",
                "peak MB",
                "GMAC defined / done",
                "GMAC/s (share of peak)",
            ],
            rows,
        )
    )


def measure(model: str, size: str, tile: str, device: str, repeats: int) -> dict:
    source, options = model_and_options(model)
    stylizer = styleplugin.load(source, allow_unknown_model=True, tile=tile, device=device)
    cuda = stylizer.device.type == "cuda"
    if stylizer.info.method == "wct":
        # All of a model, whatever the default is.
        options = {"levels": stylizer.info.levels} | options
    tried = stylizer(torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64), **options)
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() / 2**20 if cuda else memory_now()
    style = picture(SAMPLES / "swirls.jpg", 512, 512)
    content = picture(SAMPLES / "lake.jpg", *size_of(size))
    prepare_s = seconds(lambda: stylizer.prepare(style), repeats)
    prepared = stylizer.prepare(style)
    times = seconds(lambda: stylizer(content, prepared, **options), repeats)
    peak = torch.cuda.max_memory_allocated() / 2**20 if cuda else memory_peak()
    shallow, _ = index.load(MODEL)
    levels = [shallow.pair(level) for level in LEVELS.get(tried.report.settings["palette"], ())]
    billions = content.shape[2] * content.shape[3] / 1e9
    return {
        "seconds": times,
        "prepare_s": prepare_s,
        "memory_mb": peak - before,
        "gmacs_defined": sum(map(defined_macs, [stylizer.model, *levels])) * billions,
        "gmacs_done": stylizer.macs_per_pixel(**options) * billions,
        # Last, since its buffers are larger than all that a small picture needs.
        "peak_gmacs_per_s": peak_rate(stylizer.device),
    }


def defined_macs(model: nn.Module) -> float:
    """Return the multiply-adds per pixel of all 3x3 and 1x1 convolutions of a model, nothing merged."""
    macs, image = [], torch.zeros(1, 3, 64, 64)

    def count(layer: nn.Module, _: object, output: Tensor) -> None:
        macs.append(layer.get_parameter("weight").numel() * output.shape[2] * output.shape[3])

    hooks = [layer.register_forward_hook(count) for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    with torch.inference_mode():
        model(image)
    for hook in hooks:
        hook.remove()
    return sum(macs) / (image.shape[2] * image.shape[3])


def peak_rate(device: torch.device) -> float:
    """Return the GMAC/s of one large convolution, 64 to 64 channels on 512 x 512.

    On the CPU on 256 x 256: for larger maps the system hands out and clears new memory each time.
    """
    side = 256 if device.type == "cpu" else 512
    x = torch.rand(1, 64, side, side, device=device).contiguous(memory_format=torch.channels_last)
    weight = torch.rand(64, 64, 3, 3, device=device).contiguous(memory_format=torch.channels_last)

    def run() -> None:
        torch.nn.functional.conv2d(x, weight, padding=1)
        if device.type == "cuda":
            torch.cuda.synchronize()

    with torch.inference_mode():
        run()
        return 64 * 64 * 9 * side**2 / 1e9 / min(seconds(run, 5))


if __name__ == "__main__":
    main()
