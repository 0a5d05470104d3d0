"""What the training nodes do: recipes from widgets, runs in the output folder, students in a graph."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor

import styleplugin
from styleplugin import errors, train

from .interface import MODEL_SUFFIX, Host, StyleModel
from .styles import embedded_models

EXAMPLES = Path(__file__).parents[2] / "docs" / "images" / "training"
EXAMPLE = "example "
"""Begins the names of the picture folders that came with the pack."""
BYTES_PER_PIXEL = 4096
"""Memory of a training step for each pixel of its batch: features of teacher and student, and their gradients."""

_SHOWN = 600
"""Width of a preview, pixels."""


class TrainingHost(Host, Protocol):
    """What training needs of the host besides."""

    def input_folder(self) -> Path:
        """Return the folder whose subfolders hold the user's pictures."""
        ...

    def runs_folder(self) -> Path:
        """Return the folder of training runs, in the output folder."""
        ...

    def models_folder(self) -> Path:
        """Return the folder into which models are downloaded."""
        ...


@dataclass(frozen=True)
class Teacher:
    """Who judges: a model or a VGG-19, by source."""

    source: str

    def __repr__(self) -> str:
        return f"<teacher {Path(self.source).name}>"


@dataclass(frozen=True)
class Pictures:
    """A folder of training pictures."""

    path: Path
    content: str
    """Changes with the files in it."""

    def __repr__(self) -> str:
        return f"<pictures of {self.path.name}>"


@dataclass(frozen=True)
class Pruning:
    """What a student starts from."""

    importance: str


def load_teacher(host: TrainingHost, name: str, source: str) -> Teacher:
    """Choose an embedded model, a file of the model folder, or a source on the Hub."""
    if source.strip():
        if not source.strip().startswith("hub:"):
            raise errors.UsageError(
                "SP407", f"The source {source!r} is not on the Hub.", "Write hub:OWNER/REPO@REVISION/FILE.safetensors."
            )
        return Teacher(source.strip())
    return Teacher(name if name in embedded_models() else f"file:{host.path(name)}")


def picture_folders(host: TrainingHost) -> list[str]:
    """Return the folders with pictures: those that came with the pack, then the subfolders of the input folder."""
    examples = [f"{EXAMPLE}{path.name}" for path in sorted(EXAMPLES.glob("*")) if path.is_dir()]
    root = host.input_folder()
    folders = (path for path in root.iterdir() if path.is_dir()) if root.is_dir() else ()
    own = sorted(path.name for path in folders if train.holds_pictures(path))
    return [*examples, *own]


def picture_folder(host: TrainingHost, name: str) -> Pictures:
    """Return a listed folder, and say how many pictures it holds."""
    root, path = _place(host, name)
    if path.parent != root or not path.is_dir():
        raise errors.UsageError("SP130", f"There is no folder {name!r} of pictures.", "Press R and choose another one.")
    count = train.count_pictures(path)
    if not count:
        raise errors.UsageError("SP131", f"The folder {name!r} holds no picture.", "Put .jpg, .png or .webp files in.")
    host.say(f"{count} pictures")
    return Pictures(path, _content(path))


def folder_fingerprint(host: TrainingHost, name: str) -> object:
    """Return what changes with the files of a listed folder; never raises."""
    try:
        return _content(_place(host, name)[1])
    except OSError:
        return None


def _place(host: TrainingHost, name: str) -> tuple[Path, Path]:
    """Return the folder of folders that a name belongs to, and the folder that it names."""
    root = EXAMPLES if name.startswith(EXAMPLE) else host.input_folder()
    return root, root / name.removeprefix(EXAMPLE)


