"""TIFF with more than 8 bits per sample, integer or floating point, which Pillow cuts to 8 bits or refuses.

A compressed strip or tile is a row of bytes, whatever the samples are. So Pillow's libtiff unpacks them as a gray
picture of 8 bits that is as many pixels wide as a row has bytes, and the samples are put together here. tifffile,
without the large `imagecodecs`, does not unpack LZW, which most programs write.

Source: Adobe "TIFF 6.0" (1992), sections 14 (differencing) and 18 (associated alpha); Adobe "TIFF Technical Note 3"
(2005), floating-point differencing.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin

from styleplugin.errors import InputImageError
from styleplugin.images.integers import to_samples

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 256, 257, 258, 259, 262, 266
_OFFSETS, _CHANNELS, _ROWS_PER_STRIP, _COUNTS, _PLANAR, _PREDICTOR = 273, 277, 278, 279, 284, 317
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS, _EXTRA, _FORMAT = 322, 323, 324, 325, 338, 339
_ICC = 34675
MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

# Number in the file: name of those that pack bytes and know nothing of pixels.
_BYTE_COMPRESSIONS = (1, 5, 8, 32773, 32946, 34925, 50000)
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _CMYK, _CIELAB = 0, 1, 2, 5, 8
_COLORS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _CMYK: 4, _CIELAB: 3}
_ASSOCIATED, _UNASSOCIATED = 1, 2
_SHORT, _LONG = 3, 4


@dataclass(frozen=True)
class TiffFile:
    """What the first page says of itself."""

    tags: Any
    """Pillow's directory; looked up by number."""
    data: bytes
    order: str
    """"<" or ">"."""
    offset: int
    """Where its directory begins."""
    is_big: bool
    """Whether offsets have 64 bits."""
    has_more_pages: bool

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return int(self.tags[_HEIGHT]), int(self.tags[_WIDTH])

    @property
    def channels(self) -> int:
        """Samples of a pixel, alpha and others included."""
        return int(self.tags.get(_CHANNELS, 1))

    @property
    def bits(self) -> int:
        """Of the largest sample."""
        return max(self.tags.get(_BITS, (1,)))

    @property
    def sample_format(self) -> int:
        """1 unsigned, 2 signed, 3 floating point; 4, "undefined", counts as unsigned."""
        given = self.tags.get(_FORMAT, (_UNSIGNED,))[0]
        return given if given in (_SIGNED, _FLOAT) else _UNSIGNED

    @property
    def is_deep(self) -> bool:
        """Whether Pillow would cut, misread or refuse its samples."""
        return self.bits > 8 or self.sample_format != _UNSIGNED

    @property
    def colors(self) -> str:
        """What its samples are: "gray", "RGB", "CMYK" or "LAB"; "" for others."""
        return {1: "gray", 3: "RGB", 4: "CMYK"}.get(self._colors, "") if self._photometric != _CIELAB else "LAB"

    @property
    def profile(self) -> bytes | None:
        """The ICC profile."""
        return self.tags.get(_ICC)

    @property
    def _photometric(self) -> int:
        return int(self.tags.get(_PHOTOMETRIC, -1))

    @property
    def _colors(self) -> int:
        return _COLORS.get(self._photometric, 0)


def read_header(data: bytes, name: str) -> TiffFile:
    """Read the directory of the first page.

    Raises:
        InputImageError: SP206, a kind of file that Pillow's parser does not know.
        ValueError: The file breaks the format; or another error of Pillow's parser.
    """
    stream = io.BytesIO(data)
    head = stream.read(8)
    if head[:4] == b"MM\0+":
        raise _refused(name, "offsets of 64 bits in big-endian order")
    is_big = head[2:3] == b"+"
    if is_big:
        head += stream.read(8)
    tags = TiffImagePlugin.ImageFileDirectory_v2(head)
    offset = tags.next
    stream.seek(offset)
    tags.load(stream)
    if _WIDTH not in tags or _HEIGHT not in tags:
        raise ValueError("its size is missing")
    return TiffFile(tags, data, "<" if head[:2] == b"II" else ">", offset, is_big, bool(tags.next))


