"""The pack in a real ComfyUI: COMFYUI_DIR names a checkout, COMFYUI_PYTHON its interpreter if it has its own."""

import json
import os
import shutil
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.comfyui import ComfyUI, error_of, node, prompt_of

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / "example_workflows").glob("*.json"))

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif("COMFYUI_DIR" not in os.environ, reason="needs a ComfyUI checkout, named by COMFYUI_DIR"),
]

SETTINGS = {"strength": 1.0, "keep_color": "off", "statistics": "per frame", "depth": 5, "style_scale": 1.0, "tile": 0}


@pytest.fixture(scope="module")
def comfy(tmp_path_factory):
    folder = tmp_path_factory.mktemp("comfyui")
    theirs = folder / "theirs"
    theirs.mkdir()
    (theirs / "broken.safetensors").write_bytes(b"\xff" * 100)
    (theirs / "readme.txt").write_text("not a model")
    (folder / "paths.yaml").write_text(f"mine:\n  base_path: {folder}\n  style_transfer: theirs/\n")
    with ComfyUI(folder, "--extra-model-paths-config", str(folder / "paths.yaml")) as host:
        yield host


def stylized(content: list, mask: list | None = None, *, save_as: str = "out", **settings) -> dict:
    """A prompt that stylizes and saves; node 9 is the output."""
    settings = SETTINGS | settings | ({} if mask is None else {"mask": mask})
    return {
        "1": node("StylePluginLoadModel", model_name="cd-adain.x16"),
        "2": node("StylePluginSample", name="lake"),
        "3": node("StylePluginSample", name="swirls"),
        "8": node("StylePluginTransfer", content=content, style=["3", 0], model=["1", 0], **settings),
        "9": node("SaveImage", images=["8", 0], filename_prefix=save_as),
    }


def saved(comfy: ComfyUI, history: dict, output: str = "9") -> np.ndarray:
    assert error_of(history)[0] == "execution_success", error_of(history)
    (image,) = history["outputs"][output]["images"]
    return np.asarray(Image.open(comfy.folder / "output" / image["subfolder"] / image["filename"]))


def test_the_host_sees_what_the_stand_in_says(comfy, nodes):
    info = comfy.get("/object_info")
    found = {name for name in info if name.startswith("StylePlugin")}
    declared = {name: nodes.stand_in.object_info(node) for name, node in nodes.by_id.items()}
    assert set(declared) == found
    files = comfy.get("/object_info/StylePluginLoadModel")["StylePluginLoadModel"]["input"]["required"]["model_name"][1]
    assert files["options"][-1] == "broken.safetensors"
    assert "readme.txt" not in files["options"]
    for name, expected in json.loads(json.dumps(declared)).items():
        given = {key: info[name][key] for key in expected}
        given["input"] = {kind: given["input"][kind] for kind in expected["input"]}
        for combo in {"model_name", "teacher_name"} & set(given["input"]["required"]):
            given["input"]["required"][combo][1]["options"].pop()
        assert given == expected, name
        assert not info[name]["python_module"].startswith("comfy")


def test_the_page_gets_help_words_and_examples(comfy):
    assert "StylePluginTransfer" in comfy.get("/i18n")["ja"]["nodeDefs"]
    assert set(comfy.get("/workflow_templates")["styleplugin"]) == {path.stem for path in WORKFLOWS}
    request = f"http://127.0.0.1:{comfy.port}/extensions/styleplugin/docs/StylePluginTransfer.md"
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.read().decode().startswith("# Style Transfer (Fast)")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_example_runs_to_the_end(comfy, path):
    history = comfy.run(prompt_of(json.loads(path.read_text())))
    assert error_of(history)[0] == "execution_success", error_of(history)
    for output in history["outputs"].values():
        for image in output["images"]:
            file = comfy.folder / image["type"] / image["subfolder"] / image["filename"]
            assert np.asarray(Image.open(file)).std() > 10


def test_strength_0_gives_the_content_and_runs_neither_style_nor_model(comfy):
    prompt = stylized(["2", 0], strength=0.0)
    prompt["1"]["inputs"]["model_name"] = "broken.safetensors"
    content = np.asarray(Image.open(ROOT / "styleplugin" / "samples" / "lake.jpg"))
    assert np.abs(saved(comfy, comfy.run(prompt)).astype(int) - content).max() <= 1


