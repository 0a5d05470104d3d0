"""What the nodes do: plain functions on the host's tensors and a `Host`. Layout changes happen only here.

The host's pictures are (B, H, W, C) in [0, 1], its masks (B, h, w); the core takes pictures one by one, (1, C, H, W).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor

import styleplugin
from styleplugin import LUT, EngineOptions, Optimization, Style, Stylizer, errors, options

MODEL_SUFFIX = ".safetensors"
STYLE_SUFFIX = ".style.safetensors"
"""Ends the name of a style file, so that loaders tell them from models."""
LOOK_SUFFIX = ".cube"

SAMPLES = Path(__file__).parent.parent / "styleplugin" / "samples"
CLIP_FRAMES, CLIP_STEP = 16, 6
"""Frames of a sample clip, and pixels that its camera moves from one to the next."""

PREVIEW_SECONDS = 1.0
"""Between two previews; the host sends each one to the page at once."""

_PIXELS = 1 << 20
# Pixels that get the colors of a look at once: until then Cancel is not heard.

OnStep = Callable[[float, float, str], None]


class Progress(Protocol):
    """The bar on a running node."""

    def update(self, share: float, preview: Image.Image | None = None) -> None:
        """Move the bar to a share in [0, 1], and show a small picture on the node."""
        ...


class Host(Protocol):
    """All that the nodes need of the program they run in."""

    def device(self) -> torch.device:
        """Return where to compute."""
        ...

    def output_device(self) -> torch.device:
        """Return where results are handed over."""
        ...

    def output_dtype(self) -> torch.dtype:
        """Return the type of pictures: float32, unless the host says otherwise."""
        ...

    def prepare(self, model: StyleModel, activation_bytes: int) -> None:
        """Bring a model's weights in and make room for its work."""
        ...

    def make_room(self, activation_bytes: int) -> None:
        """Make room for work without a model."""
        ...

    def progress(self) -> Progress:
        """Return a new bar for the running node."""
        ...

    def check_interrupt(self) -> None:
        """Raise the host's own exception if the user has pressed Cancel."""
        ...

    def say(self, text: str) -> None:
        """Write a line on the running node, where it stays after the end."""
        ...

    def is_oom(self, error: BaseException) -> bool:
        """Whether an exception means that memory ran out."""
        ...

    def empty_cache(self) -> None:
        """Give memory back that is held but not used."""
        ...

    def files(self, suffix: str) -> list[str]:
        """Return the names of the model files, style files or looks that a loader lists."""
        ...

    def path(self, name: str) -> Path:
        """Return the file of a listed name; FileNotFoundError with a helpful text if it is gone."""
        ...

    def fingerprint(self, name: str) -> object:
        """Return what changes when a listed file changes; never raises."""
        ...

    def save_path(self, prefix: str, suffix: str) -> Path:
        """Return a new numbered file in the output folder."""
        ...


@dataclass(eq=False, repr=False)
class StyleModel:
    """A model on its way through a graph."""

    info: Any
    """The core's `ModelInfo`."""
    module: Any
    """The core's `StyleModel`."""
    patcher: Any = None
    """What the host manages its memory with; attached by the host."""
    path: Path | None = None
    """The file of a student that was trained or downloaded here."""

    def __repr__(self) -> str:
        return f"<style model {self.info.name}, {self.info.method}>"


def has_suffix(name: str, suffix: str) -> bool:
    """Whether a file is of a kind; cameras and old programs write `.CUBE`."""
    return name.lower().endswith(suffix)


def check_inside(root: str | os.PathLike[str], path: Path) -> Path:
    """Return the path if it lies in a folder and its name is one that every system takes.

    Raises:
        OutputError: SP603, it leads out of the folder, by a link too, or has characters that no name should have.
    """
    try:
        inside = path.resolve().is_relative_to(Path(root).resolve())
    except (OSError, ValueError):
        inside = False
    if inside and path.name.isprintable():
        return path
    raise errors.OutputError(
        "SP603", f"{path.name!r} cannot name a file in the output folder.", "Use a name such as looks/sunset."
    )


def embedded_models() -> list[str]:
    """Return the names of the models that came with the pack, the default ones of each method first."""
    return list(
        dict.fromkeys([*styleplugin.default_models().values(), *(entry.name for entry in styleplugin.list_models())])
    )


def load_model(host: Host, name: str) -> StyleModel:
    """Load an embedded model, or a file of the model folder."""
    source = name if name in embedded_models() else f"file:{host.path(name)}"
    stylizer = styleplugin.load(source, allow_unknown_model=True, device="cpu")
    return StyleModel(stylizer.info, stylizer.model)


