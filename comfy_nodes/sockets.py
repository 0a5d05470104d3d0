# pyright: reportMissingImports=false
"""What the nodes have in common: their places in the menu, the kinds of their sockets, the host of a running node."""

from __future__ import annotations

from comfy_api.latest import io

from .host import ComfyHost

CATEGORY = "image/style transfer"
LOADERS = f"{CATEGORY}/loaders"
TRAINING = f"{CATEGORY}/training"

StyleModel = io.Custom("STYLEPLUGIN_MODEL")
StyleCode = io.Custom("STYLEPLUGIN_STYLE")
LookTable = io.Custom("STYLEPLUGIN_LOOK")
TeacherModel = io.Custom("STYLEPLUGIN_TEACHER")
TrainingPictures = io.Custom("STYLEPLUGIN_PICTURES")
StudentStart = io.Custom("STYLEPLUGIN_PRUNING")
LossMap = io.Custom("LOSS_MAP")
"""Of the host itself."""


def host_of(node: type[io.ComfyNode]) -> ComfyHost:
    """Return the host as a running node sees it."""
    return ComfyHost(node.hidden.unique_id)
