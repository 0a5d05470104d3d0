# pyright: reportMissingImports=false
"""Nodes for models and styles; see `nodes` for the rules of what may never change."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from styleplugin import StylizeOptions

from .host import ComfyHost
from .inputs import filename_prefix, number_of, weighted_styles
from .logic.interface import MODEL_SUFFIX, STYLE_SUFFIX
from .logic.styles import encode, load_model, load_style, mix, save_style
from .sockets import CATEGORY, LOADERS, StyleCode, StyleModel, host_of

MAX_STYLES = 8


class StylePluginLoadModel(io.ComfyNode):
    """See `logic.styles.load_model`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StylePluginLoadModel",
            display_name="Load Style Model",
            category=LOADERS,
            description="Load a style transfer model: one that came with the pack, or a file of models/style_transfer.",
            search_aliases=["style transfer model", "WCT", "AdaIN", "photorealistic", "PCA", "distillation"],
            inputs=[
                io.Combo.Input(
                    "model_name",
                    options=ComfyHost().files(MODEL_SUFFIX),
                    tooltip="cd-wct: rich strokes and textures; cd-adain, kbstyle: quick; pca-photo: photographs stay "
                    "so.",
                )
            ],
            outputs=[StyleModel.Output("model", tooltip="For Encode Style and the transfer nodes.")],
        )

    @classmethod
    def fingerprint_inputs(cls, model_name: str) -> Any:
        return ComfyHost().fingerprint(model_name)

    @classmethod
    def execute(cls, model_name: str) -> io.NodeOutput:
        return io.NodeOutput(load_model(ComfyHost(), model_name))


class StylePluginEncodeStyle(io.ComfyNode):
    """See `logic.styles.encode`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StylePluginEncodeStyle",
            display_name="Encode Style",
            category=CATEGORY,
            description="Measure a style picture once: to mix it with others, to save it, or to use only a part of it.",
            search_aliases=["style code", "style statistics", "prepare style"],
            inputs=[
                io.Image.Input("image", tooltip="The style picture; the pictures of a batch count alike."),
                StyleModel.Input("model", tooltip="The model the style is for."),
                number_of("style_scale", StylizeOptions, advanced=True),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="White parts of the picture are measured, black ones are not. The mask of Load Image is "
                    "white where the file is transparent: invert it.",
                ),
            ],
            outputs=[
                StyleCode.Output("style", tooltip="The style without its picture; it fits the model it was made with.")
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, image: Any, model: Any, style_scale: float, mask: Any = None) -> io.NodeOutput:
        return io.NodeOutput(encode(host_of(cls), image, model, mask, style_scale))


class StylePluginMixStyles(io.ComfyNode):
    """See `logic.styles.mix`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StylePluginMixStyles",
            display_name="Mix Styles",
            category=CATEGORY,
            description="Mix two to eight styles of one model by weight.",
            search_aliases=["blend styles", "interpolate styles", "combine styles"],
            inputs=[
                io.DynamicCombo.Input(
                    "styles",
                    options=[
                        io.DynamicCombo.Option(str(count), weighted_styles(count)) for count in range(2, MAX_STYLES + 1)
                    ],
                    tooltip="How many styles to mix.",
                )
            ],
            outputs=[StyleCode.Output("style", tooltip="The mix; it is used and saved like any other style.")],
        )

    @classmethod
    def execute(cls, styles: dict[str, Any]) -> io.NodeOutput:
        places = range(1, int(styles["styles"]) + 1)
        return io.NodeOutput(mix([styles[f"style_{i}"] for i in places], [styles[f"weight_{i}"] for i in places]))


class StylePluginSaveStyle(io.ComfyNode):
    """See `logic.styles.save_style`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StylePluginSaveStyle",
            display_name="Save Style",
            category=CATEGORY,
            description="Write a style to a small file in the output folder, usable without its picture.",
            search_aliases=["export style", "style file"],
            inputs=[
                StyleCode.Input("style", tooltip="From Encode Style or Mix Styles."),
                filename_prefix("style_transfer/style", "Load Style"),
            ],
            outputs=[StyleCode.Output("style", tooltip="The same style.")],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, style: Any, filename_prefix: str) -> io.NodeOutput:
        save_style(host_of(cls), style, filename_prefix)
        return io.NodeOutput(style)


class StylePluginLoadStyle(io.ComfyNode):
    """See `logic.styles.load_style`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StylePluginLoadStyle",
            display_name="Load Style",
            category=LOADERS,
            description="Load a style file (.style.safetensors) of models/style_transfer or output/style_transfer.",
            search_aliases=["style file", "import style"],
            inputs=[
                io.Combo.Input(
                    "style_name",
                    options=ComfyHost().files(STYLE_SUFFIX),
                    tooltip="Written by Save Style or by the command line; press R to list new files.",
                )
            ],
            outputs=[StyleCode.Output("style", tooltip="It fits the model it was made with.")],
        )

    @classmethod
    def fingerprint_inputs(cls, style_name: str) -> Any:
        return ComfyHost().fingerprint(style_name)

    @classmethod
    def execute(cls, style_name: str) -> io.NodeOutput:
        return io.NodeOutput(load_style(ComfyHost(), style_name))