def read_exif(file: TiffFile) -> Image.Exif:
    """Return the EXIF data of the first page, or raise any error of Pillow's parser."""
    exif = Image.Exif()
    exif.bigtiff, exif.endian = file.is_big, file.order
    exif.load_from_fp(io.BytesIO(file.data), file.offset)
    return exif


def with_exif(data: bytes, exif: Image.Exif) -> bytes:
    """Return a small TIFF in little-endian order with the tags of EXIF besides its own.

    libtiff, through Pillow, writes no directories within the directory. So the file gets another one at its end: the
    entries that it has, which point to what they pointed to before, and those that Pillow makes of EXIF.
    """
    data += bytes(len(data) % 2)
    exif.endian = "<"
    # Behind the letters "Exif" and a TIFF's head.
    others = exif.tobytes(len(data))[14:]
    (own,) = struct.unpack_from("<I", data, 4)
    entries = sorted([*_entries(data[own:]), *_entries(others)], key=lambda entry: entry[:2][::-1])
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    others += bytes(len(others) % 2)
    return data[:4] + struct.pack("<I", len(data) + len(others)) + data[8:] + others + directory


def _entries(directory: bytes) -> list[bytes]:
    (count,) = struct.unpack_from("<H", directory)
    return [directory[2 + 12 * i : 14 + 12 * i] for i in range(count)]


def decode(file: TiffFile, name: str, notes: list[str], bits: int | None = None) -> np.ndarray:
    """Decode the first page: (H, W, C) uint8, uint16 or float32; alpha, if there is one, behind the colors.

    Args:
        file: From `read_header`; one that `is_deep`.
        name: For messages.
        notes: Receives what had to be left out or assumed.
        bits: Of the values, where they do not use the range of their type.

    Raises:
        InputImageError: SP206, a kind of TIFF that is not read; SP214, the range of its integers is not known.
        ValueError: The file breaks the format.
    """
    _check_kind(file, name)
    samples = np.concatenate([_plane(file, place) for place in range(_planes(file))], -1)
    colors = file._colors
    if file.colors == "LAB":
        return samples[..., :3]
    if file.sample_format == _FLOAT:
        samples = samples.astype(np.float32)
    elif file.bits > 16 or bits is not None:
        samples = to_samples(samples, repr(name), notes, bits, whole_range=file.bits == 32 and _is_unsigned(file))
    elif file.bits < 16:
        samples = np.rint(samples * (65535 / ((1 << file.bits) - 1))).astype(np.uint16)
    else:
        # In the order of this machine, which torch asks for.
        samples = samples.astype(np.uint16)
    if file._photometric == _WHITE_IS_ZERO:
        samples[..., :1] = _largest(samples) - samples[..., :1]
    return _with_alpha(samples, colors, file.tags.get(_EXTRA, ()), notes)


def _check_kind(file: TiffFile, name: str) -> None:
    depths = set(file.tags.get(_BITS, (1,)))
    compression, predictor = file.tags.get(_COMPRESSION, 1), file.tags.get(_PREDICTOR, 1)
    if len(depths) > 1:
        raise _refused(name, f"channels of {' and '.join(map(str, sorted(depths)))} bits")
    if file.sample_format == _SIGNED and file.colors != "LAB" and file.bits != 32:
        raise _refused(name, f"signed integers of {file.bits} bits, which say neither what is black nor what is white")
    if file.sample_format == _FLOAT and file.bits not in (16, 32, 64):
        raise _refused(name, f"floating point of {file.bits} bits")
    if file.sample_format == _UNSIGNED and not (8 < file.bits <= 16 or file.bits == 32):
        raise _refused(name, f"integers of {file.bits} bits")
    if file.colors == "LAB" and file.bits != 16:
        raise _refused(name, f"Lab of {file.bits} bits")
    if not file.colors or file.channels < file._colors:
        raise _refused(name, f"{file.channels} channels of the kind {file._photometric}")
    if compression not in _BYTE_COMPRESSIONS:
        raise _refused(name, f"samples of {file.bits} bits compressed in the way {compression}")
    if predictor not in (1, 2, 3) or (predictor == 3 and file.sample_format != _FLOAT):
        raise _refused(name, f"differences of the kind {predictor}")


