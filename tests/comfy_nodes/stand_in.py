"""A stand-in for `comfy_api.latest`: it keeps what nodes declare and refuses every keyword that host 0.14 lacks.

Signatures are those of 0.14.1. `object_info` gives what the host's route of this name gives; the host test compares.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from enum import Enum
from types import ModuleType, SimpleNamespace
from typing import Any

NODES = (
    "comfy_nodes.nodes",
    "comfy_nodes.nodes_looks",
    "comfy_nodes.nodes_students",
    "comfy_nodes.nodes_styles",
    "comfy_nodes.nodes_training",
    "comfy_nodes.nodes_transfer",
    "comfy_nodes.inputs",
    "comfy_nodes.sockets",
)
"""The modules that declare nodes."""


class Input:
    io_type = ""

    def __init__(self, id, display_name=None, optional=False, tooltip=None, lazy=None, extra_dict=None, raw_link=None,
                 advanced=None):  # fmt: skip
        self.id, self.optional = id, optional
        self.settings = {"display_name": display_name, "tooltip": tooltip, "lazy": lazy, "advanced": advanced}

    def described(self) -> list[Any]:
        return [self.io_type, {k: v for k, v in self.settings.items() if v is not None}]


class WidgetInput(Input):
    def __init__(self, id, display_name=None, optional=False, tooltip=None, lazy=None, default=None, socketless=None,
                 force_input=None, extra_dict=None, raw_link=None, advanced=None, **more):  # fmt: skip
        super().__init__(id, display_name, optional, tooltip, lazy, extra_dict, raw_link, advanced)
        self.settings |= {"default": default, "socketless": socketless, "forceInput": force_input, **more}


class Output:
    io_type = ""

    def __init__(self, id=None, display_name=None, tooltip=None, is_output_list=False):
        self.id, self.tooltip, self.display_name = id, tooltip, display_name or id


class NumberDisplay(str, Enum):
    number = "number"
    slider = "slider"


class ControlAfterGenerate(str, Enum):
    fixed = "fixed"


class Hidden(str, Enum):
    unique_id = "UNIQUE_ID"
    prompt = "PROMPT"
    extra_pnginfo = "EXTRA_PNGINFO"


def Custom(io_type: str, inputs: type[Input] = Input) -> Any:
    return SimpleNamespace(
        io_type=io_type,
        Input=type("Input", (inputs,), {"io_type": io_type}),
        Output=type("Output", (Output,), {"io_type": io_type}),
    )


class _Int(WidgetInput):
    def __init__(self, id, display_name=None, optional=False, tooltip=None, lazy=None, default=None, min=None, max=None,
                 step=None, control_after_generate=None, display_mode=None, socketless=None, force_input=None,
                 extra_dict=None, raw_link=None, advanced=None):  # fmt: skip
        super().__init__(id, display_name, optional, tooltip, lazy, default, socketless, force_input, extra_dict,
                         raw_link, advanced, min=min, max=max, step=step, display=display_mode,
                         control_after_generate=control_after_generate)  # fmt: skip


class _Float(WidgetInput):
    def __init__(self, id, display_name=None, optional=False, tooltip=None, lazy=None, default=None, min=None, max=None,
                 step=None, round=None, display_mode=None, socketless=None, force_input=None, extra_dict=None,
                 raw_link=None, advanced=None):  # fmt: skip
        super().__init__(
            id,
            display_name,
            optional,
            tooltip,
            lazy,
            default,
            socketless,
            force_input,
            extra_dict,
            raw_link,
            advanced,
            min=min,
            max=max,
            step=step,
            display=display_mode,
            round=round,
        )


class _Boolean(WidgetInput):
    def __init__(self, id, display_name=None, optional=False, tooltip=None, lazy=None, default=None, label_on=None,
                 label_off=None, socketless=None, force_input=None, extra_dict=None, raw_link=None,
                 advanced=None):  # fmt: skip
        super().__init__(id, display_name, optional, tooltip, lazy, default, socketless, force_input, extra_dict,
                         raw_link, advanced, label_on=label_on, label_off=label_off)  # fmt: skip


class _String(WidgetInput):
    def __init__(self, id, display_name=None, optional=False, tooltip=None, lazy=None, multiline=False,
                 placeholder=None, default=None, dynamic_prompts=None, socketless=None, force_input=None,
                 extra_dict=None, raw_link=None, advanced=None):  # fmt: skip
        super().__init__(id, display_name, optional, tooltip, lazy, default, socketless, force_input, extra_dict,
                         raw_link, advanced, multiline=multiline, placeholder=placeholder)  # fmt: skip


class _Combo(WidgetInput):
    def __init__(self, id, options=None, display_name=None, optional=False, tooltip=None, lazy=None, default=None,
                 control_after_generate=None, upload=None, image_folder=None, remote=None, socketless=None,
                 extra_dict=None, raw_link=None, advanced=None):  # fmt: skip
        super().__init__(id, display_name, optional, tooltip, lazy, default, socketless, None, extra_dict, raw_link,
                         advanced, multiselect=False, options=options)  # fmt: skip


class _MultiType(Input):
    def __init__(self, id, types, display_name=None, optional=False, tooltip=None, lazy=None, extra_dict=None,
                 raw_link=None, advanced=None):  # fmt: skip
        super().__init__(id, display_name, optional, tooltip, lazy, extra_dict, raw_link, advanced)
        self.io_type = ",".join(kind.io_type for kind in types)


class _DynamicCombo(Input):
    io_type = "COMFY_DYNAMICCOMBO_V3"

    def __init__(self, id, options, display_name=None, optional=False, tooltip=None, lazy=None, extra_dict=None):
        super().__init__(id, display_name, optional, tooltip, lazy, extra_dict)
        self.options = options

    def described(self) -> list[Any]:
        kind, settings = super().described()
        options = [{"key": option.key, "inputs": described(option.inputs)} for option in self.options]
        return [kind, settings | {"options": options}]


class _Option:
    def __init__(self, key, inputs):
        self.key, self.inputs = key, inputs


@dataclass
class Schema:
    node_id: str
    display_name: str | None = None
    category: str = "sd"
    inputs: list[Input] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    hidden: list[Hidden] = field(default_factory=list)
    description: str = ""
    search_aliases: list[str] = field(default_factory=list)
    is_input_list: bool = False
    is_output_node: bool = False
    is_deprecated: bool = False
    is_experimental: bool = False
    is_dev_only: bool = False
    not_idempotent: bool = False
    enable_expand: bool = False
    accept_all_inputs: bool = False


class NodeOutput:
    def __init__(self, *args, ui=None, expand=None, block_execution=None):
        self.args, self.ui = args, ui


class ComfyNode:
    hidden = SimpleNamespace(unique_id="7")


class ComfyExtension:
    async def on_load(self) -> None: ...


def described(inputs: list[Input]) -> dict[str, dict[str, Any]]:
    """Sort inputs as the host does: required ones first."""
    kinds: dict[str, dict[str, Any]] = {}
    for kind in ("required", "optional"):
        chosen = {i.id: i.described() for i in inputs if i.optional == (kind == "optional")}
        if chosen or kind == "required":
            kinds[kind] = chosen
    return kinds


def object_info(node: Any) -> dict[str, Any]:
    schema = node.define_schema()
    return {
        "input": described(schema.inputs),
        "output": [output.io_type for output in schema.outputs],
        "output_name": [output.display_name for output in schema.outputs],
        "output_tooltips": [output.tooltip for output in schema.outputs],
        "name": schema.node_id,
        "display_name": schema.display_name,
        "description": schema.description,
        "category": schema.category,
        "output_node": schema.is_output_node,
        "search_aliases": schema.search_aliases,
    }


def modules(host: Any, register_folders: Any) -> dict[str, ModuleType]:
    """Return the modules that stand in for the host while the nodes are imported."""
    io = SimpleNamespace(
        Image=Custom("IMAGE"), Mask=Custom("MASK"), Int=Custom("INT", _Int), Float=Custom("FLOAT", _Float),
        Boolean=Custom("BOOLEAN", _Boolean), String=Custom("STRING", _String), Combo=Custom("COMBO", _Combo),
        MultiType=SimpleNamespace(Input=_MultiType), Custom=Custom, Schema=Schema, NodeOutput=NodeOutput,
        DynamicCombo=SimpleNamespace(Input=_DynamicCombo, Option=_Option), ComfyNode=ComfyNode, Hidden=Hidden,
        NumberDisplay=NumberDisplay, ControlAfterGenerate=ControlAfterGenerate,
    )  # fmt: skip
    latest = ModuleType("comfy_api.latest")
    latest.io, latest.ComfyExtension = io, ComfyExtension  # type: ignore[attr-defined]
    latest.ui = SimpleNamespace(PreviewImage=lambda image, cls: image)  # type: ignore[attr-defined]
    hosts = ModuleType("comfy_nodes.host")
    hosts.ComfyHost, hosts.register_folders = host, register_folders  # type: ignore[attr-defined]
    package = ModuleType("comfy_api")
    nothing: Any = dict.fromkeys(NODES)
    return {"comfy_api": package, "comfy_api.latest": latest, "comfy_nodes.host": hosts, **nothing}


def forget() -> None:
    """Drop the nodes, so that the next import declares them again."""
    for name in NODES:
        sys.modules.pop(name, None)