def encode(host: Host, image: Tensor, model: StyleModel, mask: Tensor | None, style_scale: float) -> Style:
    """Measure style pictures; those of a batch count alike."""
    pictures = _pictures(image, "style")
    size = _size(image, style_scale)
    stylizer = _ready(host, model, size)
    styles = [
        stylizer.prepare(picture, mask=where, style_scale=style_scale, on_step=_step(host, i, len(pictures)))
        for i, (picture, where) in enumerate(zip(pictures, _masks(mask, len(pictures)), strict=True))
    ]
    mixed = styleplugin.mix_styles(styles, [1.0] * len(styles))
    _say(host, [note for style in styles for note in style.warnings])
    return mixed


def mix(styles: Sequence[Style], weights: Sequence[float]) -> Style:
    """Mix styles of one model."""
    return styleplugin.mix_styles(styles, weights)


def save_style(host: Host, style: Style, prefix: str) -> Path:
    """Write a style file into the output folder."""
    path = host.save_path(prefix, STYLE_SUFFIX)
    style.save(path)
    host.say(f"Saved {path.name}")
    return path


def load_style(host: Host, name: str) -> Style:
    """Read a style file."""
    return Style.load(host.path(name))


def transfer(
    host: Host,
    content: Tensor,
    style: Tensor | Style | None,
    model: StyleModel | None,
    mask: Tensor | None,
    *,
    statistics: str,
    frame: int = 0,
    tile: int = 0,
    depth: int = 4,
    grain: float | None = None,
    style_scale: float = 1.0,
    **chosen: Any,
) -> Tensor:
    """Stylize the pictures of a batch.

    Args:
        host: See `Host`.
        content: (B, H, W, C), C is 1, 3 or 4; comes back with this size, and with its alpha.
        style: The same with any B and size, or a style; not needed at strength 0.
        model: As loaded; not needed at strength 0.
        mask: (1 or B, h, w), white is stylized.
        statistics: See `styleplugin.options.FrameOptions`. With those of each frame, style pictures and contents
            are paired, the shorter list beginning again from its first; else the styles are mixed in equal parts.
        frame: The same.
        tile: Side in pixels, 0 to choose.
        depth: The deepest level to use, for models with levels.
        grain: See `styleplugin.StylizeOptions`; frames that share their statistics have none, whatever it is.
        style_scale: See `styleplugin.StylizeOptions`.
        **chosen: Further fields of `styleplugin.StylizeOptions`.
    """
    frames = _pictures(content, "content")
    if chosen["strength"] == 0:
        for picture in frames:
            styleplugin.to_picture(picture)  # what is no picture is refused at any strength
        host.say("Strength 0: the content comes back as it is.")
        return _to_host(host, _colored(content))
    assert model is not None and style is not None
    shared = len(frames) if statistics == "whole batch" else 1
    stylizer = _ready(host, model, _size(content), frames=shared, tile=tile)
    chosen["grain"] = grain if statistics == "per frame" else None
    if model.info.method == "wct":
        chosen["levels"] = tuple(level for level in model.info.levels if level <= depth)
    given = [style] if isinstance(style, Style) else _pictures(style, "style")
    styles = [stylizer.prepare(one, style_scale=style_scale, on_step=_step(host)) for one in given]
    if statistics != "per frame":
        styles = [mix(styles, [1.0] * len(styles))]
    masks = _masks(mask, len(frames))
    if len(styles) > 1:
        count = max(len(frames), len(styles))
        masks = [masks[i % len(frames)] for i in range(count)]
        frames, styles = _repeated(host, frames, count, "contents"), _repeated(host, styles, count, "style pictures")
    if len(styles) == 1:
        results = stylizer.frames(
            frames,
            styles[0],
            masks=masks,
            statistics=statistics,
            frame=frame,
            on_step=_step(host, bar=host.progress()),
            **chosen,
        )
    else:
        results = _one_by_one(host, stylizer, frames, styles, masks, chosen)
    return _collected(host, results, len(frames))


def photo_transfer(
    host: Host,
    content: Tensor,
    style: Tensor | Style | None,
    model: StyleModel | None,
    mask: Tensor | None,
    **chosen: Any,
) -> Tensor:
    """Stylize with a photorealistic model; see `transfer`."""
    if model is not None and model.info.method != "photorealistic":
        raise errors.UsageError(
            "SP108",
            f"The model {model.info.name} is for the method {model.info.method}; this node needs a photorealistic one.",
            "Load pca-photo.vgg, or use the node Style Transfer (Fast).",
        )
    return transfer(host, content, style, model, mask, **chosen)