def _refused(name: str, what: str) -> InputImageError:
    return InputImageError(
        "SP206", f"{name!r} is a TIFF with {what}; this is not read.", "Convert it to RGB of 8 or 16 bits, or float."
    )


def _is_unsigned(file: TiffFile) -> bool:
    return file.sample_format == _UNSIGNED


def _largest(samples: np.ndarray) -> int:
    return 1 if samples.dtype.kind == "f" else int(np.iinfo(samples.dtype).max)


def _planes(file: TiffFile) -> int:
    return file.channels if file.tags.get(_PLANAR, 1) == 2 else 1


def _plane(file: TiffFile, place: int) -> np.ndarray:
    """Decode the pixels of all channels, or of one where each is stored by itself: (H, W, channels)."""
    height, width = file.size
    is_tiled = _TILE_WIDTH in file.tags
    keys = (_TILE_OFFSETS, _TILE_COUNTS) if is_tiled else (_OFFSETS, _COUNTS)
    offsets, counts = (_numbers(file.tags.get(key, ())) for key in keys)
    number = len(offsets) // _planes(file)
    if not number or len(offsets) != len(counts):
        raise ValueError("it does not say where its pixels are")
    part = slice(place * number, (place + 1) * number)
    channels = file.channels if _planes(file) == 1 else 1
    # Cells are whole in the file; those at the right and lower edges are cut only when their samples are known.
    cell = (int(file.tags[_TILE_HEIGHT]), int(file.tags[_TILE_WIDTH])) if is_tiled else (height, width)
    if min(cell) < 1:
        raise ValueError("its tiles have no pixels")
    across, down = -(-width // cell[1]), -(-height // cell[0])
    cell_bytes = -(-cell[1] * channels * file.bits // 8)
    rows_per_strip = None if is_tiled else min(height, int(file.tags.get(_ROWS_PER_STRIP, height)))
    rows = _unpack(
        file,
        offsets[part],
        counts[part],
        (down * cell[0], across * cell_bytes),
        (cell[0], cell_bytes) if is_tiled else None,
        rows_per_strip,
    )
    cells = rows.reshape(len(rows), across, cell_bytes)[:height]
    samples = _samples(cells, file, channels, cell[1])
    return samples.reshape(height, across * cell[1], channels)[:, :width]


def _numbers(value: Any) -> list[int]:
    return [int(x) for x in value] if isinstance(value, Iterable) else [int(value)]


def _unpack(
    file: TiffFile,
    offsets: Sequence[int],
    counts: Sequence[int],
    size: tuple[int, int],
    tile: tuple[int, int] | None,
    rows_per_strip: int | None,
) -> np.ndarray:
    """Return the unpacked bytes, (rows, bytes of a row) uint8: the file read as gray of 8 bits."""
    entries: list[tuple[int, int, list[int]]] = [
        (_WIDTH, _LONG, [size[1]]),
        (_HEIGHT, _LONG, [size[0]]),
        (_BITS, _SHORT, [8]),
        (_COMPRESSION, _SHORT, [int(file.tags.get(_COMPRESSION, 1))]),
        (_PHOTOMETRIC, _SHORT, [_BLACK_IS_ZERO]),
        (_FILL_ORDER, _SHORT, [int(file.tags.get(_FILL_ORDER, 1))]),
        (_CHANNELS, _SHORT, [1]),
    ]
    if tile:
        entries += [(_TILE_WIDTH, _LONG, [tile[1]]), (_TILE_HEIGHT, _LONG, [tile[0]])]
        entries += [(_TILE_OFFSETS, _LONG, list(offsets)), (_TILE_COUNTS, _LONG, list(counts))]
    else:
        entries += [(_ROWS_PER_STRIP, _LONG, [rows_per_strip or size[0]])]
        entries += [(_OFFSETS, _LONG, list(offsets)), (_COUNTS, _LONG, list(counts))]
    with TiffImagePlugin.TiffImageFile(io.BytesIO(_with_directory(file.data, sorted(entries)))) as image:
        return np.asarray(image)


def _with_directory(data: bytes, entries: Sequence[tuple[int, int, list[int]]]) -> bytes:
    """Return a file with another directory, behind everything else, instead of its own."""
    start = len(data) + len(data) % 2
    beyond = start + 2 + 12 * len(entries) + 4
    table, values = struct.pack("<H", len(entries)), b""
    for number, kind, numbers in entries:
        packed = struct.pack(f"<{len(numbers)}{'H' if kind == _SHORT else 'I'}", *numbers)
        if len(packed) > 4:
            place = struct.pack("<I", beyond + len(values))
            values += packed
        else:
            place = packed.ljust(4, b"\0")
        table += struct.pack("<HHI", number, kind, len(numbers)) + place
    head = b"II*\0" + struct.pack("<I", start)
    return b"".join([head, memoryview(data)[8:], b"\0" * (len(data) % 2), table, bytes(4), values])


def _samples(cells: np.ndarray, file: TiffFile, channels: int, width: int) -> np.ndarray:
    """Put samples together from the rows of all cells: (H, across, bytes) uint8 to (H, across, width, channels)."""
    size = file.bits // 8
    predictor = file.tags.get(_PREDICTOR, 1)
    if file.bits % 8:
        flat = np.unpackbits(cells, axis=-1)[..., : width * channels * file.bits]
        bits = flat.reshape(*cells.shape[:2], width, channels, file.bits)
        return bits @ (1 << np.arange(file.bits, dtype=np.uint32)[::-1])
    if predictor == 3:
        return _from_float_differences(cells, size, channels, width)
    kind = {_UNSIGNED: "u", _SIGNED: "i", _FLOAT: "f"}[file.sample_format]
    if file.colors == "LAB":
        kind = "i"
    samples = np.ascontiguousarray(cells).view(f"{file.order}{kind}{size}")
    samples = samples.reshape(*cells.shape[:2], width, channels)
    if predictor == 2:
        # Differences of floats are taken of their bits.
        whole = samples.view(f"{file.order}u{size}").astype(f"=u{size}")
        samples = np.cumsum(whole, axis=2, dtype=f"=u{size}").view(f"=f{size}" if kind == "f" else f"=u{size}")
    return samples


def _from_float_differences(cells: np.ndarray, size: int, channels: int, width: int) -> np.ndarray:
    """Undo differences of bytes, which stand sorted by their place in the number, the highest first."""
    rows = cells.reshape(*cells.shape[:2], -1, channels)
    rows = np.cumsum(rows, axis=2, dtype=np.uint8).reshape(*cells.shape[:2], size, width * channels)
    numbers = np.ascontiguousarray(rows.swapaxes(2, 3)).view(f">f{size}")
    return numbers.reshape(*cells.shape[:2], width, channels)


def _with_alpha(samples: np.ndarray, colors: int, extra: Sequence[int], notes: list[str]) -> np.ndarray:
    """Keep the colors and, if the first channel behind them is one, the alpha, by which colors are not multiplied."""
    count = samples.shape[2]
    if count == colors:
        return samples
    kind = extra[0] if extra else 0
    left_out = count - colors - (kind in (_ASSOCIATED, _UNASSOCIATED))
    if left_out:
        notes.append(f"The TIFF has {left_out} channels beside colors and alpha, which were ignored.")
    if kind not in (_ASSOCIATED, _UNASSOCIATED):
        return samples[..., :colors]
    if kind == _ASSOCIATED:
        largest = _largest(samples)
        alpha = samples[..., colors : colors + 1].astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            straight = np.where(alpha > 0, samples[..., :colors] * (largest / alpha), 0)
        if samples.dtype.kind == "u":
            straight = np.rint(straight.clip(0, largest))
        samples[..., :colors] = straight
    return samples[..., : colors + 1]