def _content(path: Path) -> str:
    stats = [(file.relative_to(path), file.stat()) for file in train.files_below(path)]
    lines = [f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def distill(
    host: TrainingHost,
    method: str,
    teacher: Teacher,
    photos: Pictures,
    paintings: Pictures | None = None,
    pruning: Pruning | None = None,
    *,
    run_name: str,
    minutes: float,
    **settings: Any,
) -> tuple[StyleModel, Tensor, Tensor, dict[str, list[float]], str]:
    """Train a student, or go on with a run of the same settings; on Cancel the best student so far is kept.

    Args:
        host: See `TrainingHost`.
        method: wct, adain, photorealistic or kbstyle.
        teacher: Who judges.
        photos: Contents.
        paintings: Styles, for adain and kbstyle.
        pruning: What the student starts from.
        run_name: Of the run and of the student.
        minutes: Time budget.
        **settings: Further arguments of `styleplugin.train.new_recipe`.

    Returns:
        The student; its contact sheets and its curves, (1, H, W, 3) each; the losses, for the host's own plot; what it
        reached, as text.
    """
    recipe = train.new_recipe(
        method,
        name=run_name,
        teacher=teacher.source,
        photos=str(photos.path),
        paintings=str((paintings or photos).path),
        minutes=minutes,
        importance=pruning.importance if pruning else "activation",
        gpu=host.device().type != "cpu",
        **settings,
    )
    contents = [pictures.content for pictures in (photos, paintings) if pictures]
    digest = hashlib.sha256("\n".join([train.recipe_text(recipe), *contents]).encode()).hexdigest()[:8]
    out = host.runs_folder() / f"{run_name}-{digest}"
    batch = settings.get("batch") or 16
    host.make_room(batch * recipe.crop**2 * BYTES_PER_PIXEL)
    watcher = _Watcher(host, out)
    try:
        target = train.run(
            recipe,
            out,
            resume=True,
            device=str(host.device()),
            on_event=watcher.on_event,
            should_stop=watcher.should_stop,
            on_plan=watcher.on_plan,
            owns_process=False,
        )
    except errors.Cancelled:
        _keep_best(host, out, run_name)
        if watcher.interrupt is not None:
            raise watcher.interrupt from None
        raise
    host.check_interrupt()
    student = load_student(target)
    sheet, plot = (_tensor(host, picture) for picture in pictures_of_run(out))
    return student, sheet, plot, {"loss": watcher.losses(out)}, _summary(student, target)


def load_student(path: Path) -> StyleModel:
    """Load a student, and remember its file."""
    stylizer = styleplugin.load(f"file:{path}", allow_unknown_model=True, device="cpu")
    return StyleModel(stylizer.info, stylizer.model, path=path)


class _Watcher:
    """Shows a run on its node, and hears Cancel."""

    def __init__(self, host: TrainingHost, out: Path) -> None:
        self.interrupt: BaseException | None = None
        self._host, self._out = host, out
        self._bar = host.progress()
        self._seconds = self._share = 0.0

    def on_plan(self, plan: train.Plan) -> None:
        """Note how long everything takes."""
        self._seconds = plan.seconds
        self._host.say(str(plan).rpartition("\n")[2])

    def on_event(self, row: Mapping[str, Any]) -> None:
        """Show a row of the log: a line, and after validations curves and pictures."""
        if "loss" in row:
            left = row["seconds_left"]
            self._share = 1 - left / max(self._seconds, left, 1e-9)
            self._hear(lambda: self._bar.update(self._share))
            self._host.say(
                f"{row['phase']}  step {row['step']}/{row['steps']}  loss {row['loss']:.4g}  {left:.0f} s left"
            )
        elif "validation" in row and row["step"]:
            self._hear(lambda: self._bar.update(self._share, _preview(self._out)))

    def should_stop(self) -> bool:
        """Ask the host."""
        self._hear(self._host.check_interrupt)
        return self.interrupt is not None

    def _hear(self, ask: Callable[[], None]) -> None:
        """Note the host's own exception; its progress bar raises it as well. The run shall end in its own way."""
        try:
            ask()
        except BaseException as error:
            self.interrupt = error

    def losses(self, out: Path) -> list[float]:
        """Return the losses of all phases in order."""
        return [row["loss"] for row in train.read_log(out) if "loss" in row]


def _preview(out: Path) -> Image.Image:
    """Return the curves of the running phase and the contact sheet below one another, small enough for a node."""
    sheet, plot = pictures_of_run(out)
    panel = plot.crop((plot.width - train.PANEL_WIDTH, 0, plot.width, plot.height))
    parts = [picture.resize((_SHOWN, picture.height * _SHOWN // picture.width)) for picture in (panel, sheet)]
    page = Image.new("RGB", (_SHOWN, sum(part.height for part in parts)))
    page.paste(parts[0], (0, 0))
    page.paste(parts[1], (0, parts[0].height))
    return page


def pictures_of_run(out: Path) -> tuple[Image.Image, Image.Image]:
    """Return the newest contact sheet and the curves of a run, gray where there are none yet."""
    sheets = sorted(out.rglob("sheets/*.jpg"), key=lambda path: path.stat().st_mtime)
    plots = sorted(out.rglob("loss.png"), key=lambda path: path.stat().st_mtime)
    found = []
    for paths in (sheets, plots):
        if paths:
            with Image.open(paths[-1]) as picture:
                found.append(picture.convert("RGB"))
        else:
            found.append(Image.new("RGB", (256, 64), "gray"))
    return found[0], found[1]


def runs(host: TrainingHost) -> list[str]:
    """Return the names of the runs, the newest first."""
    root = host.runs_folder()
    folders = [path for path in root.glob("*") if path.is_dir()] if root.is_dir() else []
    return [path.name for path in sorted(folders, key=lambda path: -path.stat().st_mtime)] or ["none yet"]


def run_folder(host: TrainingHost, name: str) -> Path:
    """Return the folder of a listed run."""
    path = host.runs_folder() / name
    if path.parent != host.runs_folder() or not path.is_dir():
        raise errors.UsageError("SP130", f"There is no run {name!r}.", "Press R and choose another one.")
    return path


def preview_training(host: TrainingHost, name: str) -> tuple[Tensor, Tensor]:
    """Return contact sheet and curves of a run as it is now, and say where it stands."""
    out = run_folder(host, name)
    rows = [row for row in train.read_log(out) if "loss" in row]
    if rows:
        last = rows[-1]
        host.say(
            f"{last['run']}  {last['phase']}  step {last['step']}/{last['steps']}  loss {last['loss']:.4g}  "
            f"{last['seconds_left']:.0f} s left"
        )
    sheet, plot = pictures_of_run(out)
    return _tensor(host, sheet), _tensor(host, plot)


def run_fingerprint(host: TrainingHost, name: str) -> object:
    """Return what changes while a run goes on; never raises."""
    try:
        return max(path.stat().st_mtime_ns for path in (host.runs_folder() / name).rglob("log.jsonl"))
    except (OSError, ValueError):
        return None


def save_student(host: TrainingHost, model: StyleModel, prefix: str, even_if_failed: bool) -> str:
    """Copy a student into the output folder, where Load Style Model lists it; return its name."""
    target = _exported(host, _file_of(model), prefix, even_if_failed)
    host.say(f"Saved {target.name}")
    return target.name


def publish_student(host: TrainingHost, model: StyleModel, repo: str, private: bool) -> str:
    """Upload a student to the Hub; return its pinned source."""
    source = styleplugin.publish(_file_of(model), repo, private=private)
    host.say(source)
    return source


def pull_model(host: TrainingHost, source: str) -> StyleModel:
    """Download a model of the Hub into the model folder, and load it."""
    folder = host.models_folder()
    folder.mkdir(parents=True, exist_ok=True)
    path = styleplugin.pull(source.strip(), folder)
    host.say(f"{path.name} is in the model folder")
    return load_student(path)


def _keep_best(host: TrainingHost, out: Path, run_name: str) -> None:
    """Put the best student so far where it can be loaded, and say so."""
    found = sorted(out.rglob(train.BEST), key=lambda path: path.stat().st_mtime)
    if not found:
        host.say("Stopped before there was a student; run it again to go on.")
        return
    target = _exported(host, found[-1], f"style_transfer/{run_name}-best", True)
    host.say(f"Stopped; the best student so far is {target.name}. Run it again to go on.")


def _exported(host: TrainingHost, source: Path, prefix: str, even_if_failed: bool) -> Path:
    target = host.save_path(prefix, MODEL_SUFFIX)
    target.parent.mkdir(parents=True, exist_ok=True)
    return styleplugin.export_student(source, target, even_if_failed=even_if_failed)


def _file_of(model: StyleModel) -> Path:
    if model.path is None:
        raise errors.UsageError(
            "SP147", f"{model!r} was not trained here.", "Connect the student of one of the Distill nodes."
        )
    return model.path


def _summary(model: StyleModel, path: Path) -> str:
    """Say what a student reached."""
    gate = styleplugin.read_card(path)["gate"]
    verdict = "passes its quality gate" if gate["passed"] else f"fails: {'; '.join(gate['failed'])}"
    figures = json.dumps(model.info.metrics)
    return f"{model.info.name}: {model.info.parameters:,} parameters, {figures}; {verdict}"


def _tensor(host: TrainingHost, picture: Image.Image) -> Tensor:
    pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    tensor = pixels.reshape(1, picture.height, picture.width, 3).float() / 255
    return tensor.to(host.output_device(), host.output_dtype())
