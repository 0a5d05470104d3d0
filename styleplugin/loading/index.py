"""Names of models: where the file of a name is and which sha256 it must have."""

from __future__ import annotations

import json
import re
import warnings
from dataclasses import asdict, dataclass, field, replace
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from styleplugin.errors import StylePluginWarning, WeightsError
from styleplugin.files import atomic_write, check_target, copy_whole, has_suffix
from styleplugin.guard import guarded
from styleplugin.kinds import WEIGHTS
from styleplugin.loading import hub
from styleplugin.loading.build import ENCODER, METRICS, ModelInfo, load_model, load_saved_encoder
from styleplugin.loading.convert.vgg import WHOLE_VGG
from styleplugin.methods import registry
from styleplugin.networks.model import StyleModel, pairing_id
from styleplugin.paths import source_paths
from styleplugin.tensorfile import STUDENT, Limits, Weights, read_weights

INDEX = "index.json"
OWN_WEIGHTS = "styleplugin:weights"
LARGE_TIMEOUT_S = 1200.0
"""Total time for the download of a teacher; a whole VGG-19 has 548 MB."""
NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_SPELLINGS = "Write builtin:NAME, file:PATH or hub:OWNER/REPO@REVISION[/FILE]."


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """One line of the list of known models."""

    name: str
    file: str
    """Name in the weights folder, without folders."""
    sha256: str
    license: str
    method: str
    description: str = ""
    metrics: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class MetricsEntry:
    """The metrics of an encoder in the list."""

    encoder: str
    """Its pairing id."""
    file: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Located:
    """A weights file on this machine."""

    path: Path
    name: str
    sha256: str | None
    """What its content must be; None for a local file nothing is known about."""


def weights_folder(where: str = OWN_WEIGHTS) -> Path:
    """Return a folder of embedded weights: in its package (wheel) or beside it (clone).

    Args:
        where: `package:folder`, as `MethodSpec.weights` says it.

    Raises:
        WeightsError: SP316, there is none.
    """
    name, _, inner = where.partition(":")
    package = Path(str(files(name)))
    for folder in (package / inner, package.parent / inner):
        if (folder / INDEX).is_file():
            return folder
    raise _missing_weights(INDEX)


def list_models() -> list[ModelEntry]:
    """Return the known models: our own by name, then those of other packages.

    Raises:
        WeightsError: SP316, the embedded weights are missing or their list is damaged.

    Example:
        >>> for model in list_models():
        ...     print(model.name, model.method)
        cd-adain.x16 adain
        cd-wct.x16 wct
        ...
    """
    return [entry for entry, _ in _known_models().values()]


def list_metrics() -> list[MetricsEntry]:
    """Return the embedded metrics of encoders.

    Raises:
        WeightsError: SP316, the embedded weights are missing or their list is damaged.
    """
    return _read_index(weights_folder())[1]


def metrics_of(encoder: nn.Module) -> dict[str, Tensor] | None:
    """Return the embedded metrics of an encoder, `level1.root` ... (C, C); None if there are none for it.

    Raises:
        WeightsError: SP313, SP316, the file is damaged or missing.
    """
    identity = pairing_id(encoder)
    for entry in list_metrics():
        if entry.encoder == identity:
            located = _listed(entry, weights_folder(), entry.file)
            weights = read_weights(located.path)
            _check_known(located, weights, False)
            return weights.tensors
    return None


def file_in(folder: Path, name: str) -> Path:
    """Return the file of a folder by its exact name, for names that come from a stranger.

    Raises:
        WeightsError: SP315, the name is not listed in this folder or leads out of it: parts of a path, drives,
            other upper and lower case, NUL, links to other folders.
    """
    path = next((path for path in folder.iterdir() if path.name == name), None)
    if path is None or not path.resolve().is_relative_to(folder.resolve()):
        raise WeightsError(
            "SP315", f"{name!r} is not the name of a file in the folder {folder.name}.", "Choose a listed name."
        )
    return path


def resolve(source: str | Path, *, limits: Limits = STUDENT, timeout_s: float = 60) -> Located:
    """Find the file a user means; `hub:` sources are downloaded.

    Args:
        source: NAME, builtin:NAME, file:PATH, PATH.safetensors, or hub:OWNER/REPO@REVISION[/FILE][#SHA256].
        limits: Larger files are not downloaded.
        timeout_s: Total time for a download.

    Raises:
        WeightsError: SP301 no such file, SP314 unknown name, SP315 unsafe name,
            SP316 the embedded weights are missing.
        HubError: The download failed.
    """
    kind, colon, rest = str(source).partition(":")
    if isinstance(source, Path):
        return _local(source)
    if colon and kind == "file":
        return _local(Path(rest))
    if colon and kind == "hub":
        return _remote(source, limits, timeout_s)
    if colon and kind == "builtin":
        return _embedded(rest)
    if has_suffix(source, ".safetensors"):
        return _local(Path(source))
    return _embedded(source)


def absolute(source: str | Path) -> str | Path:
    """Return a source that names the same file in every folder."""
    paths = source_paths(str(source))
    return Path(paths[0]).resolve() if paths else source