def optimize(
    host: Host, content: Tensor, style: Tensor, mask: Tensor | None, *, tile: int = 0, **chosen: Any
) -> Tensor:
    """Optimize the pictures of a batch, one by one; several style pictures count alike.

    Args:
        host: See `Host`.
        content: (B, H, W, C), C is 1, 3 or 4; comes back with this size, and with its alpha.
        style: The same with any B and size.
        mask: (1 or B, h, w), white is stylized.
        tile: Side in pixels, 0 to choose.
        **chosen: Fields of `styleplugin.OptimizeOptions` and `styleplugin.StylizeOptions`.
    """
    frames, styles = _pictures(content, "content"), _pictures(style, "style")
    masks = _masks(mask, len(frames))
    bar = host.progress()

    def results() -> Iterator[styleplugin.Result]:
        for i, (picture, where) in enumerate(zip(frames, masks, strict=True)):
            run = Optimization(
                picture,
                styles,
                mask=where,
                on_step=_step(host),
                device=str(host.device()),
                tile=str(tile or "auto"),
                **chosen,
            )
            host.make_room(run.memory_needed)
            _follow(host, run, bar, i, len(frames))
            yield run.result()

    return _collected(host, results(), len(frames))


def _follow(host: Host, run: Optimization, bar: Progress, place: int, parts: int) -> None:
    """Do the steps of a run, and show where it stands about once a second."""
    shown = 0.0
    for progress in run:
        now = time.monotonic()
        if now - shown < PREVIEW_SECONDS and progress.step < progress.steps:
            continue
        shown = now
        bar.update((place + progress.share) / parts, run.preview())
        host.say(
            f"step {progress.step}/{progress.steps}  loss {progress.losses.total:.4g}  "
            f"{progress.seconds_left:.0f} s left"
        )


def export_look(host: Host, content: Tensor, stylized: Tensor, size: int, prefix: str) -> tuple[LUT, Tensor, str]:
    """Fit a color table to a stylization and write it into the output folder.

    Returns:
        The table; where it differs from the stylization, (B, H, W, 3), white from a difference of 10 on; its report.
    """
    if content.shape[:3] != stylized.shape[:3]:
        raise errors.UsageError(
            "SP116",
            f"The content is {_shape(content)} and its stylization {_shape(stylized)}; both must have one size.",
            "Connect the stylization of this very picture.",
        )
    # The table of a clip is fitted to all frames, one below the other.
    before, after = (torch.cat(list(_pictures(x, "picture")), 2) for x in (content, stylized))
    path = host.save_path(prefix, LOOK_SUFFIX)
    look = styleplugin.fit_look(before, after, size=size, title=path.stem, on_step=_step(host, bar=host.progress()))
    look.save(path)
    differences = look.error_map.reshape(len(content), *content.shape[1:3], 1).expand(-1, -1, -1, 3)
    host.say(f"Saved {path.name}: {look.report}")
    return look.lut, _to_host(host, differences), str(look.report)


def load_look(host: Host, name: str) -> LUT:
    """Read a color table."""
    look = styleplugin.read_lut(host.path(name))
    _say(host, look.warnings)
    return look


