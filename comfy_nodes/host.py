# pyright: reportMissingImports=false
"""ComfyUI as a `Host`: the only module that touches comfy, folder_paths and server."""

from __future__ import annotations

import logging
from pathlib import Path

import comfy.model_management as mm
import comfy.model_patcher
import comfy.utils
import folder_paths
import torch
from PIL import Image
from server import PromptServer

from styleplugin import errors

from .logic.interface import LOOK_SUFFIX, STYLE_SUFFIX, Progress, StyleModel, check_inside, has_suffix
from .logic.styles import embedded_models

logger = logging.getLogger("styleplugin")

MODELS = "style_transfer"
"""Folder of models and style files, below the host's models and outputs; key of extra_model_paths.yaml."""
LOOKS = "luts"
"""The same for color tables; other packs use this name as well."""


def register_folders() -> None:
    """Add our folders to the host's list; what the user's extra_model_paths.yaml put there stays."""
    for key, suffix in ((MODELS, ".safetensors"), (LOOKS, LOOK_SUFFIX)):
        paths, suffixes = folder_paths.folder_names_and_paths.get(key, ([], set()))
        ours = [str(Path(root) / key) for root in (folder_paths.models_dir, folder_paths.get_output_directory())]
        paths = [*paths, *(path for path in ours if path not in paths)]
        folder_paths.folder_names_and_paths[key] = (paths, set(suffixes) | {suffix})


class ComfyProgress:
    """The host's bar on a node."""

    def __init__(self) -> None:
        self._bar = comfy.utils.ProgressBar(1000)

    def update(self, share: float, preview: Image.Image | None = None) -> None:
        """Move the bar to a share in [0, 1], and show a small picture on the node."""
        picture = None if preview is None else ("JPEG", preview, max(preview.size))
        self._bar.update_absolute(int(1000 * share), 1000, picture)


class ComfyHost:
    """See `logic.interface.Host`."""

    def __init__(self, node_id: str | None = None) -> None:
        """Keep the id of the running node, None outside a run."""
        self._node_id = node_id

    def device(self) -> torch.device:
        """Return where to compute."""
        return mm.get_torch_device()

    def output_device(self) -> torch.device:
        """Return where results are handed over."""
        return mm.intermediate_device()

    def output_dtype(self) -> torch.dtype:
        """Return the type of pictures; hosts before 0.18 know float32 only."""
        return mm.intermediate_dtype() if hasattr(mm, "intermediate_dtype") else torch.float32

    def prepare(self, model: StyleModel, activation_bytes: int) -> None:
        """Let the host load the weights and evict other models until the work has room."""
        if model.patcher is None:
            model.patcher = comfy.model_patcher.ModelPatcher(
                model.module, load_device=mm.get_torch_device(), offload_device=mm.unet_offload_device()
            )
        mm.load_models_gpu([model.patcher], memory_required=activation_bytes)

    def make_room(self, activation_bytes: int) -> None:
        """Let the host evict models until work without a model has room."""
        mm.free_memory(activation_bytes, mm.get_torch_device())

    def progress(self) -> Progress:
        """Return a new bar for the running node."""
        return ComfyProgress()

    def check_interrupt(self) -> None:
        """Raise the host's own exception if the user has pressed Cancel."""
        mm.throw_exception_if_processing_interrupted()

    def say(self, text: str) -> None:
        """Write to the log and on the running node."""
        logger.info(text)
        if self._node_id is not None:
            PromptServer.instance.send_progress_text(text, self._node_id)

    def is_oom(self, error: BaseException) -> bool:
        """Whether memory ran out; hosts before 0.17 have one exception for it."""
        return mm.is_oom(error) if hasattr(mm, "is_oom") else isinstance(error, mm.OOM_EXCEPTION)

    def empty_cache(self) -> None:
        """Give memory back that torch holds but does not use."""
        mm.soft_empty_cache()

    def files(self, suffix: str) -> list[str]:
        """Return the listed names of one kind; of models, the embedded ones come first."""
        names = folder_paths.get_filename_list(_folder(suffix))
        if suffix in (STYLE_SUFFIX, LOOK_SUFFIX):
            return [name for name in names if has_suffix(name, suffix)]
        return [*embedded_models(), *(name for name in names if not has_suffix(name, STYLE_SUFFIX))]

    def path(self, name: str) -> Path:
        """Return the file of a listed name.

        Raises:
            WeightsError: SP301, the file is gone.
        """
        found = folder_paths.get_full_path(_folder(name), name)
        if found is None:
            raise errors.WeightsError(
                "SP301", f"There is no file {name!r} in the folder {_folder(name)}.", "Press R and choose another one."
            )
        return Path(found)

    def save_path(self, prefix: str, suffix: str) -> Path:
        """Return a new numbered file in the output folder.

        Raises:
            OutputError: SP603, the prefix leads out of the output folder.
        """
        try:
            folder, name, number, _, _ = folder_paths.get_save_image_path(prefix, folder_paths.get_output_directory())
        except Exception as error:  # the host raises plain exceptions with absolute paths
            raise errors.OutputError(
                "SP603", f"{prefix!r} cannot name a file in the output folder.", "Use a name such as looks/sunset."
            ) from error
        return check_inside(folder_paths.get_output_directory(), Path(folder) / f"{name}_{number:05}_{suffix}")

    def input_folder(self) -> Path:
        """Return the folder whose subfolders hold the user's pictures."""
        return Path(folder_paths.get_input_directory())

    def runs_folder(self) -> Path:
        """Return the folder of training runs; outside the folders that loaders list."""
        return Path(folder_paths.get_output_directory()) / "style_training"

    def models_folder(self) -> Path:
        """Return the folder into which models are downloaded: the first of the model folders."""
        return Path(folder_paths.get_folder_paths(MODELS)[0])

    def fingerprint(self, name: str) -> tuple[int, int] | None:
        """Return what changes when a file changes; None for an embedded model or a file that is gone."""
        found = folder_paths.get_full_path(_folder(name), name)
        if found is None:
            return None
        stat = Path(found).stat()
        return stat.st_mtime_ns, stat.st_size


def _folder(name: str) -> str:
    return LOOKS if has_suffix(name, LOOK_SUFFIX) else MODELS
