# pyright: reportMissingImports=false
"""Nodes for runs and their students; see `nodes` for the rules of what may never change."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io, ui

from .host import ComfyHost
from .inputs import filename_prefix, pictures_of_run
from .logic import training
from .sockets import LOADERS, TRAINING, StyleModel, host_of


class StylePluginPreviewTraining(io.ComfyNode):
    """See `logic.training.preview_training`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StylePluginPreviewTraining",
            display_name="Preview Training",
            category=TRAINING,
            description="Show the curves and the newest contact sheet of a run, finished or not.",
            search_aliases=["loss curve", "training progress", "plot loss"],
            inputs=[
                io.Combo.Input(
                    "run",
                    options=training.runs(ComfyHost()),
                    tooltip="Runs of the output folder style_training, the newest first; press R to list new ones.",
                )
            ],
            outputs=pictures_of_run(),
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def fingerprint_inputs(cls, run: str) -> Any:
        return training.run_fingerprint(ComfyHost(), run)

    @classmethod
    def execute(cls, run: str) -> io.NodeOutput:
        sheet, curves = training.preview_training(host_of(cls), run)
        return io.NodeOutput(sheet, curves, ui=ui.PreviewImage(curves, cls=cls))


class StylePluginSaveStudent(io.ComfyNode):
    """See `logic.training.save_student`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StylePluginSaveStudent",
            display_name="Save Student",
            category=TRAINING,
            description="Keep a trained student in the output folder, where Load Style Model lists it.",
            search_aliases=["save model", "export student"],
            inputs=[
                StyleModel.Input("model", tooltip="From a Distill node."),
                filename_prefix("style_transfer/student", "Load Style Model"),
                io.Boolean.Input(
                    "even_if_failed",
                    default=False,
                    advanced=True,
                    tooltip="Save a student that fails its quality gate, too.",
                ),
            ],
            outputs=[StyleModel.Output("model", tooltip="The same student.")],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, model: Any, filename_prefix: str, even_if_failed: bool = False) -> io.NodeOutput:
        training.save_student(host_of(cls), model, filename_prefix, even_if_failed)
        return io.NodeOutput(model)


class StylePluginPublishStudent(io.ComfyNode):
    """See `logic.training.publish_student`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StylePluginPublishStudent",
            display_name="Publish Student",
            category=TRAINING,
            description="Upload a student that passes its quality gate to the Hugging Face Hub, with a model card.",
            search_aliases=["Hugging Face", "upload model", "share student"],
            inputs=[
                StyleModel.Input("model", tooltip="From a Distill node."),
                io.String.Input("repo", default="", tooltip="OWNER/REPO; it is made if there is none."),
                io.Boolean.Input("private", default=True, tooltip="Make a new repository private."),
            ],
            outputs=[io.String.Output("source", tooltip="The pinned source under which others find the student.")],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, model: Any, repo: str, private: bool) -> io.NodeOutput:
        return io.NodeOutput(training.publish_student(host_of(cls), model, repo, private))


class StylePluginPullModel(io.ComfyNode):
    """See `logic.training.pull_model`."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="StylePluginPullModel",
            display_name="Pull Style Model",
            category=LOADERS,
            description="Download a style model of the Hugging Face Hub once, check it, and load it.",
            search_aliases=["Hugging Face", "download model", "hub"],
            inputs=[
                io.String.Input(
                    "source",
                    default="",
                    tooltip="hub:OWNER/REPO@REVISION/FILE.safetensors, with #SHA256 behind it if you have it.",
                )
            ],
            outputs=[StyleModel.Output("model", tooltip="For Encode Style and the transfer nodes.")],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, source: str) -> io.NodeOutput:
        return io.NodeOutput(training.pull_model(host_of(cls), source))
