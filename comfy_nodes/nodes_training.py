# pyright: reportMissingImports=false
"""Nodes that train students; see `nodes` for the rules of what may never change."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .host import ComfyHost
from .inputs import pictures_of_run, seed
from .logic import training
from .logic.interface import MODEL_SUFFIX
from .sockets import TRAINING, LossMap, StudentStart, StyleModel, TeacherModel, TrainingPictures, host_of


class StylePluginLoadTeacher(io.ComfyNode):
    """See `logic.training.load_teacher`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StylePluginLoadTeacher",
            display_name="Load Teacher",
            category=TRAINING,
            description="Choose who teaches a student: one of our models, or VGG-19 or MobileNet as a file.",
            search_aliases=["VGG-19", "teacher model", "distillation"],
            inputs=[
                io.Combo.Input(
                    "teacher_name",
                    options=ComfyHost().files(MODEL_SUFFIX),
                    default="cd-wct.x16",
                    tooltip="An embedded model, or a file of models/style_transfer; a full VGG-19 teaches best.",
                ),
                io.String.Input(
                    "source",
                    default="",
                    advanced=True,
                    tooltip="On the Hub instead: hub:OWNER/REPO@REVISION/FILE.safetensors; empty takes the name above.",
                ),
            ],
            outputs=[TeacherModel.Output("teacher", tooltip="For the Distill nodes.")],
        )

    @classmethod
    def fingerprint_inputs(cls, teacher_name: str, source: str = "") -> Any:
        return ComfyHost().fingerprint(teacher_name)

    @classmethod
    def execute(cls, teacher_name: str, source: str = "") -> io.NodeOutput:
        return io.NodeOutput(training.load_teacher(ComfyHost(), teacher_name, source))


class StylePluginPictureFolder(io.ComfyNode):
    """See `logic.training.picture_folder`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StylePluginPictureFolder",
            display_name="Picture Folder",
            category=TRAINING,
            description="Choose a folder of training pictures: a subfolder of the input folder, or an example.",
            search_aliases=["training data", "dataset", "image folder"],
            inputs=[
                io.Combo.Input(
                    "folder",
                    options=training.picture_folders(ComfyHost()),
                    default="example photos",
                    tooltip="Put your pictures into a subfolder of ComfyUI's input folder and press R.",
                )
            ],
            outputs=[TrainingPictures.Output("pictures", tooltip="For the Distill nodes.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(cls, folder: str) -> Any:
        return training.folder_fingerprint(ComfyHost(), folder)

    @classmethod
    def execute(cls, folder: str) -> io.NodeOutput:
        return io.NodeOutput(training.picture_folder(host_of(cls), folder))


class StylePluginPrune(io.ComfyNode):
    """Chooses what a student starts from; the work is done in the run."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StylePluginPrune",
            display_name="Prune",
            category=TRAINING,
            description="Choose which filters of the teacher a student starts from; the run prunes before it trains.",
            search_aliases=["SPP", "IncReg", "GReg", "structured pruning", "filter pruning"],
            inputs=[
                io.Combo.Input(
                    "rule",
                    options=["l1", "activation", "reconstruction", "spp", "increg", "greg", "random"],
                    default="increg",
                    tooltip="l1, activation: the strongest; reconstruction: those from which the others follow, solved "
                    "for by least squares; spp, increg, greg: what is left when filters are taken out while the "
                    "teacher trains on; random: none.",
                )
            ],
            outputs=[StudentStart.Output("start", tooltip="For Distill WCT and Distill AdaIN.")],
        )

    @classmethod
    def execute(cls, rule: str) -> io.NodeOutput:
        return io.NodeOutput(training.Pruning(rule))


class StylePluginDistillWCT(io.ComfyNode):
    """See `logic.training.distill`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StylePluginDistillWCT",
            display_name="Distill WCT Pairs",
            category=TRAINING,
            description="Train small encoder-decoder pairs for WCT on your pictures, one for each level.",
            search_aliases=["Collaborative Distillation", "train WCT", "train style model"],
            inputs=[
                *_sources(),
                io.Int.Input(
                    "depth", default=3, min=1, max=5, tooltip="The deepest level; all levels up to it are trained."
                ),
                *_settings("my-wct", width=0.25),
                _start(),
            ],
            **_training(),
        )

    @classmethod
    def execute(cls, teacher: Any, photos: Any, depth: int, start: Any = None, **chosen: Any) -> io.NodeOutput:
        levels = tuple(range(1, depth + 1))
        return _distilled(cls, "wct", teacher, photos, None, start, levels=levels, **chosen)


class StylePluginDistillAdaIN(io.ComfyNode):
    """See `logic.training.distill`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StylePluginDistillAdaIN",
            display_name="Distill AdaIN",
            category=TRAINING,
            description="Train a small encoder-decoder pair for AdaIN on your photographs and artworks.",
            search_aliases=["train AdaIN", "train style model", "Collaborative Distillation"],
            inputs=[
                *_sources(paintings=True),
                io.Int.Input(
                    "level", default=4, min=2, max=5, tooltip="4 is usual; 3 trains quicker and has finer strokes."
                ),
                *_settings("my-adain", width=0.25),
                _start(),
            ],
            **_training(),
        )

    @classmethod
    def execute(
        cls, teacher: Any, photos: Any, paintings: Any, level: int, start: Any = None, **chosen: Any
    ) -> io.NodeOutput:
        return _distilled(cls, "adain", teacher, photos, paintings, start, levels=(level,), **chosen)