def apply_look(host: Host, image: Tensor, look: LUT) -> Tensor:
    """Map the colors of all pictures of a batch; alpha comes back as it is."""
    pictures = _pictures(image, "picture")
    output = _colored(image).to(host.output_device(), host.output_dtype(), copy=True)
    height, width = output.shape[1:3]
    step, rows = _step(host, bar=host.progress()), max(1, _PIXELS // width)
    for i, picture in enumerate(pictures):
        colors = styleplugin.to_picture(picture[:, :3])
        _say(host, colors.warnings)
        for top in range(0, height, rows):
            band = look.apply(colors.rgb[:, :, top : top + rows])
            output[i, top : top + rows, :, :3] = band[0].movedim(0, -1)
            step(i * height + top + band.shape[2], len(pictures) * height, "look")
    return output


def samples() -> list[str]:
    """Return the names of the pictures that came with the pack, and of the clips made of them."""
    names = sorted(path.stem for path in SAMPLES.glob("*.jpg"))
    return [*names, *(f"{name}, {CLIP_FRAMES} frames" for name in names)]


def sample(host: Host, name: str) -> Tensor:
    """Read a sample picture, or let a camera pan over it."""
    name, clip, _ = name.partition(",")
    picture = styleplugin.to_picture(SAMPLES / f"{name}.jpg").rgb.movedim(1, -1)
    if clip:
        width = (picture.shape[2] - CLIP_STEP * (CLIP_FRAMES - 1)) // 16 * 16
        height = picture.shape[1] // 16 * 16
        views = [picture[:, :height, CLIP_STEP * i : CLIP_STEP * i + width] for i in range(CLIP_FRAMES)]
        picture = torch.cat(views)
    return _to_host(host, picture)


def _ready(host: Host, model: StyleModel, size: tuple[int, int], *, frames: int = 1, tile: int = 0) -> Stylizer:
    """Bring a model in, with room for its work; where there is none, with smaller tiles, and say so."""
    side = str(tile or "auto")
    while True:
        try:
            stylizer = Stylizer(model.module, model.info, EngineOptions(device=str(host.device()), tile=side))
            host.prepare(model, stylizer.memory_needed(size, frames=frames))
            return stylizer
        except Exception as error:
            if not host.is_oom(error):
                raise
            host.empty_cache()
            smaller = (tile or 512) // 2 // options.TILE_MULTIPLE * options.TILE_MULTIPLE
            if smaller < options.MIN_TILE:
                raise errors.ResourceError(
                    "SP502",
                    f"{model!r} does not fit in memory with a picture of {size[1]} x {size[0]}.",
                    "Unload other models, or take a smaller picture.",
                ) from error
            tile, side = smaller, str(smaller)
            host.say(f"Out of memory; going on with tiles of {tile}.")


def _one_by_one(
    host: Host, stylizer: Stylizer, frames: Sequence[Tensor], styles: Sequence[Any], masks: Sequence[Any], chosen: dict
) -> Iterator[styleplugin.Result]:
    """Stylize each frame in its own style."""
    bar = host.progress()
    for i, picture in enumerate(frames):
        step = _step(host, i, len(frames), bar)
        yield stylizer(picture, styles[i], mask=masks[i], on_step=step, **chosen)


def _repeated(host: Host, items: Sequence[Any], count: int, what: str) -> list[Any]:
    """Return as many items as are needed: the list begins again from its first, as the host's own nodes do."""
    if 1 < len(items) < count:
        host.say(f"There are {len(items)} {what} for {count} results: they begin again from the first.")
    return [items[i % len(items)] for i in range(count)]


def _collected(host: Host, results: Iterator[styleplugin.Result], count: int) -> Tensor:
    """Write results into one batch as they come, and say what they noticed."""
    output: Tensor | None = None
    notes: list[str] = []
    for i, result in enumerate(results):
        picture = result.picture
        channels = 3 if picture.alpha is None else 4
        if output is None:
            shape = (count, picture.height, picture.width, channels)
            output = torch.empty(shape, dtype=host.output_dtype(), device=host.output_device())
        output[i, :, :, :3] = picture.rgb[0].movedim(0, -1)
        if picture.alpha is not None:
            output[i, :, :, 3] = picture.alpha[0, 0]
        notes += result.report.warnings
        host.check_interrupt()
    _say(host, notes)
    assert output is not None
    return output


def _pictures(batch: Tensor, what: str) -> list[Tensor]:
    """Return the pictures of a batch as the core takes them, (1, C, H, W); views.

    Raises:
        TensorInputError: SP212, not a batch of pictures, or an empty one.
    """
    if batch.dim() != 4 or batch.shape[3] not in (1, 3, 4) or not batch.numel():
        raise errors.TensorInputError(
            "SP212",
            f"The {what} has the shape {tuple(batch.shape)}; pictures are (B, H, W, C) with C = 1, 3 or 4, and one at "
            "least.",
            "Connect an IMAGE.",
        )
    return [picture.movedim(-1, 0)[None] for picture in batch]


def _masks(mask: Tensor | None, count: int) -> list[Tensor | None]:
    """Return a mask (h, w) for each frame.

    Raises:
        MaskError: SP222, neither one mask nor one for each frame.
    """
    if mask is None:
        return [None] * count
    masks = list(mask.reshape(-1, *mask.shape[-2:]))
    if len(masks) not in (1, count):
        raise errors.MaskError(
            "SP222", f"There are {len(masks)} masks for {count} pictures.", "Connect one mask, or one for each picture."
        )
    return masks * count if len(masks) == 1 else masks  # type: ignore[return-value]


def _step(host: Host, place: int = 0, parts: int = 1, bar: Progress | None = None) -> OnStep:
    """Return what the core calls after every tile: it hears Cancel and moves the bar."""

    def step(done: float, total: float, stage: str) -> None:
        host.check_interrupt()
        if bar is not None and total:
            bar.update((place + done / total) / parts)

    return step


def _say(host: Host, notes: Sequence[str]) -> None:
    if notes:
        host.say("\n".join(dict.fromkeys(notes)))


def _colored(batch: Tensor) -> Tensor:
    """Repeat gray to three channels."""
    return batch.expand(-1, -1, -1, 3).contiguous() if batch.shape[3] == 1 else batch


def _to_host(host: Host, batch: Tensor) -> Tensor:
    return batch.to(host.output_device(), host.output_dtype())


def _size(batch: Tensor, scale: float = 1.0) -> tuple[int, int]:
    return round(batch.shape[1] * scale), round(batch.shape[2] * scale)


def _shape(batch: Tensor) -> str:
    return f"{batch.shape[0]} x ({batch.shape[2]} x {batch.shape[1]})"