def test_T14_the_mask_of_load_image_keeps_or_blackens(comfy):
    rgba = np.random.default_rng(0).integers(0, 256, (96, 128, 4), dtype=np.uint8)
    rgba[..., 3] = 255
    Image.fromarray(rgba[..., :3]).save(comfy.folder / "input" / "opaque.png")
    rgba[:, :64, 3] = 0
    Image.fromarray(rgba).save(comfy.folder / "input" / "holes.png")
    opaque = saved(comfy, comfy.run(stylized(["4", 0], ["4", 1]) | {"4": node("LoadImage", image="opaque.png")}))
    assert np.array_equal(opaque, rgba[..., :3])
    holes = saved(comfy, comfy.run(stylized(["4", 0], ["4", 1]) | {"4": node("LoadImage", image="holes.png")}))
    assert np.array_equal(holes[:, 64:], rgba[:, 64:, :3])
    assert not np.array_equal(holes[:, :64], rgba[:, :64, :3])


def test_T12_content_with_alpha_keeps_it(comfy):
    prompt = stylized(["5", 0]) | {
        "4": node("SolidMask", value=0.25, width=960, height=640),
        "5": node("JoinImageWithAlpha", image=["2", 0], alpha=["4", 0]),
    }
    alpha = saved(comfy, comfy.run(prompt))[..., 3]
    assert abs(alpha.astype(int) - 191).max() <= 1


def test_a_style_of_one_pixel_and_a_look_run(comfy):
    prompt = stylized(["2", 0]) | {"3": node("EmptyImage", width=1, height=1, batch_size=1, color=255)}
    assert saved(comfy, comfy.run(prompt)).shape == (640, 960, 3)


def test_T18_wrong_input_is_refused_in_words_and_the_host_goes_on(comfy):
    broken = stylized(["2", 0])
    broken["1"]["inputs"]["model_name"] = "broken.safetensors"
    kind, text = error_of(comfy.run(broken))
    assert kind == "execution_error"
    assert "broken.safetensors is not a safetensors file" in text
    assert str(comfy.folder) not in text
    masks = stylized(["2", 0], ["4", 0])
    masks["4"] = node("ImageToMask", image=["6", 0], channel="red")
    masks["6"] = node("EmptyImage", width=64, height=64, batch_size=3, color=0xFFFFFF)
    kind, text = error_of(comfy.run(masks))
    assert "There are 3 masks for 1 pictures" in text
    photo = stylized(["2", 0])
    photo["8"] = node("StylePluginPhotoTransfer", content=["2", 0], style=["3", 0], model=["1", 0], strength=1.0,
                      keep_color="off", keep_luminance=False, statistics="per frame", smooth=0, style_scale=1.0,
                      tile=0)  # fmt: skip
    assert "this node needs a photorealistic one" in error_of(comfy.run(photo))[1]
    gone = stylized(["2", 0])
    gone["1"]["inputs"]["model_name"] = "gone.safetensors"
    assert "Value not in list" in json.dumps(comfy.post("/prompt", {"prompt": gone}))
    assert "bigger than max" in json.dumps(comfy.post("/prompt", {"prompt": stylized(["2", 0], strength=7.0)}))
    outside = stylized(["2", 0]) | {
        "6": node("StylePluginEncodeStyle", image=["3", 0], model=["1", 0], style_scale=1.0),
        "7": node("StylePluginSaveStyle", style=["6", 0], filename_prefix="../../away"),
    }
    assert "cannot name a file in the output folder" in error_of(comfy.run(outside))[1]
    assert saved(comfy, comfy.run(stylized(["2", 0], save_as="after"))).shape == (640, 960, 3)


def test_T19_cancel_stops_a_run_and_the_next_one_works(comfy):
    prompt = stylized(["4", 0]) | {"4": node("EmptyImage", width=6000, height=4000, batch_size=4, color=8421504)}
    prompt_id = comfy.start(prompt)
    time.sleep(2)
    comfy.post("/interrupt", {})
    assert error_of(comfy.wait(prompt_id))[0] == "execution_interrupted"
    assert saved(comfy, comfy.run(stylized(["2", 0], save_as="again"))).shape == (640, 960, 3)


def optimized(steps: int, save_as: str) -> dict:
    """A prompt that optimizes a sample picture and saves."""
    settings = {"steps": steps, "style_weight": 10.0, "content_weight": 1.0, "start": "content", "keep_color": "off",
                "style_loss": "gram", "smoothness_weight": 5.0, "scales": 2, "optimizer": "lbfgs", "style_scale": 1.0,
                "seed": 0, "tile": 0}  # fmt: skip
    return {
        "2": node("StylePluginSample", name="lake"),
        "3": node("StylePluginSample", name="swirls"),
        "8": node("StylePluginOptimize", content=["2", 0], style=["3", 0], **settings),
        "9": node("SaveImage", images=["8", 0], filename_prefix=save_as),
    }


