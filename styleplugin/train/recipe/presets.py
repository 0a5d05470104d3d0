"""New recipes from a few choices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from styleplugin.errors import UsageError
from styleplugin.loading.index import NAME
from styleplugin.methods.kbstyle.model import KBSpec
from styleplugin.methods.photorealistic.model import PhotoSpec
from styleplugin.networks.vgg import TEACHER_WIDTHS, convs_of_level
from styleplugin.train.recipe.config import (
    RULES,
    AnyRecipe,
    BundleRecipe,
    CascadeRecipe,
    EncoderRecipe,
    KBRecipe,
    PhotoRecipe,
    Recipe,
)
from styleplugin.train.recipe.options import DataOptions, PhaseOptions, Sources, TeacherOptions
from styleplugin.values import integers

TrainMethod = Literal["wct", "adain", "photorealistic", "kbstyle", "encoder"]
Backbone = Literal["vgg", "mobilenet"]

_X16 = 0.25
_LEAST_WIDTH = 4
_LR = (0.06, 0.015, 0.012, 0.012, 0.005)
"""Learning rate of the pairs of the levels 1 to 5; found with batches of 8 crops of 128 px."""
_ENERGY = {"vgg": (80.0, 100.0, 100.0, 5.0), "mobilenet": (13.0, 12.0, 22.0, 31.0)}
_CASCADE_CROP = 192
"""At level 5 a crop of 128 px has fewer positions than channels, and no covariance of full rank."""
_CPU = {"crop": 128, "batch": 8}
_GPU = {"crop": 256, "batch": 16}


def new_recipe(
    method: TrainMethod,
    *,
    name: str | None = None,
    width: float | None = None,
    levels: Sequence[int] = (),
    backbone: Backbone = "vgg",
    teacher: str = "",
    photos: Sources = "photos",
    paintings: Sources = "paintings",
    minutes: float = 30.0,
    importance: str = "activation",
    gpu: bool = False,
    crop: int = 0,
    batch: int = 0,
    seed: int = 0,
    license: str = "unknown",
) -> AnyRecipe:
    """Choose the settings of a training.

    Args:
        method: wct (a pair for each level), adain, photorealistic, kbstyle, or encoder (for the optimization).
        name: Of the result, lower case; by default the method's.
        width: Channels of the student: for wct, adain and encoder relative to VGG-19, 0.25 by default, which gives the
            16 times smaller students of Collaborative Distillation; for photorealistic and kbstyle relative to the
            papers' students, 1 by default.
        levels: WCT: 1 to 5, all by default; AdaIN: 4 by default, and 3 is quicker; encoder: the deepest, 5 by default.
        backbone: Photorealistic: vgg or mobilenet.
        teacher: See `TeacherOptions.source`.
        photos: Folder or tar of photographs, or several.
        paintings: Folder or tar of artworks, or several; for wct photographs do as well.
        minutes: Time budget.
        importance: What students start from, see `Recipe.importance`; wct, adain and encoder.
        gpu: Larger crops and batches.
        crop: Side of the training crops in pixels, a multiple of 16; 0 takes the usual one.
        batch: Crops of a step; 0 takes the usual number.
        seed: Of all random numbers.
        license: Of the result.

    Raises:
        UsageError: SP120 to SP126, an impossible choice.
    """
    if name is not None and not NAME.fullmatch(name):
        raise UsageError("SP126", f"{name!r} cannot name a model.", "Use lower-case letters, digits, '.', '_', '-'.")
    if width is None:
        width = 1.0 if method in ("photorealistic", "kbstyle") else _X16
    if width <= 0 or minutes <= 0:
        raise UsageError("SP120", f"width was {width:g} and minutes {minutes:g}; both must be positive.")
    levels = integers("levels", levels)
    if set(levels) - {1, 2, 3, 4, 5}:
        raise UsageError("SP121", f"The levels were {list(levels)}; they are 1 to 5.")
    size = _GPU if gpu else _CPU
    crop, batch = crop or size["crop"], batch or size["batch"]
    common: dict[str, Any] = {
        "data": DataOptions(
            name="pictures of the user",
            photos=photos,
            paintings=paintings,
            crop=crop,
            short_side=max(300, crop + 44),
        ),
        "teacher": TeacherOptions(source=teacher),
        "log_every": 20,
        "validate_every": 100,
        "checkpoint_every": 100,
        "minutes": float(minutes),
        "seed": seed,
        "license": license,
    }
    usual = {"photorealistic": f"my-photo-{backbone}"}
    title = name or usual.get(method, f"my-{method}")
    titled: dict[str, Any] = common | {"name": title}
    if method == "wct":
        chosen = sorted(set(levels) or {1, 2, 3, 4, 5})
        pairs = []
        for level in chosen:
            before = pairs[-1].name if pairs else ""
            settings = common | {"name": f"{title}-level{level}", "grow_from": before, "minutes": 0.0}
            pairs.append(_pair("wct", level, width, importance, batch, gpu, settings))
        cascade = _cascade(title, batch, common) if chosen[-1] > 1 else None
        return BundleRecipe(name=title, pairs=tuple(pairs), cascade=cascade, minutes=float(minutes), license=license)
    if method == "adain":
        return _pair("adain", max(levels, default=4), width, importance, batch, gpu, titled)
    if method == "encoder":
        level = max(levels, default=5)
        phase = PhaseOptions(steps=1500, batch=batch, lr=0.01)
        widths = () if width == _X16 else _widths(level, width)
        return EncoderRecipe(level=level, widths=widths, importance=importance, student_encoder=phase, **titled)
    if method == "photorealistic":
        widths = PhotoSpec(backbone=backbone).widths
        phase = PhaseOptions(steps=1500, batch=batch, lr=0.005, warmup=50, pixel=100.0, perceptual=0.0)
        return PhotoRecipe(
            backbone=backbone,
            widths=() if width == 1 else tuple(_scaled(w, width) for w in widths),
            energy=_ENERGY[backbone],
            block1=replace(phase, steps=600),
            block2=phase,
            block3=phase,
            block4=phase,
            joint=replace(phase, steps=2000, lr=0.0015),
            **titled,
        )
    if method == "kbstyle":
        style = PhaseOptions(steps=1800, batch=batch, lr=0.005, warmup=50, content=1.0, style=40.0, pixel=10.0)
        learns = replace(style, steps=3600, encoder=1.0, decoder=1.0, code=0.5, output=2.0)
        small = KBSpec().widths
        return KBRecipe(
            widths=tuple(_scaled(w, width) for w in small),
            style_levels=(2.0, 1.5, 1.0, 1.0),
            big=style,
            small=learns,
            polish=replace(style, steps=900, lr=0.002, warmup=25, style=60.0, grid=5.0),
            **titled,
        )
    raise UsageError("SP121", f"The method was {method!r}; wct, adain, photorealistic, kbstyle or encoder.")


def _pair(
    method: str, level: int, width: float, importance: str, batch: int, gpu: bool, settings: dict[str, Any]
) -> Recipe:
    """Return the recipe of a pair; on a CPU a full VGG-19 gets a decoder that is narrower in the middle."""
    adain = method == "adain"
    lr = 0.006 if adain else _LR[level - 1]
    phase = PhaseOptions(steps=300, batch=batch, lr=0.008 if adain else lr, warmup=50)
    narrow = () if gpu else _narrow(level, settings["teacher"].source)
    return Recipe(
        method=method,
        level=level,
        widths=() if width == _X16 else _widths(level, width),
        teacher_widths=narrow,
        importance=importance,
        teacher_decoder=phase,
        pruning=replace(phase, lr=0.002, steps=400) if importance in RULES else PhaseOptions(steps=0),
        student_encoder=phase,
        student_decoder=replace(phase, steps=150, perceptual=0.01),
        student_pair=PhaseOptions(
            steps=1400, batch=batch, lr=lr, warmup=50, pixel=100.0, perceptual=0.3 if adain else 0.1, embedding=1.0
        ),
        **settings,
    )


def _cascade(title: str, batch: int, common: dict[str, Any]) -> CascadeRecipe:
    """Return the recipe of what all pairs of a bundle learn together."""
    data: DataOptions = common["data"]
    crop = max(data.crop, _CASCADE_CROP)
    settings = common | {
        "name": f"{title}-cascade",
        "minutes": 0.0,
        "data": replace(data, crop=crop, short_side=max(data.short_side, crop + 44)),
    }
    phase = PhaseOptions(steps=300, batch=max(2, batch // 4), lr=0.003, warmup=25, pixel=300.0, style=10.0, content=2.0)
    return CascadeRecipe(decoders=phase, **settings)


def _narrow(level: int, teacher: str) -> tuple[int, ...]:
    """Return a decoder's widths that a CPU can train in minutes: a full VGG-19's from level 4 on are too many."""
    if level < 4 or (teacher and not teacher.startswith("file:")):
        return ()
    return tuple(min(width, 128) for width in TEACHER_WIDTHS[: len(convs_of_level(level))])


def _widths(level: int, width: float) -> tuple[int, ...]:
    return tuple(_scaled(full, width) for full in TEACHER_WIDTHS[: len(convs_of_level(level))])


def _scaled(channels: int, factor: float) -> int:
    return max(_LEAST_WIDTH, round(channels * factor))
