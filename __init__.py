"""The entry of the ComfyUI node pack: this repository's folder is what users put into custom_nodes.

The core is loaded from this folder under its own name, without touching `sys.path`: folders such as `tests` and
`weights` must not become importable inside the host.
"""

import importlib.util
import sys
from pathlib import Path

WEB_DIRECTORY = "./comfy_nodes/web"


def _load_core() -> None:
    folder = Path(__file__).parent / "styleplugin"
    spec = importlib.util.spec_from_file_location(
        "styleplugin", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["styleplugin"] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules["styleplugin"]
        raise


# A core that is there already, installed by pip or by a second copy of this pack, is used as it is.
if "styleplugin" not in sys.modules:
    _load_core()

from .comfy_nodes import comfy_entrypoint  # noqa: E402

__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
