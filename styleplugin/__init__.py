"""Neural style transfer with small distilled models, exact at any picture size.

import styleplugin
result = styleplugin.stylize("photo.jpg", "painting.jpg", method="wct", strength=0.8)
result.save("out.png")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from styleplugin import errors, options
    from styleplugin.api import stylize
    from styleplugin.errors import StylePluginError, StylePluginWarning
    from styleplugin.export.look import Look, fit_look
    from styleplugin.export.publish import export_student, publish
    from styleplugin.images.formats.known import picture_extensions
    from styleplugin.images.looks.read import read_lut
    from styleplugin.images.looks.table import LUT
    from styleplugin.images.picture import Picture
    from styleplugin.images.read import picture_size, read_image, to_picture
    from styleplugin.job import Result
    from styleplugin.loading.index import list_models, pull, read_card
    from styleplugin.methods.optimization.run import Optimization
    from styleplugin.options import EngineOptions, FrameOptions, OptimizeOptions, StyleWeight, StylizeOptions
    from styleplugin.report import Report
    from styleplugin.style import Style, mix_styles
    from styleplugin.stylizer import Stylizer, load

__version__ = "0.1.0"

__all__ = [
    "LUT",
    "EngineOptions",
    "FrameOptions",
    "Look",
    "Optimization",
    "OptimizeOptions",
    "Picture",
    "Report",
    "Result",
    "Style",
    "StylePluginError",
    "StylePluginWarning",
    "StyleWeight",
    "StylizeOptions",
    "Stylizer",
    "errors",
    "export_student",
    "fit_look",
    "list_models",
    "load",
    "mix_styles",
    "options",
    "picture_extensions",
    "picture_size",
    "publish",
    "pull",
    "read_card",
    "read_image",
    "read_lut",
    "stylize",
    "to_picture",
]

# Names are fetched when they are first used, so that `styleplugin --help` does not wait for torch.
_NAMES = {
    "api": ("stylize",),
    "errors": ("StylePluginError", "StylePluginWarning"),
    "export.look": ("Look", "fit_look"),
    "export.publish": ("export_student", "publish"),
    "images.formats.known": ("picture_extensions",),
    "images.looks.read": ("read_lut",),
    "images.looks.table": ("LUT",),
    "images.picture": ("Picture",),
    "images.read": ("picture_size", "read_image", "to_picture"),
    "methods.optimization.run": ("Optimization",),
    "options": ("EngineOptions", "FrameOptions", "OptimizeOptions", "StyleWeight", "StylizeOptions"),
    "report": ("Report",),
    "style": ("Style", "mix_styles"),
    "job": ("Result",),
    "stylizer": ("Stylizer", "load"),
    "loading.index": ("list_models", "pull", "read_card"),
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in ("errors", "options"):
        return import_module(f"styleplugin.{name}")
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'styleplugin' has no attribute {name!r}")
    return getattr(import_module(f"styleplugin.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
