# pyright: reportMissingImports=false
"""The nodes: each declares its inputs, calls `logic`, and wraps the result.

Node ids, input ids, the order of widgets and the words of combos are stored in people's workflows: they never change,
and new inputs come at the end, optional and with a default.
"""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .host import register_folders
from .nodes_looks import StylePluginApplyLook, StylePluginExportLook, StylePluginLoadLook, StylePluginSample
from .nodes_students import (
    StylePluginPreviewTraining,
    StylePluginPublishStudent,
    StylePluginPullModel,
    StylePluginSaveStudent,
)
from .nodes_styles import (
    StylePluginEncodeStyle,
    StylePluginLoadModel,
    StylePluginLoadStyle,
    StylePluginMixStyles,
    StylePluginSaveStyle,
)
from .nodes_training import (
    StylePluginDistillAdaIN,
    StylePluginDistillKBStyle,
    StylePluginDistillPhoto,
    StylePluginDistillWCT,
    StylePluginLoadTeacher,
    StylePluginPictureFolder,
    StylePluginPrune,
)
from .nodes_transfer import StylePluginOptimize, StylePluginPhotoTransfer, StylePluginTransfer


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
            StylePluginLoadTeacher,
            StylePluginPictureFolder,
            StylePluginPrune,
            StylePluginDistillWCT,
            StylePluginDistillAdaIN,
            StylePluginDistillPhoto,
            StylePluginDistillKBStyle,
            StylePluginPreviewTraining,
            StylePluginSaveStudent,
            StylePluginPublishStudent,
            StylePluginPullModel,
        ]
