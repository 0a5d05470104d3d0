"""What is fuzzed: each parser with small seeds, made here."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from PIL import Image

from styleplugin.checkpoint import STYLE, read_weights, write_weights
from styleplugin.images.looks.cube import read_cube
from styleplugin.images.looks.hald import read_hald
from styleplugin.images.small import read_image
from styleplugin.importers.collaborative_distillation import import_collaborative_distillation
from styleplugin.importers.tensorflow import read_tensorflow
from styleplugin.importers.vgg import import_vgg
from styleplugin.models.kbstyle import KBModel, KBSpec
from styleplugin.models.pairs import Pair, PairModel, PairSpec
from styleplugin.models.photorealistic import PhotoModel, PhotoSpec
from styleplugin.models.vgg import Encoder, VGGSpec, convs_of_level
from styleplugin.registry import load_model, load_saved_encoder, save_encoder, save_model
from styleplugin.style import Style
from styleplugin.train import new_recipe, read_recipe, recipe_text
from styleplugin.transforms.moments import Moments

_MEGAPIXELS = 1.0


@dataclass(frozen=True)
class Parser:
    """One parser."""

    suffix: str
    read: Callable[[Path], object]
    make_seeds: Callable[[Path], Sequence[bytes]]
    """Takes an empty folder."""
    wanted: int = 2_000_000
    """Inputs of the big run."""

    def seeds(self) -> list[bytes]:
        """Return the seeds."""
        with TemporaryDirectory(prefix="styleplugin-fuzz-") as folder:
            return list(self.make_seeds(Path(folder)))


def _pictures(folder: Path) -> list[bytes]:
    seeds = []
    gradient = Image.linear_gradient("L").resize((9, 8))
    for kind in ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF"):
        for mode in ("RGB", "L", "RGBA", "P"):
            buffer = io.BytesIO()
            try:
                gradient.convert(mode).save(buffer, kind)
            except OSError:  # Not every format has every mode.
                continue
            seeds.append(buffer.getvalue())
    buffer = io.BytesIO()
    Image.new("I;16", (9, 8), 40_000).save(buffer, "PNG")
    return [*seeds, buffer.getvalue()]


def _cubes(folder: Path) -> list[bytes]:
    rows = "".join(f"{r} {g} {b}\n" for b in (0, 1) for g in (0, 1) for r in (0, 1))
    heads = (
        'TITLE "x"\nLUT_3D_SIZE 2\nDOMAIN_MIN 0 0 0\nDOMAIN_MAX 1 1 1\n',
        "# comment\nLUT_3D_SIZE 2\nLUT_3D_INPUT_RANGE 0.0 2.0\n",
    )
    return [(head + rows).encode() for head in heads] + [b"LUT_1D_SIZE 3\n0 0 0\n0.4 0.5 0.6\n1 1 1\n"]


def _halds(folder: Path) -> list[bytes]:
    axis = [round(255 * k / 3) for k in range(4)]
    colors = [(r, g, b) for b in axis for g in axis for r in axis]
    picture = Image.new("RGB", (8, 8))
    picture.putdata(colors)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return [buffer.getvalue()]


def _read_hald(path: Path) -> object:
    """Read a HALD picture that declares no more pixels than the rule is made for."""
    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > _MEGAPIXELS * 1e6:
                return None
    except Exception:
        pass
    return read_hald(path)


def _styles(folder: Path) -> list[bytes]:
    seeds = []
    for channels, diagonal in (((3, 2), False), ((4,), True)):
        code = tuple(
            (Moments(9.0, torch.zeros(c).double(), torch.ones(c).double() if diagonal else torch.eye(c).double()),)
            for c in channels
        )
        path = folder / f"{len(seeds)}.safetensors"
        Style(code, "tiny", tuple("ab"[: len(channels)]), "x.png", (8, 9)).save(path)
        seeds.append(path.read_bytes())
    return seeds


def _recipes(folder: Path) -> list[bytes]:
    methods = ("wct", "adain", "photorealistic", "kbstyle", "encoder")
    bundle = 'kind = "bundle"\nname = "x"\npairs = ["a.toml", "b.toml"]\ncascade = "c.toml"\n'
    return [recipe_text(new_recipe(method)).encode() for method in methods] + [bundle.encode()]


def _spec(level: int) -> VGGSpec:
    return VGGSpec(level=level, widths=(4,) * len(convs_of_level(level)))


def _weights(folder: Path) -> list[bytes]:
    torch.manual_seed(0)
    pairs = PairModel("wct", [Pair(PairSpec(encoder=_spec(level), decoder=_spec(level))) for level in (1, 2)])
    models = (
        pairs,
        KBModel(KBSpec(widths=(2, 3, 4), blocks=1)),
        PhotoModel(PhotoSpec(backbone="vgg", widths=(2,) * 4)),
    )
    for number, model in enumerate(models):
        save_model(folder / f"{number}.safetensors", model, license="MIT")
    return [path.read_bytes() for path in sorted(folder.iterdir())]


def _encoders(folder: Path) -> list[bytes]:
    torch.manual_seed(0)
    roots = {f"level{k}.root": torch.eye(4) for k in (1, 2)}
    save_encoder(folder / "e.safetensors", Encoder(_spec(2)), roots, license="MIT", card={})
    return [(folder / "e.safetensors").read_bytes()]


def _vgg_state() -> dict[str, torch.Tensor]:
    widths = (3, 4, 4, 4)
    state = {}
    for conv, (before, after) in zip(("1_1", "1_2", "2_1"), pairwise(widths), strict=True):
        state |= {f"conv{conv}.weight": torch.zeros(after, before, 3, 3), f"conv{conv}.bias": torch.zeros(after)}
    return state


def _pickles(folder: Path) -> list[bytes]:
    seeds = []
    for zipped in (True, False):
        buffer = io.BytesIO()
        torch.save(_vgg_state(), buffer, _use_new_zipfile_serialization=zipped)
        seeds.append(buffer.getvalue())
    return seeds


def _repacks(folder: Path) -> list[bytes]:
    pair = Pair(PairSpec(encoder=_spec(1), decoder=_spec(1)))
    renamed = {name.replace("_", ""): value for name, value in pair.encoder.state_dict().items()}
    tensors = {f"e1.{name}": value for name, value in renamed.items()}
    tensors |= {"e1.conv0.weight": torch.eye(3)[:, :, None, None], "e1.conv0.bias": torch.zeros(3)}
    tensors |= {f"d1.{name.replace('_', '')}": value for name, value in pair.decoder.state_dict().items()}
    write_weights(folder / "r.safetensors", tensors, {}, limits=STYLE)
    return [(folder / "r.safetensors").read_bytes()]


def _tables(folder: Path) -> list[bytes]:
    """Return ends of LevelDB tables; their blocks are checked by sums, which few mutants pass."""
    return [b"\x00" * 40 + (0xDB4775248B80FB57).to_bytes(8, "little"), b"\x00" * 64]


def _read_table(path: Path) -> object:
    path.with_name(f"{path.stem}.data-00000-of-00001").write_bytes(b"")
    return read_tensorflow(path)


PARSERS = {
    "pictures": Parser(".png", lambda path: read_image(path, max_megapixels=_MEGAPIXELS), _pictures),
    "cube": Parser(".cube", read_cube, _cubes),
    "styles": Parser(".safetensors", Style.load, _styles),
    "recipes": Parser(".toml", read_recipe, _recipes),
    "hald": Parser(".png", _read_hald, _halds, wanted=100_000),
    "weights": Parser(".safetensors", lambda path: load_model(read_weights(path)), _weights, wanted=100_000),
    "encoders": Parser(".safetensors", lambda path: load_saved_encoder(read_weights(path)), _encoders, wanted=100_000),
    "pickles": Parser(".pth", import_vgg, _pickles, wanted=100_000),
    "repacks": Parser(".safetensors", import_collaborative_distillation, _repacks, wanted=100_000),
    "tensorflow": Parser(".index", _read_table, _tables, wanted=100_000),
}


@cache
def seeds_of(name: str) -> list[bytes]:
    """Return the seeds of a parser, made once."""
    return PARSERS[name].seeds()