class StylePluginDistillPhoto(io.ComfyNode):
    """See `logic.training.distill`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StylePluginDistillPhoto",
            display_name="Distill Photorealistic",
            category=TRAINING,
            description="Train a small photorealistic student on your photographs, by PCA-based distillation.",
            search_aliases=["PCA distillation", "train photo style model"],
            inputs=[
                *_sources(),
                io.Combo.Input(
                    "backbone",
                    options=["vgg", "mobilenet"],
                    default="vgg",
                    tooltip="The student's; the teacher is a model of this kind, VGG-19 or MobileNet.",
                ),
                *_settings("my-photo", width=1.0),
            ],
            **_training(),
        )

    @classmethod
    def execute(cls, teacher: Any, photos: Any, backbone: str, **chosen: Any) -> io.NodeOutput:
        return _distilled(cls, "photorealistic", teacher, photos, None, None, backbone=backbone, **chosen)


class StylePluginDistillKBStyle(io.ComfyNode):
    """See `logic.training.distill`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StylePluginDistillKBStyle",
            display_name="Distill KBStyle",
            category=TRAINING,
            description="Train a network of about 200 KB for any style, and its teacher, on your pictures.",
            search_aliases=["KBStyle", "symmetric distillation", "train style model"],
            inputs=[*_sources(paintings=True), *_settings("my-kbstyle", width=1.0)],
            **_training(),
        )

    @classmethod
    def execute(cls, teacher: Any, photos: Any, paintings: Any, **chosen: Any) -> io.NodeOutput:
        return _distilled(cls, "kbstyle", teacher, photos, paintings, None, **chosen)


def _sources(*, paintings: bool = False) -> list[Any]:
    inputs: list[Any] = [
        TeacherModel.Input("teacher", tooltip="From Load Teacher."),
        TrainingPictures.Input("photos", tooltip="Photographs, from Picture Folder; some hundred are good."),
    ]
    if paintings:
        inputs.append(TrainingPictures.Input("paintings", tooltip="Artworks, from Picture Folder."))
    return inputs


def _settings(run_name: str, *, width: float) -> list[Any]:
    """Declare what all Distill nodes ask for."""
    relative = "VGG-19; 0.25 makes it 16 times smaller" if width < 1 else "the paper's student"
    return [
        io.String.Input(
            "run_name",
            default=run_name,
            tooltip="Of the run and the student: lower-case letters, digits, '.', '_', '-'. The same settings go on "
            "where the run was stopped.",
        ),
        io.Float.Input("minutes", default=30.0, min=0.1, max=10080.0, step=0.1, tooltip="Time budget."),
        io.Float.Input(
            "width",
            default=width,
            min=0.05,
            max=4.0,
            step=0.005,
            tooltip=f"Channels of the student relative to {relative}.",
        ),
        io.Int.Input(
            "crop",
            default=0,
            min=0,
            max=512,
            step=16,
            advanced=True,
            tooltip="Side of the training crops in pixels; 0 chooses.",
        ),
        io.Int.Input(
            "batch",
            default=0,
            min=0,
            max=256,
            advanced=True,
            tooltip="Crops of a step; 0 chooses, more need more memory.",
        ),
        seed("Of all random numbers."),
    ]


def _start() -> Any:
    return StudentStart.Input("start", optional=True, tooltip="From Prune; by default the filters that are used most.")


def _training() -> dict[str, Any]:
    """Declare what all Distill nodes are and give."""
    outputs = [
        StyleModel.Output("model", tooltip="The student: for the transfer nodes, Save Student and Publish Student."),
        *pictures_of_run(),
        LossMap.Output("losses", tooltip="The losses, for the host's Plot Loss Graph."),
        io.String.Output("report", tooltip="Size, figures, and whether the student passes its quality gate."),
    ]
    hidden = [io.Hidden.unique_id]
    return {"outputs": outputs, "hidden": hidden, "is_output_node": True, "is_experimental": True}


def _distilled(
    node: type[io.ComfyNode], method: str, teacher: Any, photos: Any, paintings: Any, start: Any, **chosen: Any
) -> io.NodeOutput:
    return io.NodeOutput(*training.distill(host_of(node), method, teacher, photos, paintings, start, **chosen))
