"""What is fuzzed: each parser with small seeds, made here."""

from __future__ import annotations

import io
import json
import re
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
import safetensors.torch
import torch
from fakes.networks import drawn
from fakes.tensorflow import write_checkpoint
from fakes.tiff import CIELAB, CMYK, DEFLATE, LZW, WHITE_IS_ZERO, tiff
from PIL import Image, PngImagePlugin
from torch import nn

from styleplugin.images.color.profiles import SRGB_PROFILE
from styleplugin.images.formats import jxl
from styleplugin.images.looks.read import read_lut
from styleplugin.images.looks.table import LUT
from styleplugin.images.picture import Picture, from_channels
from styleplugin.images.read import picture_size, read_image
from styleplugin.images.write import image_bytes
from styleplugin.loading.build import load_model, load_saved_encoder, save_encoder, save_model
from styleplugin.loading.convert import adain, pca_distillation, tensorflow
from styleplugin.loading.convert.collaborative_distillation import import_collaborative_distillation
from styleplugin.loading.convert.vgg import import_vgg
from styleplugin.methods.kbstyle.model import KBModel, KBSpec
from styleplugin.methods.photorealistic.model import PhotoModel, PhotoSpec
from styleplugin.networks.pairs import Pair, PairModel, PairSpec
from styleplugin.networks.vgg import Encoder, VGGSpec, convs_of_level
from styleplugin.style import Style
from styleplugin.tensorfile import STYLE, read_weights, write_weights
from styleplugin.train import new_recipe, read_recipe, recipe_text
from styleplugin.transforms.moments import Moments

_MEGAPIXELS = 1.0
_SOME = 100_000
"""Inputs of the big run for parsers that build a network or a table picture, or that decode for long."""
_ADAIN = 4
"""The level of the pair."""
_PHOTO = PhotoSpec(backbone="vgg", widths=(2,) * 4)


@dataclass(frozen=True)
class Parser:
    """One parser."""

    suffix: str
    read: Callable[[Path], object]
    make_seeds: Callable[[Path], Sequence[bytes]]
    """Takes an empty folder."""
    wanted: int = 2_000_000
    """Inputs of the big run."""
    mend: Callable[[bytes], bytes] = bytes
    """Makes right, in a damaged file, what would have it refused at once; for half of the inputs."""

    def seeds(self) -> list[bytes]:
        """Return the seeds."""
        with TemporaryDirectory(prefix="styleplugin-fuzz-") as folder:
            return list(self.make_seeds(Path(folder)))


def _pictures(folder: Path) -> list[bytes]:
    seeds = []
    gradient = Image.linear_gradient("L").resize((9, 8))
    for kind in ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "PPM"):
        for mode in ("RGB", "L", "RGBA", "P", "CMYK", "I;16"):
            try:
                seeds.append(_saved(gradient.convert(mode), kind))
            except (OSError, ValueError):  # Not every format has every mode.
                continue
    return [*seeds, *_described(), *_tiffs()]


def _saved(image: Image.Image, kind: str, **settings: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **settings)
    return buffer.getvalue()


