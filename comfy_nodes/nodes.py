# pyright: reportMissingImports=false
"""The nodes: each declares its inputs, calls `logic`, and wraps the result.

Node ids, input ids, the order of widgets and the words of combos are stored in people's workflows: they never change,
and new inputs come at the end, optional and with a default.
"""

from __future__ import annotations

from typing import Any

from comfy_api.latest import ComfyExtension, io

from styleplugin import FrameOptions, OptimizeOptions, StylizeOptions, options

from . import logic
from .host import ComfyHost, register_folders
from .nodes_training import TRAINING_NODES
from .sockets import LookTable, StyleCode, StyleModel, host_of

CATEGORY = "image/style transfer"
LOADERS = "image/style transfer/loaders"


MAX_STYLES = 8


class StylePluginLoadModel(io.ComfyNode):
    """See `logic.load_model`."""

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
                    options=ComfyHost().files(logic.MODEL_SUFFIX),
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
        return io.NodeOutput(logic.load_model(ComfyHost(), model_name))


class StylePluginEncodeStyle(io.ComfyNode):
    """See `logic.encode`."""

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
                _number("style_scale", StylizeOptions, advanced=True),
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
        return io.NodeOutput(logic.encode(host_of(cls), image, model, mask, style_scale))


class StylePluginMixStyles(io.ComfyNode):
    """See `logic.mix`."""

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
                        io.DynamicCombo.Option(str(count), _weighted_styles(count))
                        for count in range(2, MAX_STYLES + 1)
                    ],
                    tooltip="How many styles to mix.",
                )
            ],
            outputs=[StyleCode.Output("style", tooltip="The mix; it is used and saved like any other style.")],
        )

    @classmethod
    def execute(cls, styles: dict[str, Any]) -> io.NodeOutput:
        places = range(1, int(styles["styles"]) + 1)
        return io.NodeOutput(logic.mix([styles[f"style_{i}"] for i in places], [styles[f"weight_{i}"] for i in places]))


class StylePluginSaveStyle(io.ComfyNode):
    """See `logic.save_style`."""

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
                io.String.Input(
                    "filename_prefix",
                    default="style_transfer/style",
                    tooltip="Name in the output folder; what is below style_transfer is listed by Load Style.",
                ),
            ],
            outputs=[StyleCode.Output("style", tooltip="The same style.")],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, style: Any, filename_prefix: str) -> io.NodeOutput:
        logic.save_style(host_of(cls), style, filename_prefix)
        return io.NodeOutput(style)


class StylePluginLoadStyle(io.ComfyNode):
    """See `logic.load_style`."""

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
                    options=ComfyHost().files(logic.STYLE_SUFFIX),
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
        return io.NodeOutput(logic.load_style(ComfyHost(), style_name))


