"""The ComfyUI nodes: thin over the public names of `styleplugin`.

Nothing of the host is imported before the host asks for the nodes, so this package imports on bare Python.
"""

from typing import Any

__all__ = ["comfy_entrypoint"]


def comfy_entrypoint() -> Any:
    """Return the extension; called by the host when it loads the pack."""
    from .nodes import StylePluginExtension

    return StylePluginExtension()
