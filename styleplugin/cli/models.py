"""`models`: list, check, import and share them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, UseAppendAction, arg
from tyro.extras import SubcommandApp

from styleplugin.cli.output import answer, say
from styleplugin.cli.parser import command
from styleplugin.cli.paths import FOLDER, Folder, Input, ModelSource
from styleplugin.kinds import WEIGHTS
from styleplugin.paths import Written, check_paths

# torch is imported inside the commands: --help must not wait for it.

models_app = SubcommandApp()
models_app.__doc__ = "List, check, import and share models."
import_app = SubcommandApp()
models_app.command(import_app, name="import")


@command(models_app, "list")
def models_list() -> None:
    """List the embedded models."""
    from styleplugin.loading.index import list_models

    for entry in list_models():
        answer(f"{entry.name:20} {entry.method:15} {entry.description}")


@command(models_app, "info")
def models_info(name: Positional[ModelSource], /) -> None:
    """Show what is known about a model, as JSON.

    Args:
        name: Name, path or source.
    """
    from styleplugin.loading.index import load

    answer(json.dumps(dataclasses.asdict(load(name)[1]), indent=2, sort_keys=True))


@command(models_app, "verify")
def models_verify(name: Positional[ModelSource], /) -> None:
    """Check a model's file: hash, header, values, and a run on a small picture.

    Args:
        name: Name, path or source.
    """
    from styleplugin.loading.index import verify

    info = verify(name)
    answer(f"{info.name}: {info.parameters:,} parameters, sha256 {info.sha256}: as it should be")


@command(models_app, "pull")
def models_pull(
    source: Positional[str],
    /,
    *,
    output: Annotated[str | None, FOLDER, arg(aliases=["-o"])] = None,
    overwrite: bool = False,
    timeout: float = 60,
) -> None:
    """Download a model of the Hub, check it, and print where it is.

    Args:
        source: hub:OWNER/REPO@REVISION/FILE, with #SHA256 behind it if you have it.
        output: Folder for a copy; by default it stays in the client's cache, where every command finds it.
        overwrite: Replace another file of the same name.
        timeout: Timeout: seconds for the whole download.
    """
    from styleplugin.loading.index import pull

    say(str(pull(source, output, overwrite=overwrite, timeout_s=timeout)))


@command(models_app, "publish")
def models_publish(
    file: Positional[Input],
    repo: Positional[str],
    /,
    *,
    picture: UseAppendAction[tuple[Input, ...]] = (),
    private: bool = False,
    timeout: float = 600,
) -> None:
    """Upload a student that passed its quality gate to the Hub, with a model card, and print its pinned source.

    Args:
        file: A weights file of a training run.
        repo: OWNER/REPO; it is made if there is none.
        picture: A JPEG or PNG file for the card; give it several times. By default the run's newest contact sheet.
        private: Make a new repository private.
        timeout: Timeout: seconds for the whole upload.
    """
    from styleplugin.export.publish import publish

    say(publish(file, repo, pictures=picture, private=private, timeout_s=timeout))


@command(import_app, "collaborative-distillation")
def import_collaborative_distillation(
    folder: Positional[Input], /, *, output: Folder, compact: bool = False, overwrite: bool = False
) -> None:
    """Convert the released Collaborative-Distillation students from your own clone of its repository.

    Args:
        folder: The clone.
        output: Folder for the converted model.
        compact: Remove channels that are always zero: the same pictures from a smaller, faster model.
        overwrite: Replace an existing file.
    """
    from styleplugin.loading.build import save_model
    from styleplugin.loading.convert import collaborative_distillation as importer

    path = Path(output) / f"cd-wct.released{'-compact' if compact else ''}.safetensors"
    _make_room(folder, [path], overwrite)
    model, metadata = importer.import_collaborative_distillation(folder, compact=compact)
    save_model(path, model, license=metadata["license"], card=metadata.get("card"), overwrite=overwrite)
    say(f"{path}\nUse it with: styleplugin stylize PHOTO PAINTING -o OUT.png --allow-unknown-model --model file:{path}")


@command(import_app, "pca-distillation")
def import_pca_distillation(folder: Positional[Input], /, *, output: Folder, overwrite: bool = False) -> None:
    """Convert the released photorealistic students from your own clone of their repository.

    Args:
        folder: The clone.
        output: Folder for the converted models.
        overwrite: Replace existing files.
    """
    from styleplugin.errors import WeightsError
    from styleplugin.loading.build import save_model
    from styleplugin.loading.convert import pca_distillation as importer

    backbones = importer.backbones_in(folder)
    if not backbones:
        raise WeightsError(
            "SP301",
            f"{folder!r} holds no checkpoints of PCA-Knowledge-Distillation.",
            "Give the folder of a complete clone.",
        )
    paths = [Path(output) / f"pca-photo.{backbone}.released.safetensors" for backbone in backbones]
    _make_room(folder, paths, overwrite)
    for backbone, path in zip(backbones, paths, strict=True):
        model, metadata = importer.import_pca_distillation(folder, backbone)
        save_model(path, model, license=metadata["license"], card=metadata["card"], overwrite=overwrite)
        say(
            f"{path}\nUse it with: styleplugin stylize PHOTO STYLE -o OUT.png --allow-unknown-model --model file:{path}"
        )


@command(import_app, "adain")
def import_adain(file: Positional[Input], /, *, output: Folder, overwrite: bool = False) -> None:
    """Convert AdaIN's own pair, the whole VGG-19 up to relu4_1 and its decoder, from 8-bit integers with scales.

    Args:
        file: A safetensors file of the quantized pair.
        output: Folder for the converted model.
        overwrite: Replace an existing file.
    """
    from styleplugin.loading.build import save_model
    from styleplugin.loading.convert import adain as importer

    path = Path(output) / "adain.released.safetensors"
    _make_room(file, [path], overwrite)
    model, metadata = importer.import_adain(file)
    save_model(path, model, license=metadata["license"], card=metadata["card"], overwrite=overwrite)
    say(f"{path}\nUse it with: styleplugin stylize PHOTO PAINTING -o OUT.png --allow-unknown-model --model file:{path}")


def _make_room(read: str, paths: Sequence[Path], overwrite: bool) -> None:
    """Check where converted models go, all in one folder, which is made."""
    paths[0].parent.mkdir(parents=True, exist_ok=True)
    check_paths([read], [Written(path, WEIGHTS, overwrite) for path in paths])