class StylePluginTransfer(io.ComfyNode):
    """See `logic.transfer`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StylePluginTransfer",
            display_name="Style Transfer (Fast)",
            category=CATEGORY,
            description="Give pictures the style of another one, at any size, in one pass through a small network.",
            search_aliases=["AdaIN", "WCT", "stylize", "neural style", "painting", "artistic"],
            inputs=[
                *_pictures_and_model(),
                _number("strength", StylizeOptions),
                _choice("keep_color", StylizeOptions),
                _statistics(),
                io.Int.Input(
                    "depth",
                    default=4,
                    min=1,
                    max=5,
                    advanced=True,
                    tooltip="WCT only: the deepest level that is used; fewer levels keep more of the content.",
                ),
                _number("style_scale", StylizeOptions, advanced=True),
                _tile(),
                _mask(),
                _choice("palette", StylizeOptions, optional=True, advanced=True),
                _number(
                    "grain",
                    StylizeOptions,
                    default=1.0,
                    optional=True,
                    advanced=True,
                    tooltip="WCT only: how much noise flat parts get, so that they are painted and not woven like "
                    "cloth; 0 is off. Frames that share their statistics get none: over a clip it would stand still.",
                ),
            ],
            outputs=[io.Image.Output("image", tooltip="As large as the content, with its alpha.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def check_lazy_status(cls, strength: float, style: Any = None, model: Any = None, **_: Any) -> list[str]:
        return _needed(strength, style=style, model=model)

    @classmethod
    def execute(
        cls,
        content: Any,
        strength: float,
        keep_color: str,
        statistics: dict[str, Any],
        depth: int,
        style_scale: float,
        tile: int,
        style: Any = None,
        model: Any = None,
        mask: Any = None,
        palette: str = "auto",
        grain: float = 1.0,
    ) -> io.NodeOutput:
        image = logic.transfer(
            host_of(cls),
            content,
            style,
            model,
            mask,
            strength=strength,
            keep_color=keep_color,
            depth=depth,
            style_scale=style_scale,
            tile=tile,
            palette=palette,
            grain=grain,
            **statistics,
        )
        return io.NodeOutput(image)


class StylePluginPhotoTransfer(io.ComfyNode):
    """See `logic.photo_transfer`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StylePluginPhotoTransfer",
            display_name="Photo Style Transfer",
            category=CATEGORY,
            description="Give photographs the light and colors of another one; they stay photographs.",
            search_aliases=["photorealistic", "color grading", "PCA", "look transfer", "relight"],
            inputs=[
                *_pictures_and_model(),
                _number("strength", StylizeOptions),
                _choice("keep_color", StylizeOptions),
                io.Boolean.Input(
                    "keep_luminance", default=False, tooltip=options.help_of(StylizeOptions, "keep_luminance")
                ),
                _statistics(),
                _number("smooth", StylizeOptions, advanced=True),
                _number("style_scale", StylizeOptions, advanced=True),
                _tile(),
                _mask(),
            ],
            outputs=[io.Image.Output("image", tooltip="As large as the content, with its alpha.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def check_lazy_status(cls, strength: float, style: Any = None, model: Any = None, **_: Any) -> list[str]:
        return _needed(strength, style=style, model=model)

    @classmethod
    def execute(
        cls,
        content: Any,
        strength: float,
        keep_color: str,
        keep_luminance: bool,
        statistics: dict[str, Any],
        smooth: int,
        style_scale: float,
        tile: int,
        style: Any = None,
        model: Any = None,
        mask: Any = None,
    ) -> io.NodeOutput:
        image = logic.photo_transfer(
            host_of(cls),
            content,
            style,
            model,
            mask,
            strength=strength,
            keep_color=keep_color,
            keep_luminance=keep_luminance,
            smooth=smooth,
            style_scale=style_scale,
            tile=tile,
            **statistics,
        )
        return io.NodeOutput(image)


class StylePluginOptimize(io.ComfyNode):
    """See `logic.optimize`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StylePluginOptimize",
            display_name="Style Transfer (Optimize)",
            category=CATEGORY,
            description="Paint pictures in the style of others step by step: slow, rich, at any size.",
            search_aliases=["Gatys", "optimization", "neural style", "painting", "Gram matrix"],
            inputs=[
                io.Image.Input("content", tooltip="The pictures to stylize, one after the other."),
                io.Image.Input("style", tooltip="The style pictures; those of a batch count alike."),
                _number("steps", OptimizeOptions),
                _number("style_weight", OptimizeOptions),
                _number("content_weight", OptimizeOptions),
                _choice("start", OptimizeOptions),
                _choice("keep_color", StylizeOptions),
                _choice("style_loss", OptimizeOptions, advanced=True),
                _number("smoothness_weight", OptimizeOptions, advanced=True),
                _number("scales", OptimizeOptions, advanced=True),
                _choice("optimizer", OptimizeOptions, advanced=True),
                _number("style_scale", StylizeOptions, advanced=True),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=(1 << 53) - 1,
                    control_after_generate=io.ControlAfterGenerate.fixed,
                    advanced=True,
                    tooltip=options.help_of(OptimizeOptions, "seed"),
                ),
                _tile(),
                _mask(),
            ],
            outputs=[io.Image.Output("image", tooltip="As large as the content, with its alpha.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, content: Any, style: Any, mask: Any = None, **chosen: Any) -> io.NodeOutput:
        return io.NodeOutput(logic.optimize(host_of(cls), content, style, mask, **chosen))


class StylePluginExportLook(io.ComfyNode):
    """See `logic.export_look`."""

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
                io.String.Input(
                    "filename_prefix",
                    default="luts/look",
                    tooltip="Name in the output folder; what is below luts is listed by Load Look.",
                ),
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
        return io.NodeOutput(*logic.export_look(host_of(cls), content, stylized, int(size), filename_prefix))


class StylePluginLoadLook(io.ComfyNode):
    """See `logic.load_look`."""

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
                    options=ComfyHost().files(logic.LOOK_SUFFIX),
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
        return io.NodeOutput(logic.load_look(host_of(cls), look_name))


class StylePluginApplyLook(io.ComfyNode):
    """See `logic.apply_look`."""

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
        return io.NodeOutput(logic.apply_look(host_of(cls), image, look))


class StylePluginSample(io.ComfyNode):
    """See `logic.sample`."""

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
                    options=logic.samples(),
                    default="lake",
                    tooltip="Names with a number of frames are short clips.",
                )
            ],
            outputs=[io.Image.Output("image", tooltip="A picture, or the frames of a clip.")],
        )

    @classmethod
    def execute(cls, name: str) -> io.NodeOutput:
        return io.NodeOutput(logic.sample(ComfyHost(), name))


class StylePluginExtension(ComfyExtension):
    """The pack."""

    async def on_load(self) -> None:
        """Make our model folders known."""
        register_folders()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Return the nodes in the order of the menu."""
        return [
            StylePluginLoadModel,
            StylePluginEncodeStyle,
            StylePluginMixStyles,
            StylePluginSaveStyle,
            StylePluginLoadStyle,
            StylePluginTransfer,
            StylePluginPhotoTransfer,
            StylePluginOptimize,
            StylePluginExportLook,
            StylePluginLoadLook,
            StylePluginApplyLook,
            StylePluginSample,
            *TRAINING_NODES,
        ]


def _needed(strength: float, **inputs: Any) -> list[str]:
    """Return the inputs that must still be computed; at strength 0 neither style nor model is."""
    return [name for name, value in inputs.items() if value is None] if strength else []


def _pictures_and_model() -> list[Any]:
    return [
        io.Image.Input("content", tooltip="The pictures to stylize; a batch may be a clip."),
        io.MultiType.Input(
            "style",
            types=[io.Image, StyleCode],
            lazy=True,
            tooltip="A style picture, one for each content picture, or a style from Encode Style, Mix Styles or Load "
            "Style.",
        ),
        StyleModel.Input("model", lazy=True, tooltip="From Load Style Model."),
    ]


def _weighted_styles(count: int) -> list[Any]:
    inputs: list[Any] = []
    for i in range(1, count + 1):
        inputs.append(StyleCode.Input(f"style_{i}", tooltip="From Encode Style or Load Style, all with one model."))
        inputs.append(
            io.Float.Input(
                f"weight_{i}",
                default=1.0,
                min=0.0,
                max=1.0,
                step=0.01,
                display_mode=io.NumberDisplay.slider,
                tooltip="Share of this style; the weights are scaled to sum to 1.",
            )
        )
    return inputs


def _number(name: str, cls: type, **changes: Any) -> Any:
    """Declare a number as the core describes it, but for the given settings."""
    bounds = options.bounds_of(cls, name)
    assert bounds is not None
    settings = {"default": options.default_of(cls, name), "tooltip": options.help_of(cls, name)} | changes
    kind = type(settings["default"])
    return (io.Int if kind is int else io.Float).Input(
        name,
        min=kind(bounds.low),
        max=kind(bounds.high),
        step=kind(bounds.step),
        display_mode=io.NumberDisplay.slider if bounds.high <= 1 else None,
        **settings,
    )


def _choice(name: str, cls: type, *, optional: bool = False, advanced: bool | None = None) -> Any:
    """Declare a choice as the core describes it."""
    return io.Combo.Input(
        name,
        optional=optional,
        options=list(options.choices_of(cls, name)),
        default=options.default_of(cls, name),
        advanced=advanced,
        tooltip=options.help_of(cls, name),
    )


def _statistics() -> Any:
    """Declare where statistics come from; the frame is asked for only where it matters."""
    return io.DynamicCombo.Input(
        "statistics",
        options=[
            io.DynamicCombo.Option(word, [_number("frame", FrameOptions)] if word == "one frame" else [])
            for word in options.choices_of(FrameOptions, "statistics")
        ],
        tooltip=options.help_of(FrameOptions, "statistics"),
    )


def _tile() -> Any:
    return io.Int.Input(
        "tile",
        default=0,
        min=0,
        max=8192,
        step=64,
        advanced=True,
        tooltip="Side of a tile in pixels; 0 chooses. Tiles decide memory and speed, never the picture.",
    )


def _mask() -> Any:
    return io.Mask.Input(
        "mask",
        optional=True,
        tooltip="White is stylized, black is left exactly as it is. The mask of Load Image is white where the file is "
        "transparent, and black for files without transparency.",
    )