def _described() -> list[bytes]:
    """Return pictures with everything that may stand beside the pixels."""
    image = Image.linear_gradient("L").resize((9, 8)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a hill"
    chunks = PngImagePlugin.PngInfo()
    chunks.add(b"gAMA", struct.pack(">I", 50_000))
    chunks.add(b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000))
    chunks.add(b"cICP", bytes((12, 13, 0, 1)))
    chunks.add_itxt("XML:com.adobe.xmp", "<x:xmpmeta xmlns:x='adobe:ns:meta/'/>")
    chunks.add_text("a", "b" * 99, zip=True)
    beside = {"exif": exif, "icc_profile": SRGB_PROFILE}
    return [
        _saved(image, "PNG", pnginfo=chunks, exif=exif),
        *(_saved(image, kind, **beside) for kind in ("PNG", "JPEG", "WEBP", "TIFF")),
        _saved(image, "GIF", save_all=True, append_images=[image.rotate(90)]),
        _saved(image, "MPO", save_all=True, append_images=[image]),
        _saved(image, "JPEG", progressive=True, xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"),
    ]


def _tiffs() -> list[bytes]:
    """Return TIFF of the kinds that Pillow does not read as they are."""
    whole = np.arange(9 * 8 * 4, dtype=np.uint16).reshape(8, 9, 4) * 200
    rgb, gray, floats = whole[..., :3], whole[..., :1], (whole[..., :3] / 65535).astype(np.float32)
    return [
        tiff(rgb),
        tiff(rgb, order=">"),
        tiff(rgb, big=True),
        tiff(rgb, tile=16, compression=LZW, predictor=2),
        tiff(rgb, planar=True, compression=DEFLATE, predictor=2),
        tiff(gray),
        tiff(gray // 16, bits=12),
        tiff(gray, photometric=WHITE_IS_ZERO, order=">", tile=16),
        tiff(whole, extra=(1,)),
        tiff(whole, photometric=CMYK),
        tiff(rgb, photometric=CIELAB),
        tiff(rgb.astype(np.uint32) * 65537),
        tiff(floats),
        tiff(floats, tile=16, compression=DEFLATE, predictor=3),
        tiff(floats.astype(np.float16), order=">"),
        tiff(floats.astype(np.float64), compression=LZW),
        tiff(rgb, icc=SRGB_PROFILE),
    ]


def _avifs(folder: Path) -> list[bytes]:
    image = Image.linear_gradient("L").resize((32, 24)).convert("RGB")
    return [_saved(image.convert(mode), "AVIF", quality=60, autotiling=False) for mode in ("RGB", "RGBA")]


def _heics(folder: Path) -> list[bytes]:
    import pillow_heif

    samples, seeds = np.arange(64 * 64 * 4, dtype=np.uint16).reshape(64, 64, 4), []
    described = {"color_primaries": 12, "transfer_characteristics": 13}
    for mode, values, settings in (
        ("RGB", samples[..., :3].astype(np.uint8), described),
        ("RGBA", samples.astype(np.uint8), {}),
        ("RGB;16", samples[..., :3] * 4, {}),
    ):
        buffer = io.BytesIO()
        pillow_heif.encode(mode, (64, 64), np.ascontiguousarray(values).tobytes(), buffer, quality=50, **settings)
        seeds.append(buffer.getvalue())
    return seeds


def _jxls(folder: Path) -> list[bytes]:
    image = Image.linear_gradient("L").resize((32, 24)).convert("RGB")
    plain = jxl.encode(image, quality=60, exif=b"", xmp=b"")
    described = jxl.encode(image.convert("RGBA"), quality=100, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0", xmp=b"<x/>")
    return [plain, described, plain[plain.index(b"\xff\x0a") :]]


def _read_picture(path: Path) -> Picture:
    picture = read_image(path, max_megapixels=_MEGAPIXELS)
    assert picture.rgb.isfinite().all() and picture.rgb.shape[1] == 3
    assert picture.bits > 16 or (picture.rgb.min() >= 0 and picture.rgb.max() <= 1)
    return picture


def _cubes(folder: Path) -> list[bytes]:
    rows = "".join(f"{r} {g} {b}\n" for b in (0, 1) for g in (0, 1) for r in (0, 1))
    curve = "0 0 0\n0.4 0.5 0.6\n1 1 1\n"
    heads = (
        'TITLE "x"\nLUT_3D_SIZE 2\nDOMAIN_MIN 0 0 0\nDOMAIN_MAX 1 1 1\n',
        "# comment\nLUT_3D_SIZE 2\nLUT_3D_INPUT_RANGE 0.0 2.0\n",
        "LUT_1D_SIZE 3\nLUT_1D_INPUT_RANGE 0 1\nLUT_3D_SIZE 2\nLUT_3D_INPUT_RANGE 0 1\n" + curve,
    )
    texts = [head + rows for head in heads] + ["LUT_1D_SIZE 3\n" + curve]
    return [*(text.encode() for text in texts), texts[0].encode("utf-16")]


def _look_pictures(folder: Path) -> list[bytes]:
    """Return pictures of both layouts."""
    seeds = []
    for level, bits in ((2, 8), (3, 8), (2, 16), (4, 8)):
        table, size = LUT.identity(level**2).table, level**2
        squares = table.reshape(level, level, size, size, 3).transpose(1, 2)
        for colors in (table, squares):
            picture = from_channels(colors.reshape(level**3, level**3, 3).movedim(-1, 0)[None].clone(), bits=bits)
            seeds.append(image_bytes(picture, "png"))
    return seeds


def _read_look(path: Path) -> LUT:
    look = read_lut(path)
    assert look.table.isfinite().all() and look.table.shape == (look.size,) * 3 + (3,)
    return look


def _read_look_picture(path: Path) -> LUT:
    """Read a picture that declares no more pixels than the rule is made for."""
    picture_size(path, max_megapixels=_MEGAPIXELS)
    return _read_look(path)


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
    texts = [recipe_text(new_recipe(method)) for method in methods]
    # Damage to a comment shows nothing, so one seed has them.
    return [min(texts, key=len).encode(), *(re.sub(r"(?m)^#.*\n", "", text).encode() for text in texts)]


def _spec(level: int) -> VGGSpec:
    return VGGSpec(level=level, widths=(4,) * len(convs_of_level(level)))


def _weights(folder: Path) -> list[bytes]:
    models = drawn(
        lambda: (
            PairModel("wct", [Pair(PairSpec(encoder=_spec(level), decoder=_spec(level))) for level in (1, 2)]),
            KBModel(KBSpec(widths=(2, 3, 4), blocks=1)),
            PhotoModel(_PHOTO),
        )
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


def _quantized_pair(folder: Path) -> list[bytes]:
    torch.manual_seed(0)
    tensors = {}
    for name, value in Pair(PairSpec(encoder=_spec(_ADAIN), decoder=_spec(_ADAIN))).state_dict().items():
        if name.endswith(".bias"):
            tensors[name] = torch.rand(value.shape)
        else:
            tensors |= {f"{name}_q": torch.randint(0, 256, value.shape, dtype=torch.uint8)}
            tensors |= {f"{name}_scale": torch.tensor([2.0**-10])}
            tensors |= {f"{name}_zero": torch.tensor([-100], dtype=torch.int32)}
    return [safetensors.torch.save(tensors)]


def _read_quantized_pair(path: Path) -> object:
    """Import a pair of fewer channels, whose file is small enough to be damaged thoroughly."""
    with patch.object(adain, "teacher_spec", lambda level, **changes: replace(_spec(level), **changes)):
        return adain.import_adain(path)


def _released_student(folder: Path) -> list[bytes]:
    torch.manual_seed(0)
    layers = [layer for layer in PhotoModel(_PHOTO).modules() if isinstance(layer, nn.Conv2d)]
    names = [f"enc.block{k}.{i}" for k, n in enumerate((2, 2, 2, 4)) for i in range(n)]
    names += [f"dec.block{k}.{i}" for k, n in enumerate((1, 2, 2, 4)) for i in range(n)]
    tensors = {}
    for name, layer in zip(names, [nn.Conv2d(3, 3, 1), *layers], strict=True):
        tensors |= {f"{name}.weight": layer.weight.detach(), f"{name}.bias": layer.get_parameter("bias").detach()}
    return [safetensors.torch.save(tensors)]


def _read_released_student(path: Path) -> object:
    with patch.object(pca_distillation, "PhotoSpec", lambda backbone: _PHOTO):
        return pca_distillation.import_pca_distillation(path, "vgg")


_BETWEEN = b"-- data --"
"""Between the two files of a TensorFlow checkpoint, which are damaged as one."""


def _tensorflow_checkpoints(folder: Path) -> list[bytes]:
    tensors = {
        "layer/0/bias": np.arange(5, dtype=np.float32),
        "layer/0/kernel": np.ones((3, 3, 2, 5), np.float32),
        "layer/1/bias": np.full((), 2.5, np.float32),
        "names": np.frombuffer(b"text", np.uint8),
    }
    seeds = []
    for per_block in (1, 10):
        path = write_checkpoint(folder / "model.index", tensors, per_block=per_block)
        seeds.append(path.read_bytes() + _BETWEEN + path.with_name("model.data-00000-of-00001").read_bytes())
    return seeds


def _read_tensorflow(path: Path) -> object:
    index, _, data = path.read_bytes().partition(_BETWEEN)
    path.write_bytes(index)
    path.with_name(f"{path.stem}.data-00000-of-00001").write_bytes(data)
    return tensorflow.read_tensorflow(path)


def _read_believed_tensorflow(path: Path) -> object:
    """Read a checkpoint whatever its checksums are, which few damages pass."""
    with patch.object(tensorflow, "masked_crc32c", _Any):
        return _read_tensorflow(path)


class _Any:
    """A checksum that equals every other."""

    def __init__(self, data: bytes) -> None:
        pass

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


def mend_png(data: bytes) -> bytes:
    """Make the checksums of a PNG right, so that what it says is believed."""
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        return data
    mended, position = bytearray(data), 8
    while position + 12 <= len(data):
        end = position + 8 + int.from_bytes(data[position : position + 4], "big")
        if end + 4 > len(data):
            break
        mended[end : end + 4] = zlib.crc32(data[position + 4 : end]).to_bytes(4, "big")
        position = end + 4
    return bytes(mended)


def mend_safetensors(data: bytes) -> bytes:
    """Make the length of the header right, wherever the header ends now."""
    text = data[8:].decode("latin-1")
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return data
    # Spaces fill it up.
    end += len(text[end:]) - len(text[end:].lstrip(" "))
    return end.to_bytes(8, "little") + data[8:]


PARSERS = {
    "pictures": Parser(".png", _read_picture, _pictures, mend=mend_png),
    "cube": Parser(".cube", _read_look, _cubes),
    "styles": Parser(".safetensors", Style.load, _styles, mend=mend_safetensors),
    "recipes": Parser(".toml", read_recipe, _recipes),
    "avif": Parser(".avif", _read_picture, _avifs, _SOME),
    "heic": Parser(".heic", _read_picture, _heics, _SOME),
    "jxl": Parser(".jxl", _read_picture, _jxls, _SOME),
    "hald": Parser(".png", _read_look_picture, _look_pictures, _SOME, mend=mend_png),
    "weights": Parser(
        ".safetensors", lambda path: load_model(read_weights(path)), _weights, _SOME, mend=mend_safetensors
    ),
    "encoders": Parser(
        ".safetensors", lambda path: load_saved_encoder(read_weights(path)), _encoders, _SOME, mend=mend_safetensors
    ),
    "pickles": Parser(".pth", import_vgg, _pickles, _SOME),
    "repacks": Parser(".safetensors", import_collaborative_distillation, _repacks, _SOME, mend=mend_safetensors),
    "adain": Parser(".safetensors", _read_quantized_pair, _quantized_pair, _SOME, mend=mend_safetensors),
    "students": Parser(".safetensors", _read_released_student, _released_student, _SOME, mend=mend_safetensors),
    "tensorflow": Parser(".index", _read_tensorflow, _tensorflow_checkpoints, _SOME),
    "believed": Parser(".index", _read_believed_tensorflow, _tensorflow_checkpoints, _SOME),
}


@cache
def seeds_of(name: str) -> list[bytes]:
    """Return the seeds of a parser, made once."""
    return PARSERS[name].seeds()
