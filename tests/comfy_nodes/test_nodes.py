"""What the nodes declare, and that each runs, against a stand-in for the host's interface."""

import ast
import asyncio
import json
import os
from pathlib import Path

import pytest
import torch

from comfy_nodes.logic.styles import embedded_models
from styleplugin.options import FrameOptions, StylizeOptions, help_of

ROOT = Path(__file__).parents[2]
SNAPSHOT = Path(__file__).parent / "schemas.json"
SOURCES = sorted((ROOT / "comfy_nodes").glob("nodes*.py"))

pytestmark = pytest.mark.filterwarnings("ignore::styleplugin.StylePluginWarning")


def listed(nodes) -> list:
    extension = nodes.StylePluginExtension()
    return asyncio.run(extension.get_node_list())


def inputs_of(schema) -> list:
    """All inputs, those inside dynamic ones too."""
    found = []
    for declared in schema.inputs:
        found.append(declared)
        for option in getattr(declared, "options", []):
            found += option.inputs
    return found


def interface(info: dict) -> dict:
    """What workflows on people's disks depend on: everything but the words that are only read."""

    def plain(kinds: dict) -> dict:
        return {
            kind: {name: stripped(*described) for name, described in inputs.items()} for kind, inputs in kinds.items()
        }

    def stripped(kind: str, settings: dict) -> list:
        kept = {k: v for k, v in settings.items() if k != "tooltip"}
        if "options" in kept and kind == "COMFY_DYNAMICCOMBO_V3":
            kept["options"] = [{"key": o["key"], "inputs": plain(o["inputs"])} for o in kept["options"]]
        return [kind, kept]

    return {
        "inputs": plain(info["input"]),
        "order": {kind: list(inputs) for kind, inputs in info["input"].items()},
        "outputs": list(zip(info["output"], info["output_name"], strict=True)),
    }


def test_the_schemas_are_those_of_the_snapshot(nodes):
    """Ids, order, types, words and defaults never change; a new node or input is added to the snapshot on purpose.

    STYLEPLUGIN_WRITE_SNAPSHOT=1 pytest tests/comfy_nodes/test_nodes.py
    """
    found = {node.define_schema().node_id: interface(nodes.stand_in.object_info(node)) for node in listed(nodes)}
    text = json.dumps(found, indent=1)
    if os.environ.get("STYLEPLUGIN_WRITE_SNAPSHOT"):
        SNAPSHOT.write_text(text + "\n")
    assert json.loads(text) == json.loads(SNAPSHOT.read_text())


def test_every_node_is_described_in_full(nodes):
    ids = set()
    for node in listed(nodes):
        schema = node.define_schema()
        ids.add(schema.node_id)
        assert schema.node_id.startswith("StylePlugin")
        assert schema.node_id == node.__name__
        assert schema.display_name
        assert schema.category.startswith("image/style transfer")
        assert schema.description.endswith(".")
        assert schema.search_aliases
        assert all(output.tooltip and output.id for output in schema.outputs)
        for declared in inputs_of(schema):
            settings = declared.settings
            assert settings["tooltip"], (schema.node_id, declared.id)
            if settings.get("min") is not None:
                assert settings["min"] <= settings["default"] <= settings["max"]
            if settings.get("options") and settings["default"] is not None:
                assert settings["default"] in settings["options"]
        visible = [i for i in schema.inputs if hasattr(i, "settings") and not i.settings["advanced"] and not i.optional]
        assert len(visible) <= 8
    assert len(ids) == len(listed(nodes))


def test_the_manager_finds_the_nodes_in_the_source(nodes):
    """It reads classes whose base is spelled ComfyNode, and a literal node_id in Schema(...)."""
    found = []
    for cls in (cls for source in SOURCES for cls in ast.walk(ast.parse(source.read_text()))):
        if isinstance(cls, ast.ClassDef) and any(ast.unparse(base) == "io.ComfyNode" for base in cls.bases):
            calls = [c for c in ast.walk(cls) if isinstance(c, ast.Call) and ast.unparse(c.func) == "io.Schema"]
            found += [k.value.value for c in calls for k in c.keywords if k.arg == "node_id"]
    assert sorted(found) == sorted(node.define_schema().node_id for node in listed(nodes))
    assert not any("NODE_CLASS_MAPPINGS" in source.read_text() for source in SOURCES)


