"""Optimization: the compressed encoder against the full one, against a textbook loop, and from several starts.

python benchmarks/optimization.py [--part speed quality starts large]

speed: time and memory of a step with the student's widths and with VGG-19's up to relu5_1 (of VGG-19 the layers up to
conv3_4 are at hand, the rest is random, which does not change the time), and of a textbook loop: plain PyTorch, whole
picture, full encoder. quality: relu1_1 to relu3_1 with equal weights, student and true layers of VGG-19, judged
by the evaluation's networks after equal steps and after equal seconds. starts: steps to the same loss.
large: memory at 3840x2160. Runs alternate, each in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import pairwise

import torch
from common import (
    RESULTS,
    ROOT,
    SAMPLES,
    child,
    machine,
    memory_now,
    memory_peak,
    middle,
    picture,
    size_of,
    table,
    write,
)
from evaluation import Evaluator
from torch import Tensor

from styleplugin import optimize
from styleplugin.loading.encoders import LoadedEncoder, load_encoder
from styleplugin.methods.optimization.run import Optimization
from styleplugin.networks.vgg import Encoder, VGGSpec, convs_of_level, teacher_spec

TEACHERS = ROOT.parent / "shared" / "data" / "teachers"
VGG = "vgg19_imagenet_conv1_1-conv3_4.safetensors"
SHOWN = ("e_style", "e_content", "ssim")
"""Figures of the quality part."""
PARTS = ("speed", "quality", "starts", "large")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--sizes", nargs="+", default=["512x512", "1024x1024"])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--steps", type=int, default=100, help="of the quality part, which takes the first size")
    parser.add_argument("--child", type=json.loads)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(globals()[options.child.pop("what")](**options.child)))
        return
    data: dict = {"machine": machine()}
    print(machine())
    if "speed" in options.part:
        data["speed"] = [speed(size, options.repeats) for size in options.sizes]
    if "quality" in options.part:
        data["quality"] = quality(options.sizes[0], options.steps)
    if "starts" in options.part:
        data["starts"] = starts(options.sizes[0])
    if "large" in options.part:
        data["large"] = large()
    write("optimization", data)


def speed(size: str, repeats: int) -> dict:
    kinds = ("student", "full", "textbook")
    runs: dict[str, list[dict]] = {kind: [] for kind in kinds}
    for _ in range(repeats):
        for kind in kinds:
            runs[kind].append(child(__file__, {"what": "measure_steps", "kind": kind, "size": size}))
    times = {kind: [run["seconds"] for run in collected] for kind, collected in runs.items()}
    memory = {kind: max(run["memory_mb"] for run in collected) for kind, collected in runs.items()}
    print(f"\nA step at {size}, levels 1 to 5: median (minimum) seconds\n")
    rows = [
        [
            kind,
            middle(times[kind]),
            f"{min(times[kind]) / min(times['student']):.1f}",
            f"{memory[kind]:.0f}",
            f"{memory[kind] / memory['student']:.1f}",
        ]
        for kind in kinds
    ]
    print(table(["encoder", "seconds", "times the student's", "peak MB", "times the student's"], rows))
    return {"size": size, "seconds": times, "memory_mb": memory}


def measure_steps(kind: str, size: str, steps: int = 3) -> dict:
    if kind != "student":
        use_encoder(LoadedEncoder(full_encoder(5), ""))
    content, style = pictures(size)
    if kind == "textbook":
        before = memory_now()
        times = textbook(content, style, steps + 1)
    else:
        # One step of a small picture first: what is prepared once is not counted.
        list(Optimization(content[..., :64, :64], style[..., :64, :64], steps=1, scales=1, start="content"))
        before = memory_now()
        run = Optimization(content, style, steps=steps + 1, scales=1, start="content", device="cpu")
        times = [progress.seconds for progress in run]
    steps_alone = [b - a for a, b in pairwise(times)]
    return {"seconds": min(steps_alone), "memory_mb": memory_peak() - before}


def textbook(content: Tensor, style: Tensor, steps: int) -> list[float]:
    """Gatys as tutorials write it: whole picture, autograd, L-BFGS; returns the time at the end of each step."""
    encoder = full_encoder(5).requires_grad_(False)

    def gram(features: Tensor) -> Tensor:
        rows = features.flatten(2)[0]
        return rows @ rows.T / rows.shape[1]

    with torch.no_grad():
        wanted, shapes = [gram(f) for f in encoder.features(style)], encoder.features(content)[3]
    image = content.contiguous().requires_grad_()
    optimizer = torch.optim.LBFGS([image], max_iter=1)
    times, begin = [], time.perf_counter()

    def closure() -> Tensor:
        optimizer.zero_grad()
        features = encoder.features(image)
        terms = [(gram(f) - g).square().mean() for f, g in zip(features, wanted, strict=True)]
        loss = (features[3] - shapes).square().mean() + 1e3 * torch.stack(terms).sum()
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)
        times.append(time.perf_counter() - begin)
    return times


def quality(size: str, steps: int) -> dict:
    jobs = {
        f"student, {steps} steps": {"kind": "student", "steps": steps},
        f"VGG-19, {steps} steps": {"kind": "full", "steps": steps},
    }
    results = {}
    for name, job in jobs.items():
        results[name] = child(__file__, {"what": "measure_quality", "size": size, "name": name, **job})
    seconds = results[f"student, {steps} steps"]["seconds"]
    name = f"VGG-19, {seconds:.0f} s"
    job = {"what": "measure_quality", "size": size, "name": name, "kind": "full", "steps": steps, "seconds": seconds}
    results[name] = child(__file__, job)
    print(f"\nrelu1_1 to relu3_1, {size}, from the content\n")
    rows = [
        [
            name,
            result["steps"],
            f"{result['seconds']:.1f}",
            *(f"{result[figure]:.3f}" for figure in SHOWN),
        ]
        for name, result in results.items()
    ]
    print(table(["encoder", "steps", "seconds", *SHOWN], rows))
    return results


def measure_quality(kind: str, size: str, steps: int, name: str, seconds: float | None = None) -> dict:
    if kind == "student":
        use_encoder(truncated(load_encoder("cd-wct.x16"), 3))
    else:
        use_encoder(LoadedEncoder(load_encoder(f"file:{TEACHERS / VGG}").encoder, ""))
    content, style = pictures(size)
    # The weight of the content is such that both keep about as much of it: the terms are relative to the features.
    weight = 0.3 if kind == "student" else 1.0
    run = Optimization(content, style, steps=steps, scales=1, start="content", content_weight=weight, device="cpu")
    done = 0
    for progress in run:
        done = progress.step
        if seconds is not None and progress.seconds >= seconds:
            break
    result = run.result()
    result.save(RESULTS / f"optimization-{name.replace(', ', '-').replace(' ', '')}.png", overwrite=True)
    return {"steps": done, "seconds": run.report.seconds["stylize"], **Evaluator()(content, style, result.tensor)}


def starts(size: str, steps: int = 200) -> dict:
    results = {
        start: child(__file__, {"what": "measure_start", "start": start, "size": size, "steps": steps})
        for start in ("noise", "content", "stylized")
    }
    goal = results["content"]["style"][-1]
    print(f"\nSteps until the style loss is that of {steps} steps from the content ({goal:.4f}), {size}\n")
    rows = []
    for start, result in results.items():
        below = [i + 1 for i, value in enumerate(result["style"]) if value <= goal]
        reached = f"{below[0]}" if below else f"more than {steps}"
        rows.append([start, reached, f"{result['style'][24]:.4f}", f"{result['style'][-1]:.4f}"])
    print(table(["start", "steps", "loss after 25", f"after {steps}"], rows))
    return results


def measure_start(start: str, size: str, steps: int) -> dict:
    content, style = pictures(size)
    run = Optimization(content, style, steps=steps, scales=1, start=start, device="cpu")
    return {"style": [progress.losses.style for progress in run], "seconds": run.report.seconds["stylize"]}


def large() -> dict:
    result = child(__file__, {"what": "measure_large", "size": "3840x2160", "steps": 20})
    print(f"\n3840x2160, 20 steps: {result['seconds']:.0f} s, {result['memory_mb']:.0f} MB above the start")
    return result


def measure_large(size: str, steps: int) -> dict:
    content, style = pictures(size, (1024, 1024))
    list(Optimization(content[..., :64, :64], style[..., :64, :64], steps=1, scales=1, start="content"))
    before = memory_now()
    run = Optimization(content, style, steps=steps, device="cpu")
    for _ in run:
        pass
    run.result().save(RESULTS / "optimization-large.jpg", overwrite=True)
    return {"seconds": run.report.seconds["stylize"], "memory_mb": memory_peak() - before}


def pictures(size: str, style_size: tuple[int, int] | None = None) -> tuple[Tensor, Tensor]:
    wanted = size_of(size)
    return picture(SAMPLES / "lake.jpg", *wanted), picture(SAMPLES / "swirls.jpg", *(style_size or wanted))


def use_encoder(loaded: LoadedEncoder) -> None:
    """Let the optimization see with this encoder."""
    optimize.load_encoder = lambda *_, **__: loaded


def truncated(loaded: LoadedEncoder, level: int) -> LoadedEncoder:
    """Return the first levels of an encoder."""
    encoder = loaded.encoder
    result = Encoder(VGGSpec(level=level, widths=encoder.spec.widths[: len(convs_of_level(level))]))
    names = result.state_dict().keys()
    result.load_state_dict({name: value for name, value in encoder.state_dict().items() if name in names})
    return LoadedEncoder(result, "", loaded.roots and loaded.roots[:level])


def full_encoder(level: int) -> Encoder:
    """Return an encoder of VGG-19's widths, with its true layers as far as they are at hand."""
    torch.manual_seed(0)
    encoder = Encoder(teacher_spec(level))
    if (TEACHERS / VGG).exists():
        known = load_encoder(f"file:{TEACHERS / VGG}").encoder
        encoder.load_state_dict(encoder.state_dict() | known.state_dict())
    return encoder


if __name__ == "__main__":
    main()
