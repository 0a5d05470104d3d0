"""What the pack costs a real ComfyUI: its start, memory for a huge picture, and the wait after Cancel.

COMFYUI_DIR=<checkout> [COMFYUI_PYTHON=<its interpreter>] python benchmarks/comfy_host.py [--size 7840x5280]

Memory is what the host's process grew by at its peak, less the tensor of the result, which the host holds; the content
is there before. Cancel is pressed at several moments of a run; the longest wait is given.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import torch
from comfyui import ComfyUI, error_of, node
from common import SAMPLES, machine, picture, size_of, table, write
from PIL import Image

SETTINGS = {"strength": 1.0, "keep_color": "off", "statistics": "per frame", "style_scale": 1.0, "tile": 0}
PHOTO = SETTINGS | {"keep_luminance": False, "smooth": 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", default="7840x5280")
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--moments", type=float, nargs="+", default=[0.1, 0.3, 1, 3, 10, 20])
    options = parser.parse_args()
    width, height = size_of(options.size)
    with tempfile.TemporaryDirectory() as folder:
        starts = []
        for i in range(options.starts):
            with ComfyUI(Path(folder) / f"start{i}") as host:
                starts.append(host.pack_seconds)
        with ComfyUI(Path(folder) / "run", "--cache-classic") as host:
            save_noisy(host.folder / "input" / "huge.png", width, height)
            version = host.version
            jobs = {
                "Style Transfer (Fast), cd-wct.x16": fast("cd-wct.x16"),
                "Style Transfer (Fast), cd-adain.x16": fast("cd-adain.x16"),
                "Photo Style Transfer, pca-photo.vgg, smooth 8": photo(8),
            }
            rows, data = [], []
            for name, transfer in jobs.items():
                row = measure(host, transfer, width * height) | {
                    "wait_s": longest_wait(host, transfer, options.moments)
                }
                rows.append([name, *(f"{value:.2f}" if value < 100 else f"{value:.0f}" for value in row.values())])
                data.append({"job": name, "size": options.size, "version": version} | row)
    print(f"{machine()}; ComfyUI {version}; the pack adds {median(starts):.1f} s to its start\n")
    print(table(["job", "seconds", "MB above the host's tensors", "longest wait after Cancel, s"], rows))
    write("comfy_host", {"starts": starts, "jobs": data})


def save_noisy(path: Path, width: int, height: int) -> None:
    """Write a sample picture in a size, with noise, so that nothing is flat."""
    rgb = picture(SAMPLES / "lake.jpg", width, height)[0].movedim(0, -1)
    rgb = (rgb + 0.03 * torch.randn(rgb.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    Image.fromarray((255 * rgb).byte().numpy()).save(path, compress_level=1)


def loaded() -> dict:
    return {"2": node("LoadImage", image="huge.png"), "3": node("StylePluginSample", name="swirls")}


def seen(of: str, name: str) -> dict:
    """Look at a corner of a picture: enough to have it computed, without a copy of it."""
    return {
        "8": node("ImageCrop", image=[of, 0], width=64, height=64, x=0, y=0),
        "9": node("SaveImage", images=["8", 0], filename_prefix=name),
    }


def fast(model: str) -> dict:
    inputs = {"content": ["2", 0], "style": ["3", 0], "model": ["1", 0], "depth": 5, **SETTINGS}
    return {"1": node("StylePluginLoadModel", model_name=model), "4": node("StylePluginTransfer", **inputs)}


def photo(smooth: int) -> dict:
    inputs = {"content": ["2", 0], "style": ["3", 0], "model": ["1", 0], **PHOTO, "smooth": smooth}
    model = node("StylePluginLoadModel", model_name="pca-photo.vgg")
    return {"1": model, "4": node("StylePluginPhotoTransfer", **inputs)}


def measure(host: ComfyUI, transfer: dict, pixels: int) -> dict[str, float]:
    """Return seconds, and MB at the peak."""
    name = f"{time.time()}"
    assert error_of(host.run(loaded() | seen("2", f"{name} before")))[0] == "execution_success"
    host.forget_peak()
    before, started = host.memory_mb("VmRSS"), time.perf_counter()
    history = host.run(loaded() | transfer | seen("4", name), limit_s=900)
    assert error_of(history)[0] == "execution_success", error_of(history)
    seconds = time.perf_counter() - started
    return {"seconds": seconds, "mb": host.memory_mb("VmHWM") - before - pixels * 3 * 4 / 2**20}


def longest_wait(host: ComfyUI, transfer: dict, moments: list[float]) -> float:
    """Return the longest time from Cancel to the end of the run."""
    waits = []
    for i, moment in enumerate(moments):
        job = {name: dict(entry, inputs=dict(entry["inputs"])) for name, entry in transfer.items()}
        job["4"]["inputs"]["strength"] = 0.9 - 0.01 * i  # another input, so that nothing is cached
        prompt = host.start(loaded() | job | seen("4", f"{time.time()}"))
        time.sleep(moment)
        pressed = time.perf_counter()
        host.post("/interrupt", {})
        history = host.wait(prompt)
        if error_of(history)[0] == "execution_interrupted":
            waits.append(time.perf_counter() - pressed)
    return max(waits)


if __name__ == "__main__":
    main()
