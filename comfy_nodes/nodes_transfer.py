# pyright: reportMissingImports=false
"""Nodes that stylize; see `nodes` for the rules of what may never change."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from styleplugin import OptimizeOptions, StylizeOptions, options

from .inputs import choice_of, mask_input, number_of, pictures_and_model, seed, statistics, stylized, switch_of, tile
from .logic.optimization import optimize
from .logic.transfer import photo_transfer, transfer
from .sockets import CATEGORY, host_of


def _needed(node: type[io.ComfyNode], strength: float, style: Any = None, model: Any = None, **_: Any) -> list[str]:
    """Return the inputs that must still be computed; at strength 0 neither style nor model is."""
    return [name for name, value in (("style", style), ("model", model)) if value is None] if strength else []


class StylePluginTransfer(io.ComfyNode):
    """See `logic.transfer.transfer`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StylePluginTransfer",
            display_name="Style Transfer (Fast)",
            category=CATEGORY,
            description="Give pictures the style of another one, at any size, in one pass through a small network.",
            search_aliases=["AdaIN", "WCT", "stylize", "neural style", "painting", "artistic"],
            inputs=[
                *pictures_and_model(),
                number_of("strength", StylizeOptions),
                choice_of("keep_color", StylizeOptions),
                statistics(),
                io.Int.Input(
                    "depth",
                    default=4,
                    min=1,
                    max=5,
                    advanced=True,
                    tooltip="WCT only: the deepest level that is used; fewer levels keep more of the content.",
                ),
                number_of("style_scale", StylizeOptions, advanced=True),
                tile(),
                mask_input(),
                choice_of("palette", StylizeOptions, optional=True, advanced=True),
                number_of(
                    "grain",
                    StylizeOptions,
                    default=1.0,
                    optional=True,
                    advanced=True,
                    tooltip="WCT only: how much noise flat parts get, so that they are painted and not woven like "
                    "cloth; 0 is off. Frames that share their statistics get none: over a clip it would stand still.",
                ),
            ],
            outputs=stylized(),
            hidden=[io.Hidden.unique_id],
        )

    check_lazy_status = classmethod(_needed)

    @classmethod
    def execute(cls, statistics: dict[str, Any], **given: Any) -> io.NodeOutput:
        return io.NodeOutput(transfer(host_of(cls), **statistics, **given))


class StylePluginPhotoTransfer(io.ComfyNode):
    """See `logic.transfer.photo_transfer`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StylePluginPhotoTransfer",
            display_name="Photo Style Transfer",
            category=CATEGORY,
            description="Give photographs the light and colors of another one; they stay photographs.",
            search_aliases=["photorealistic", "color grading", "PCA", "look transfer", "relight"],
            inputs=[
                *pictures_and_model(),
                number_of("strength", StylizeOptions),
                choice_of("keep_color", StylizeOptions),
                switch_of("keep_luminance", StylizeOptions),
                statistics(),
                number_of("smooth", StylizeOptions, advanced=True),
                number_of("style_scale", StylizeOptions, advanced=True),
                tile(),
                mask_input(),
            ],
            outputs=stylized(),
            hidden=[io.Hidden.unique_id],
        )

    check_lazy_status = classmethod(_needed)

    @classmethod
    def execute(cls, statistics: dict[str, Any], **given: Any) -> io.NodeOutput:
        return io.NodeOutput(photo_transfer(host_of(cls), **statistics, **given))


class StylePluginOptimize(io.ComfyNode):
    """See `logic.optimization.optimize`."""

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
                number_of("steps", OptimizeOptions),
                number_of("style_weight", OptimizeOptions),
                number_of("content_weight", OptimizeOptions),
                choice_of("start", OptimizeOptions),
                choice_of("keep_color", StylizeOptions),
                choice_of("style_loss", OptimizeOptions, advanced=True),
                number_of("smoothness_weight", OptimizeOptions, advanced=True),
                number_of("scales", OptimizeOptions, advanced=True),
                choice_of("optimizer", OptimizeOptions, advanced=True),
                number_of("style_scale", StylizeOptions, advanced=True),
                seed(options.help_of(OptimizeOptions, "seed")),
                tile(),
                mask_input(),
            ],
            outputs=stylized(),
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, **given: Any) -> io.NodeOutput:
        return io.NodeOutput(optimize(host_of(cls), **given))
