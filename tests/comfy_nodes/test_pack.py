"""The repository as a node pack: entry, help, words, examples, packaging."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
SCHEMAS = json.loads((Path(__file__).parent / "schemas.json").read_text())
LANGUAGES = ("en", "zh", "ja")
WORKFLOWS = sorted((ROOT / "example_workflows").glob("*.json"))

CORE_NODES = {"SaveImage", "PreviewImage", "SolidMask", "FeatherMask", "SaveAnimatedWEBP", "MarkdownNote"}
"""Nodes of the host, there since before 0.14, that examples may use."""

FORBIDDEN = ("torch", "torchvision", "torchaudio", "numpy", "pillow", "safetensors", "opencv")

ENTRY = """
import importlib.util, sys
from pathlib import Path
import torch

def state():
    found = [importlib.util.find_spec(name) is None for name in ("tests", "weights", "comfy_nodes")]
    return list(sys.path), found, torch.get_num_threads(), torch.is_grad_enabled(), torch.initial_seed()

before = state()
folder = Path(sys.argv[1])
# As the host does it: a module named by its path, with dots replaced.
for _ in range(2):
    name = str(folder).replace(".", "_x_")
    spec = importlib.util.spec_from_file_location(name, folder / "__init__.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
import styleplugin
assert Path(styleplugin.__file__).parent == folder / "styleplugin", styleplugin.__file__
assert callable(module.comfy_entrypoint)
assert (folder / module.WEB_DIRECTORY / "docs").is_dir()
assert not hasattr(module, "NODE_CLASS_MAPPINGS")
assert before == state()
assert "comfy_api" not in sys.modules and "gradio" not in sys.modules and "huggingface_hub" not in sys.modules
assert styleplugin.list_models()
"""


@pytest.mark.slow
def test_T20_the_pack_loads_like_in_the_host_under_any_name_and_changes_nothing(tmp_path):
    pack = tmp_path / "a pack v1.0"
    pack.mkdir()
    for name in ("__init__.py", "comfy_nodes", "styleplugin", "weights"):
        (pack / name).symlink_to(ROOT / name)
    done = subprocess.run(
        [sys.executable, "-c", ENTRY, str(pack)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == done.stderr == ""


def test_a_core_that_fails_to_load_leaves_no_trace(tmp_path):
    (tmp_path / "styleplugin").mkdir()
    (tmp_path / "styleplugin" / "__init__.py").write_text("raise RuntimeError('broken')")
    (tmp_path / "__init__.py").write_text((ROOT / "__init__.py").read_text())
    script = (
        "import importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('pack', {str(tmp_path / '__init__.py')!r})\n"
        "module = importlib.util.module_from_spec(spec)\n"
        "try:\n    spec.loader.exec_module(module)\n"
        "except RuntimeError:\n    sys.exit('styleplugin' in sys.modules)\n"
        "sys.exit(3)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=False).returncode == 0


def test_every_node_has_a_help_page_and_no_page_is_left_over():
    pages = {path.stem: path for path in (ROOT / "comfy_nodes" / "web" / "docs").glob("*.md")}
    assert set(pages) == set(SCHEMAS)
    for page in pages.values():
        assert page.read_text().startswith("# ")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_word_is_translated(language):
    words = json.loads((ROOT / "locales" / language / "nodeDefs.json").read_text())
    assert set(words) == set(SCHEMAS)
    for node, schema in SCHEMAS.items():
        given = words[node]
        assert given["display_name"]
        assert given["description"]
        # Inputs inside a dynamic one are found as OUTER_INNER.
        ids = set()
        for kind in schema["inputs"].values():
            for name, (_, settings) in kind.items():
                ids.add(name)
                for option in settings.get("options", []):
                    if isinstance(option, dict):
                        ids |= {f"{name}_{inner}" for inputs in option["inputs"].values() for inner in inputs}
        assert set(given["inputs"]) == ids
        assert all(entry["name"] and entry["tooltip"] for entry in given["inputs"].values())
        assert set(given["outputs"]) == {str(i) for i in range(len(schema["outputs"]))}
        assert all(entry["name"] and entry["tooltip"] for entry in given["outputs"].values())


def test_the_english_words_are_those_of_the_nodes(nodes):
    words = json.loads((ROOT / "locales" / "en" / "nodeDefs.json").read_text())
    for name, given in words.items():
        schema = nodes.by_id[name].define_schema()
        assert given["display_name"] == schema.display_name
        assert given["description"] == schema.description
        for declared in schema.inputs:
            assert given["inputs"][declared.id]["tooltip"] == declared.settings["tooltip"]
        for i, output in enumerate(schema.outputs):
            assert given["outputs"][str(i)]["tooltip"] == output.tooltip


def test_the_other_languages_are_not_english():
    english, *others = (json.loads((ROOT / "locales" / x / "nodeDefs.json").read_text()) for x in LANGUAGES)
    for words in others:
        for node, given in words.items():
            assert given["description"] != english[node]["description"]
            for name, entry in given["inputs"].items():
                assert entry["tooltip"] != english[node]["inputs"][name]["tooltip"]


def test_there_are_examples_of_all_that_the_pack_does():
    assert len(WORKFLOWS) >= 4
    used = {node["type"] for path in WORKFLOWS for node in json.loads(path.read_text())["nodes"]}
    # Those that read files of the user, use the network, or are siblings of one that is shown.
    others = {"LoadStyle", "LoadLook", "PullModel", "PublishStudent", "PreviewTraining"}
    others |= {"DistillWCT", "DistillPhoto", "DistillKBStyle"}
    assert used >= set(SCHEMAS) - {f"StylePlugin{name}" for name in others}
    for path in WORKFLOWS:
        assert path.with_suffix(".jpg").stat().st_size < 100_000


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_an_example_fits_the_nodes(path):
    workflow = json.loads(path.read_text())
    nodes = {node["id"]: node for node in workflow["nodes"]}
    for node in nodes.values():
        assert node["type"] in SCHEMAS or node["type"] in CORE_NODES
        if node["type"] in SCHEMAS:
            assert node["properties"]["cnr_id"] == "styleplugin"
            _check_values(SCHEMAS[node["type"]], node)
    for _, source, output, target, place, kind in workflow["links"]:
        assert kind in nodes[target]["inputs"][place]["type"].split(",") or kind == "*"
        assert nodes[source]["outputs"][output]["type"] == kind
    text = path.read_text()
    assert str(ROOT) not in text
    assert not re.search(r"https?://", text)


def _check_values(schema: dict, node: dict) -> None:
    """Widget values are stored by position: each must be one that its widget takes."""
    values = list(node.get("widgets_values") or [])
    sockets = {entry["name"] for entry in node["inputs"]}
    for kind in schema["inputs"].values():
        for name, described in kind.items():
            _take(name, described, values, sockets)
    assert not values


def _take(name: str, described: list, values: list, sockets: set) -> None:
    kind, settings = described
    assert name in sockets
    if kind in ("INT", "FLOAT"):
        assert settings["min"] <= values.pop(0) <= settings["max"]
        if "control_after_generate" in settings:
            assert values.pop(0) == settings["control_after_generate"] == "fixed"
    elif kind == "BOOLEAN":
        assert isinstance(values.pop(0), bool)
    elif kind == "STRING":
        assert isinstance(values.pop(0), str)
    elif kind == "COMBO":
        assert values.pop(0) in settings["options"]
    elif kind == "COMFY_DYNAMICCOMBO_V3":
        key = values.pop(0)
        (option,) = (option for option in settings["options"] if option["key"] == key)
        for inputs in option["inputs"].values():
            for inner, inside in inputs.items():
                _take(f"{name}.{inner}", inside, values, sockets)


def test_G12_the_host_installs_nothing():
    lines = [line.strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    wanted = [line for line in lines if line and not line.startswith("#")]
    assert len(wanted) <= 2
    for line in wanted:
        assert re.fullmatch(r"[A-Za-z0-9_.-]+(>=[0-9.]+)?", line)
        assert not line.lower().startswith(FORBIDDEN)
    assert not (ROOT / "install.py").exists()


def test_the_registry_finds_what_it_needs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    name = project["project"]["name"]
    assert re.fullmatch(r"[a-z][a-z0-9._-]{0,98}", name)
    assert "comfyui" not in name
    assert project["project"]["license"] == {"text": "MIT"}
    assert project["tool"]["comfy"]["requires-comfyui"] == ">=0.14.0"
    assert project["tool"]["comfy"]["DisplayName"]


def test_the_archive_leaves_out_what_the_host_does_not_need_and_keeps_the_rest():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    given = (line.strip() for line in (ROOT / ".comfyignore").read_text().splitlines())
    ignored = tuple(line.rstrip("*") for line in given if line and not line.startswith("#"))
    kept = [name for name in tracked.stdout.splitlines() if not name.startswith(ignored)]
    folders = {name.split("/")[0] for name in kept}
    assert folders >= {"__init__.py", "comfy_nodes", "styleplugin", "weights", "locales", "example_workflows", "docs"}
    assert not folders & {"tests", "benchmarks", ".ci", "scripts"}
    assert "styleplugin/samples/lake.jpg" in kept
    assert sum((ROOT / name).stat().st_size for name in kept) < 12 << 20