@guarded()
def load(
    source: str | Path, *, allow_unknown: bool = False, timeout_s: float = 60, sha256: str | None = None
) -> tuple[StyleModel, ModelInfo]:
    """Load a model: on the CPU, in float32, in evaluation mode.

    Args:
        source: As for `resolve`.
        allow_unknown: Accept a local file that is not in the list of known models, with a warning.
        timeout_s: Total time for a download.
        sha256: What the content must be, where that is known; such a file is admitted.

    Raises:
        WeightsError: SP301 to SP323; SP313, the content is not what the list of known models says.
        HubError: The download failed.
    """
    located = resolve(source, timeout_s=timeout_s)
    if sha256 is not None:
        located = replace(located, sha256=sha256)
    model, info = load_model(admit(located, allow_unknown=allow_unknown))
    return model, replace(info, name=located.name)


def admit(located: Located, *, allow_unknown: bool = False) -> Weights:
    """Read a file that is known, or that the user admits; see `load`."""
    weights = read_weights(located.path)
    _check_known(located, weights, allow_unknown)
    return weights


def read_card(source: str | Path) -> dict[str, Any]:
    """Return the card of one of our own files: what it was trained with, its figures, and the verdict of its gate.

    Example:
        >>> card = read_card("cd-adain.x16")
        >>> card["name"], list(card["pairs"])
        ('cd-adain.x16', ['4'])
    """
    return dict(read_weights(resolve(source).path, require_metadata=True).card)


def resolve_teacher(source: str | Path) -> Located:
    """Find the file of a teacher, which may be large; see `resolve`."""
    return resolve(source, limits=WHOLE_VGG, timeout_s=LARGE_TIMEOUT_S)


def architecture_of(path: Path) -> str | None:
    """Return the architecture that a file names; None where it is not one of our own files."""
    if not has_suffix(path, ".safetensors"):
        return None
    return read_weights(path, limits=WHOLE_VGG).metadata.get("architecture")


@guarded()
def verify(name: str) -> ModelInfo:
    """Check an embedded model from its hash to a finite picture.

    Raises:
        WeightsError: As `load`; SP317, the network gives a non-finite picture.
    """
    model, info = load(f"builtin:{name}")
    ramp = torch.linspace(0, 1, 3 * 64 * 64, dtype=torch.float32, device="cpu").reshape(1, 3, 64, 64)
    if not model(ramp).isfinite().all():
        raise WeightsError("SP317", f"The model {name} gives a non-finite picture.", "Reinstall styleplugin.")
    return info


def add_to_index(
    source: Path, name: str, *, description: str = "", folder: Path | None = None
) -> ModelEntry | MetricsEntry:
    """Copy a finished weights file into the weights folder and list it; an entry of the same name is replaced.

    Args:
        source: A file that `load_model` accepts, or the metrics of an encoder.
        name: Its name, lower case: `METHOD-NAME.TAG`; for metrics that of the encoder's model.
        description: One sentence.
        folder: Instead of `weights_folder()`.

    Raises:
        WeightsError: The file cannot be used; SP315, the name cannot be a file name.
        OutputError: SP601 to SP604, the folder cannot be written.
    """
    if not NAME.fullmatch(name):
        raise WeightsError("SP315", f"{name!r} cannot name a model.", "Use lower-case letters, digits, '.', '_', '-'.")
    folder = folder or weights_folder()
    weights = read_weights(source)
    models, metrics = _read_index(folder)
    if weights.metadata and weights.metadata.get("architecture") == METRICS:
        entry = MetricsEntry(
            encoder=weights.required("encoder", str), file=f"{name}.metrics.safetensors", sha256=weights.sha256
        )
        # The metrics of an encoder that is not embedded any more had the same file.
        metrics = [other for other in metrics if entry.encoder != other.encoder and entry.file != other.file] + [entry]
        _write_index(folder, models, metrics, entry.file, source)
        return entry
    _, info = load_model(weights)
    entry = ModelEntry(
        name=name,
        file=f"{name}.safetensors",
        sha256=info.sha256,
        license=info.license,
        method=info.method,
        description=description,
        metrics=info.metrics,
    )
    models = sorted([*(other for other in models if other.name != name), entry], key=lambda other: other.name)
    _write_index(folder, models, metrics, entry.file, source)
    return entry


def _write_index(folder: Path, models: list[ModelEntry], metrics: list[MetricsEntry], file: str, source: Path) -> None:
    """Copy a file into the folder, and write the list."""
    lists = {"models": [asdict(entry) for entry in models], "metrics": [asdict(entry) for entry in metrics]}
    copy_whole(source, folder / file, WEIGHTS, overwrite=True)
    with atomic_write(folder / INDEX) as target:
        target.write((json.dumps(lists, indent=2) + "\n").encode())


def _read_index(folder: Path) -> tuple[list[ModelEntry], list[MetricsEntry]]:
    try:
        lists = json.loads((folder / INDEX).read_bytes())
        metrics = [MetricsEntry(**entry) for entry in lists.get("metrics", [])]
        return [ModelEntry(**entry) for entry in lists["models"]], metrics
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _missing_weights(INDEX) from error