def test_the_optimization_runs_and_cancel_stops_it(comfy):
    assert saved(comfy, comfy.run(optimized(4, "optimized"))).std() > 10
    prompt_id = comfy.start(optimized(5000, "never"))
    time.sleep(8)
    comfy.post("/interrupt", {})
    assert error_of(comfy.wait(prompt_id))[0] == "execution_interrupted"
    assert saved(comfy, comfy.run(optimized(3, "afterwards"))).shape == (640, 960, 3)


def distilled(minutes: float, run_name: str) -> dict:
    """A prompt that trains a tiny student, saves it, and paints with it."""
    settings = {"level": 3, "minutes": minutes, "width": 0.125, "crop": 64, "batch": 4, "seed": 0}
    return stylized(["2", 0], save_as=run_name) | {
        "1": node("StylePluginDistillAdaIN", teacher=["4", 0], photos=["5", 0], paintings=["6", 0], run_name=run_name,
                  **settings),
        "4": node("StylePluginLoadTeacher", teacher_name="cd-wct.x16", source=""),
        "5": node("StylePluginPictureFolder", folder="mine"),
        "6": node("StylePluginPictureFolder", folder="example paintings"),
        "7": node("StylePluginSaveStudent", model=["1", 0], filename_prefix=f"style_transfer/{run_name}",
                  even_if_failed=True),
    }  # fmt: skip


def test_a_student_is_distilled_from_a_folder_and_cancel_stops_within_a_second(comfy):
    shutil.copytree(ROOT / "docs" / "images" / "training" / "photos", comfy.folder / "input" / "mine")
    prompt_id = comfy.start(distilled(5.0, "stopped"))
    runs = comfy.folder / "output" / "style_training"
    end = time.monotonic() + 120
    while not list(runs.glob("stopped-*/best.safetensors")) and time.monotonic() < end:
        time.sleep(0.2)
    pressed = time.monotonic()
    comfy.post("/interrupt", {})
    assert error_of(comfy.wait(prompt_id))[0] == "execution_interrupted"
    assert time.monotonic() - pressed < 1
    assert saved(comfy, comfy.run(distilled(0.3, "own"))).std() > 10
    models = comfy.get("/object_info")["StylePluginLoadModel"]["input"]["required"]["model_name"][1]["options"]
    assert {"own_00001_.safetensors", "stopped-best_00001_.safetensors"} <= set(models)
    assert saved(comfy, comfy.run(stylized(["2", 0], save_as="after-training"))).shape == (640, 960, 3)


def test_files_that_appear_are_listed_and_loaded(comfy):
    # Under a name of its own: an output that is cached as a whole is not in the history.
    prompt = stylized(["2", 0], save_as="kept") | {
        "6": node("StylePluginEncodeStyle", image=["3", 0], model=["1", 0], style_scale=1.0),
        "7": node("StylePluginSaveStyle", style=["6", 0], filename_prefix="style_transfer/kept"),
        "5": node("StylePluginExportLook", content=["2", 0], stylized=["8", 0], size="17", filename_prefix="luts/kept"),
    }
    expected = saved(comfy, comfy.run(prompt))
    loaders = comfy.get("/object_info")
    styles = loaders["StylePluginLoadStyle"]["input"]["required"]["style_name"][1]["options"]
    looks = loaders["StylePluginLoadLook"]["input"]["required"]["look_name"][1]["options"]
    assert "kept_00001_.style.safetensors" in styles
    assert "kept_00001_.cube" in looks
    models = loaders["StylePluginLoadModel"]["input"]["required"]["model_name"][1]["options"]
    assert not any(name.endswith(".style.safetensors") for name in models)
    prompt = stylized(["2", 0]) | {"3": node("StylePluginLoadStyle", style_name="kept_00001_.style.safetensors")}
    again = saved(comfy, comfy.run(prompt))
    assert np.abs(again.astype(int) - expected).max() <= 1
    look = {
        "2": node("StylePluginSample", name="lake"),
        "3": node("StylePluginLoadLook", look_name="kept_00001_.cube"),
        "8": node("StylePluginApplyLook", image=["2", 0], look=["3", 0]),
        "9": node("SaveImage", images=["8", 0], filename_prefix="look"),
    }
    assert saved(comfy, comfy.run(look)).shape == (640, 960, 3)


def test_T05_a_host_of_half_precision_works(comfy, tmp_path):
    if tuple(map(int, comfy.version.split(".")[:2])) < (0, 18):
        pytest.skip("this host has no half-precision pictures")
    with ComfyUI(tmp_path, "--fp16-intermediates") as host:
        half = saved(host, host.run(stylized(["2", 0], save_as="half")))
    full = saved(comfy, comfy.run(stylized(["2", 0], save_as="full")))
    assert np.abs(half.astype(int) - full).mean() < 1
