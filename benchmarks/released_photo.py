"""One run of the released TensorFlow code, for side_by_side_photo.py; needs tensorflow-cpu and tf_keras, not torch."""

from __future__ import annotations

import json
import os
import sys
import time
import types
from pathlib import Path

os.environ |= {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}

FOLDERS = {"vgg": "VGG backbone", "mobilenet": "MobileNet backbone"}


def main() -> None:
    options = json.loads(sys.argv[2])
    import numpy as np
    import tensorflow as tf

    content, style = (np.load(f"{options['folder']}/{name}.npy")[None] for name in ("content", "style"))
    stdout, sys.stdout = sys.stdout, sys.stderr
    encoder, decoder, transform = load(Path(options["clone"]) / FOLDERS[options["backbone"]])
    sys.stdout = stdout

    def stylize(content, style):
        styles, skips, x, y = [], [], style, content
        for block in range(4):
            x, _ = encoder(block, x)
            y, skip = encoder(block, y)
            styles.append(x)
            skips.append(skip)
        for block in (3, 2, 1, 0):
            features = styles[block]
            flat = tf.reshape(tf.transpose(features, [0, 3, 1, 2]), [1, features.shape[-1], -1])
            y = decoder(block, transform(y, flat), skip=skips[block])
        return tf.clip_by_value(y, 0, 1)

    stylize(np.random.rand(1, 128, 128, 3).astype("float32"), np.random.rand(1, 128, 128, 3).astype("float32"))
    Path("/proc/self/clear_refs").write_text("5")
    before, times = memory("VmRSS"), []
    for _ in range(2):
        result = None
        begin = time.perf_counter()
        result = stylize(content, style).numpy()
        times.append(time.perf_counter() - begin)
    peak = memory("VmHWM") - before
    np.save(f"{options['folder']}/released.npy", result[0])
    print(json.dumps({"seconds": times, "memory_mb": peak}))


def load(folder: Path):
    """Return encoder, decoder and the demo's transform."""
    import tensorflow as tf

    yacs = types.ModuleType("yacs.config")
    yacs.CfgNode = type("CfgNode", (types.SimpleNamespace,), {})
    sys.modules |= {"yacs": types.ModuleType("yacs"), "yacs.config": yacs}
    mobilenet = tf.keras.applications.mobilenet.MobileNet
    tf.keras.applications.mobilenet.MobileNet = lambda **given: mobilenet(weights=None, **given)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    import utils.lightweight_model as models

    halves = []
    for half in ("Encoder", "Decoder"):
        kind = next(value for name, value in vars(models).items() if name.endswith(f"S{half}"))
        halves.append(kind())
        halves[-1].load_weights(f"ckpts/s{half.lower()}").expect_partial()
    cells = json.loads(Path("demo.ipynb").read_text())["cells"]
    source = next(text for cell in cells if "def stylize_core" in (text := "".join(cell["source"])))
    names: dict = {"tf": tf}
    exec(source, names)
    return *halves, names["stylize_core"]


def memory(entry: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(entry)) / 1024


if __name__ == "__main__":
    main()