def _known_models() -> dict[str, tuple[ModelEntry, Path]]:
    """Return all listed models by name, each with its folder; a name that is ours stays ours."""
    known: dict[str, tuple[ModelEntry, Path]] = {}
    for where in dict.fromkeys([OWN_WEIGHTS, *(spec.weights for spec in registry.specs())]):
        try:
            folder = weights_folder(where)
            models, _ = _read_index(folder)
        except (WeightsError, ImportError) as error:
            if where == OWN_WEIGHTS:
                raise
            warnings.warn(f"The models of {where} cannot be listed: {error}", StylePluginWarning, stacklevel=2)
            continue
        for entry in models:
            known.setdefault(entry.name, (entry, folder))
    return known


def _embedded(name: str) -> Located:
    known = _known_models()
    if name not in known:
        raise _unknown_name(name, list(known))
    entry, folder = known[name]
    return _listed(entry, folder, name)


def _listed(entry: ModelEntry | MetricsEntry, folder: Path, name: str) -> Located:
    """Return the file of an entry of a folder's list."""
    if not (folder / entry.file).is_file():
        raise _missing_weights(entry.file)
    return Located(path=file_in(folder, entry.file), name=name, sha256=entry.sha256)


def _local(path: Path) -> Located:
    return Located(path=path, name=path.stem, sha256=None)


def _remote(text: str, limits: Limits, timeout_s: float) -> Located:
    source = hub.parse_source(text)
    path = hub.download(source, limit_bytes=limits.file_bytes, timeout_s=timeout_s)
    sha256 = source.sha256 or hub.content_id(path.read_bytes(), 64)
    return Located(path=path, name=f"{source.repo}/{Path(source.file).stem}", sha256=sha256)


def pull(source: str, folder: str | Path | None = None, *, overwrite: bool = False, timeout_s: float = 60) -> Path:
    """Download a model or an encoder of the Hub, check that it can be used, and keep it.

    Args:
        source: hub:OWNER/REPO@REVISION[/FILE][#SHA256].
        folder: Where to put a copy, named after repository and file; by default it stays in the client's cache.
        overwrite: Replace another file of this name.
        timeout_s: Total time for the download.

    Returns:
        The file.

    Raises:
        HubError: The download failed.
        WeightsError: The file is no model that this version knows.
        OutputError: SP601 to SP604, the copy cannot be written.

    Example:
        >>> pull("hub:ann/styles@v1.0/ink.safetensors", "models")  # doctest: +SKIP
        PosixPath('models/ann--styles--ink.safetensors')
        >>> pull("ink.safetensors")
        Traceback (most recent call last):
        styleplugin.errors.WeightsError: 'ink.safetensors' is not on the Hub. Write hub:OWNER/REPO@REVISION/FILE.
    """
    if not source.startswith("hub:"):
        raise WeightsError("SP315", f"{source!r} is not on the Hub.", "Write hub:OWNER/REPO@REVISION/FILE.")
    target = None
    if folder is not None:
        parsed = hub.parse_source(source)
        target = Path(folder) / f"{parsed.repo.replace('/', '--')}--{parsed.file}"
        if overwrite or not target.exists():
            check_target(target, WEIGHTS, overwrite=overwrite)
        # Otherwise the download will tell: the same file may be there already.
    located = resolve(source, timeout_s=timeout_s)
    weights = read_weights(located.path)
    if weights.metadata.get("architecture") == ENCODER:
        load_saved_encoder(weights)
    else:
        load_model(weights)
    if target is None:
        return located.path
    if target.exists() and target.read_bytes() == located.path.read_bytes():
        return target
    return copy_whole(located.path, target, WEIGHTS, overwrite=overwrite)


def _check_known(located: Located, weights: Weights, allow_unknown: bool) -> None:
    if located.sha256 not in (None, weights.sha256):
        raise WeightsError(
            "SP313",
            f"The file of the model {located.name} has the sha256 {weights.sha256}, not {located.sha256}.",
            "It is damaged or was changed; reinstall styleplugin or download the file again.",
        )
    if located.sha256 or weights.sha256 in {entry.sha256 for entry in list_models()}:
        return
    if not allow_unknown:
        raise WeightsError(
            "SP313",
            f"{located.path.name} is not in the list of known models.",
            "If you trust it, admit it with `allow_unknown_model=True`.",
        )
    warnings.warn(f"{located.path.name} is not in the list of known models.", StylePluginWarning, stacklevel=3)


def _unknown_name(name: str, known: list[str]) -> WeightsError:
    if not NAME.fullmatch(name):
        return WeightsError("SP315", f"{name!r} cannot name a model.", _SPELLINGS)
    close = get_close_matches(name, known, n=3)
    hint = f"Did you mean {' or '.join(close)}?" if close else f"Known models: {', '.join(known) or 'none'}."
    return WeightsError("SP314", f"There is no model {name!r}.", hint, {"known": known})


def _missing_weights(file: str) -> WeightsError:
    return WeightsError(
        "SP316",
        f"The embedded weights file {file} is missing or damaged.",
        "Run pip install --force-reinstall --no-deps styleplugin, or in a clone git checkout weights.",
    )