def test_options_are_described_as_in_the_core(nodes):
    declared = {i.id: i.settings for i in inputs_of(nodes.StylePluginPhotoTransfer.define_schema())}
    for name, cls in (("strength", StylizeOptions), ("smooth", StylizeOptions), ("frame", FrameOptions)):
        assert declared[name]["tooltip"] == help_of(cls, name)
    assert (declared["smooth"]["min"], declared["smooth"]["max"]) == (0, 64)
    assert declared["keep_color"]["options"] == ["off", "luminance", "lab"]
    *_, palette, grain = nodes.StylePluginTransfer.define_schema().inputs
    assert (palette.id, palette.optional, palette.settings["default"]) == ("palette", True, "auto")
    assert palette.settings["options"] == ["auto", "off", "map", "level1", "level2"]
    assert (grain.id, grain.optional, grain.settings["default"], grain.settings["max"]) == ("grain", True, 1.0, 2)


def test_every_node_runs(nodes):
    model = nodes.StylePluginLoadModel.execute("pca-photo.mobilenet").args[0]
    content = nodes.StylePluginSample.execute("lake").args[0][:, :64, :96]
    other = nodes.StylePluginSample.execute("waves").args[0][:, :64, :96]
    first, second = (nodes.StylePluginEncodeStyle.execute(x, model, 1.0).args[0] for x in (content, other))
    mixed = {"styles": "2", "style_1": first, "weight_1": 0.25, "style_2": second, "weight_2": 0.75}
    style = nodes.StylePluginMixStyles.execute(mixed).args[0]
    assert style.name.startswith("0.25")
    assert nodes.StylePluginSaveStyle.execute(style, "a/mix").args[0] is style
    again = nodes.StylePluginLoadStyle.execute("mix_00001_.style.safetensors").args[0]
    # The host hands over dynamic inputs as one dictionary.
    for statistics in ({"statistics": "per frame"}, {"statistics": "one frame", "frame": 0}):
        # It names all that it hands over, and nothing for what is not connected.
        given = {"content": content, "statistics": statistics, "style": again, "model": model}
        given |= {"strength": 1.0, "keep_color": "off", "style_scale": 1.0, "tile": 0}
        fast = nodes.StylePluginTransfer.execute(depth=5, palette="auto", grain=1.0, **given).args[0]
        photo = nodes.StylePluginPhotoTransfer.execute(
            keep_luminance=False, smooth=0, mask=torch.ones(1, 64, 96), **given
        ).args[0]
        assert torch.equal(fast, photo)
    look, errors, report = nodes.StylePluginExportLook.execute(content, fast, "17", "luts/look").args
    assert errors.shape == content.shape
    assert "mean" in report
    loaded = nodes.StylePluginLoadLook.execute("look_00001_.cube").args[0]
    assert torch.allclose(loaded.table, look.table, atol=1e-5)
    assert nodes.StylePluginApplyLook.execute(content, loaded).args[0].shape == content.shape
    assert nodes.the_host.said


def test_style_and_model_are_asked_for_only_if_they_are_needed(nodes):
    for node in (nodes.StylePluginTransfer, nodes.StylePluginPhotoTransfer):
        assert node.check_lazy_status(strength=0.0, content=None) == []
        assert node.check_lazy_status(strength=0.5, content=None) == ["style", "model"]
        assert node.check_lazy_status(strength=0.5, style=1, keep_color="off") == ["model"]
        lazy = {i.id for i in node.define_schema().inputs if i.settings["lazy"]}
        assert lazy == {"style", "model"}


def test_loaders_run_again_when_their_file_changes_and_never_raise(nodes, tmp_path):
    (tmp_path / "a.cube").write_text("1")
    before = nodes.StylePluginLoadLook.fingerprint_inputs("a.cube")
    os.utime(tmp_path / "a.cube", ns=(1, 1))
    assert before != nodes.StylePluginLoadLook.fingerprint_inputs("a.cube")
    assert nodes.StylePluginLoadStyle.fingerprint_inputs("gone") is None
    assert nodes.StylePluginLoadModel.fingerprint_inputs("cd-wct.x16") is None


def test_T18_an_empty_model_folder_leaves_the_embedded_models(nodes):
    (combo,) = nodes.StylePluginLoadModel.define_schema().inputs
    assert combo.settings["options"] == embedded_models()
    (combo,) = nodes.StylePluginLoadStyle.define_schema().inputs
    assert combo.settings["options"] == []


def test_a_keyword_that_host_0_14_lacks_is_refused(nodes):
    with pytest.raises(TypeError):
        nodes.io.Schema(node_id="x", essentials_category="y")
    with pytest.raises(TypeError):
        nodes.io.Int.Input("x", gradient=1)
