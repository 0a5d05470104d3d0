"""Methods: each a folder of its own with its record, its stages and how it solves for their affine maps.

What a method of another package is made of stands here; see docs/adding-a-method.md.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from styleplugin.methods.registry import default_models, find, names, register, specs
from styleplugin.methods.spec import Capability, MethodSpec

if TYPE_CHECKING:
    from styleplugin.engine.compile import compile_layer, compile_layers
    from styleplugin.engine.feature_map import FeatureMap, through
    from styleplugin.engine.operations import Mapped, Operation
    from styleplugin.engine.stream import Stage
    from styleplugin.methods.stage import EncoderDecoderStage, Method, macs_per_pixel
    from styleplugin.networks.model import StyleModel, build_single, pairing_id
    from styleplugin.transforms.affine import AffineMap
    from styleplugin.transforms.moments import Moments

__all__ = [
    "AffineMap",
    "Capability",
    "EncoderDecoderStage",
    "FeatureMap",
    "Mapped",
    "Method",
    "MethodSpec",
    "Moments",
    "Operation",
    "Stage",
    "StyleModel",
    "build_single",
    "compile_layer",
    "compile_layers",
    "default_models",
    "find",
    "macs_per_pixel",
    "names",
    "pairing_id",
    "register",
    "specs",
    "through",
]

# What needs torch is fetched when it is first used.
_MODULE_OF = {
    "AffineMap": "transforms.affine",
    "EncoderDecoderStage": "methods.stage",
    "FeatureMap": "engine.feature_map",
    "Mapped": "engine.operations",
    "Method": "methods.stage",
    "Moments": "transforms.moments",
    "Operation": "engine.operations",
    "Stage": "engine.stream",
    "StyleModel": "networks.model",
    "build_single": "networks.model",
    "compile_layer": "engine.compile",
    "compile_layers": "engine.compile",
    "macs_per_pixel": "methods.stage",
    "pairing_id": "networks.model",
    "through": "engine.feature_map",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'styleplugin.methods' has no attribute {name!r}")
    return getattr(import_module(f"styleplugin.{_MODULE_OF[name]}"), name)
