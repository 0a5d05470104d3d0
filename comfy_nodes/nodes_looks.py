# pyright: reportMissingImports=false
"""Nodes for looks, and sample pictures; see `nodes` for the rules of what may never change."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .host import ComfyHost
from .inputs import filename_prefix
from .logic.interface import LOOK_SUFFIX
from .logic.looks import apply_look, export_look, load_look
from .logic.samples import sample, samples
from .sockets import CATEGORY, LOADERS, LookTable, host_of


class StylePluginExportLook(io.ComfyNode):
    """See `logic.looks.export_look`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StylePluginExportLook",
            display_name="Export Look",
            category=CATEGORY,
            description="Fit a color table to a stylization and write it as a .cube file for video editors and ffmpeg.",
            search_aliases=["LUT", "cube", "color table", "3D LUT", "export LUT"],
            inputs=[
                io.Image.Input("content", tooltip="The picture before."),
                io.Image.Input("stylized", tooltip="The same picture after, best from Photo Style Transfer."),
                io.Combo.Input(
                    "size",
                    options=["17", "33", "65"],
                    default="33",
                    tooltip="Nodes of an axis; 33 suits most programs.",
                ),
                filename_prefix("luts/look", "Load Look"),
            ],
            outputs=[
                LookTable.Output("look", tooltip="For Apply Look."),
                io.Image.Output("errors", tooltip="Where the table differs from the stylization: white is 10 or more."),
                io.String.Output("report", tooltip="How much the table cannot carry, in CIEDE2000."),
            ],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, content: Any, stylized: Any, size: str, filename_prefix: str) -> io.NodeOutput:
        return io.NodeOutput(*export_look(host_of(cls), content, stylized, int(size), filename_prefix))


class StylePluginLoadLook(io.ComfyNode):
    """See `logic.looks.load_look`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StylePluginLoadLook",
            display_name="Load Look",
            category=LOADERS,
            description="Load a color table (.cube) of models/luts or output/luts.",
            search_aliases=["LUT", "cube", "load LUT"],
            inputs=[
                io.Combo.Input(
                    "look_name",
                    options=ComfyHost().files(LOOK_SUFFIX),
                    tooltip="Written by Export Look or by another program; press R to list new files.",
                )
            ],
            outputs=[LookTable.Output("look", tooltip="For Apply Look.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(cls, look_name: str) -> Any:
        return ComfyHost().fingerprint(look_name)

    @classmethod
    def execute(cls, look_name: str) -> io.NodeOutput:
        return io.NodeOutput(load_look(host_of(cls), look_name))


class StylePluginApplyLook(io.ComfyNode):
    """See `logic.looks.apply_look`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StylePluginApplyLook",
            display_name="Apply Look",
            category=CATEGORY,
            description="Give pictures the colors of a color table.",
            search_aliases=["LUT", "cube", "apply LUT", "color grading"],
            inputs=[
                io.Image.Input("image", tooltip="Any pictures; alpha is left alone."),
                LookTable.Input("look", tooltip="From Load Look or Export Look."),
            ],
            outputs=[io.Image.Output("image", tooltip="The pictures in the colors of the look.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, image: Any, look: Any) -> io.NodeOutput:
        return io.NodeOutput(apply_look(host_of(cls), image, look))


class StylePluginSample(io.ComfyNode):
    """See `logic.samples.sample`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StylePluginSample",
            display_name="Sample Picture",
            category=LOADERS,
            description="A small picture or clip that came with the pack, to try things out.",
            search_aliases=["example image", "test picture"],
            inputs=[
                io.Combo.Input(
                    "name",
                    options=samples(),
                    default="lake",
                    tooltip="Names with a number of frames are short clips.",
                )
            ],
            outputs=[io.Image.Output("image", tooltip="A picture, or the frames of a clip.")],
        )

    @classmethod
    def execute(cls, name: str) -> io.NodeOutput:
        return io.NodeOutput(sample(ComfyHost(), name))
