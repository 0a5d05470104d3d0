"""`.cube` files, which editors, players and ffmpeg read: a text with keywords, then the rows of the tables.

Two families of programs write them. Adobe's keywords are TITLE, LUT_1D_SIZE, LUT_3D_SIZE, DOMAIN_MIN and DOMAIN_MAX,
and a file has one table. DaVinci Resolve's are TITLE, the sizes, LUT_1D_INPUT_RANGE, LUT_3D_INPUT_RANGE,
LUT_IN_VIDEO_RANGE and LUT_OUT_VIDEO_RANGE, and a one-dimensional table may stand before the 3D table and is applied
first.

Source: Adobe "Cube LUT Specification 1.0" (2013); Blackmagic Design, developer documentation of DaVinci Resolve,
"Cube LUT Format Specification".
"""

from __future__ import annotations

import codecs
import io
import math
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from styleplugin.errors import InputImageError
from styleplugin.files import PathLike, atomic_write, check_regular_file, check_target
from styleplugin.images.looks.table import LUT, MAX_SIZE, Curves, Triple, unusable
from styleplugin.kinds import TABLE

_MAX_LENGTH = 65536
"""Most places of a one-dimensional table; both specifications say so."""
_MAX_BYTES = 128 << 20
_LARGEST = 1e9
"""Of the numbers of a `.cube` file: far from where float32 ends, far beyond every look."""
_NARROWEST = 1e-6
"""A domain's least width, as a share of its corners (and of 1): narrower ones are no width in float32."""
_COLOR_SPACE = "sRGB, gamma-encoded, full range, in and out"
_LARGEST_OF_SIZE = {"LUT_1D_SIZE": _MAX_LENGTH, "LUT_3D_SIZE": MAX_SIZE}
_NOT_FINITE = re.compile(r"[+-]?(nan|inf|infinity)(\(.*)?$|.*#(ind|inf|qnan|snan)", re.IGNORECASE)
"""How programs write what is no number: "nan", "-nan(ind)", "1.#QNAN"."""
_NAMED_KEYWORDS = 5
"""Unknown keywords that a note names."""


def write_cube(lut: LUT, path: PathLike, *, overwrite: bool = False) -> None:
    """Write a `.cube` file: with Adobe's keywords, or with DaVinci Resolve's where the look has curves.

    Raises:
        OutputError: SP601 to SP604 or SP608, the file exists or cannot be written.
    """
    check_target(path, TABLE, overwrite=overwrite)
    title = "".join(c if c.isprintable() and c != '"' else "'" for c in lut.title)
    tables = [lut.table.reshape(-1, 3)]
    ranges = [f"LUT_3D_SIZE {lut.size}"]
    if lut.curves is None:
        ranges += [f"DOMAIN_MIN {_spelled(lut.low)}", f"DOMAIN_MAX {_spelled(lut.high)}"]
    else:
        # The domain is that of the first table; the second one's has one range for all channels.
        tables.insert(0, lut.curves.values)
        ranges.insert(0, f"LUT_1D_SIZE {len(lut.curves.values)}")
        ranges += [f"DOMAIN_MIN {_spelled(lut.curves.low)}", f"DOMAIN_MAX {_spelled(lut.curves.high)}"]
        ranges += [f"LUT_3D_INPUT_RANGE {_spelled((lut.low[0], lut.high[0]))}"]
    rows = (f"{r:.6f} {g:.6f} {b:.6f}" for table in tables for r, g, b in table.tolist())
    with atomic_write(path) as file:
        file.write("\n".join([f'TITLE "{title}"', f"# Color space: {_COLOR_SPACE}", *ranges, *rows, ""]).encode())


def _spelled(values: Sequence[float]) -> str:
    """Write numbers of a domain, however small, with a dot whatever the locale."""
    return " ".join(repr(float(value)) for value in values)


def read_cube(path: PathLike) -> LUT:
    """Read a `.cube` file: a 3D table, a one-dimensional table, or one before the other.

    Raises:
        InputImageError: SP201, there is no such file; SP240, it is not a whole `.cube` file (with the line), or it maps
            video range.
    """
    file = check_regular_file(path)
    if file.stat().st_size > _MAX_BYTES:
        raise unusable(file, f"it is larger than {_MAX_BYTES >> 20} MB")
    header, rows = _Header(file), array("f")
    for number, line in _lines(file.read_bytes()):
        words = _words(line)
        row = _floats(words) if len(words) == 3 else None
        if row is None:
            header.take(words, line, number)
            continue
        if len(rows) == 3 * (MAX_SIZE**3 + _MAX_LENGTH):
            raise unusable(file, f"it has more than {MAX_SIZE**3 + _MAX_LENGTH} colors, and no size needs more")
        header.check(row, number)
        rows.extend(row)
    return header.build(torch.tensor(rows, dtype=torch.float32, device="cpu").reshape(-1, 3))


@dataclass
class _Header:
    """What the keywords of a file say."""

    file: Path
    title: str = ""
    sizes: dict[str, int] = field(default_factory=dict)
    corners: dict[str, Triple] = field(default_factory=dict)
    """By keyword; a range has two numbers and becomes a LOW and a HIGH with equal channels."""
    unknown: list[str] = field(default_factory=list)

    def take(self, words: list[str], line: str, number: int) -> None:
        """Read a line that is not a row of three numbers."""
        if not words:
            return
        key = words[0].upper()
        if key == "TITLE":
            self.title = line.strip()[5:].strip().strip('"')
        elif key in _LARGEST_OF_SIZE:
            self.sizes[key] = self._size(words, number, _LARGEST_OF_SIZE[key])
        elif key in ("DOMAIN_MIN", "DOMAIN_MAX"):
            red, green, blue = self._numbers(words, number, 3)
            self.corners[key] = red, green, blue
        elif key in ("LUT_1D_INPUT_RANGE", "LUT_3D_INPUT_RANGE"):
            low, high = self._numbers(words, number, 2)
            self.corners |= {f"{key} LOW": (low, low, low), f"{key} HIGH": (high, high, high)}
        elif key in ("LUT_IN_VIDEO_RANGE", "LUT_OUT_VIDEO_RANGE"):
            raise unusable(
                self.file,
                f"line {number} is {key}; it maps video range (16 to 235), and pictures are full range",
                "Export the look again, for full range (also called data range).",
            )
        elif key[0].isalpha() and not _NOT_FINITE.match(key):
            self.unknown.append(key)
        else:
            raise self._no_numbers(words, words, number, 3)

    def check(self, row: tuple[float, ...], number: int) -> None:
        """Refuse numbers that no look has."""
        if not all(map(math.isfinite, row)):
            raise unusable(self.file, f"line {number} holds a value that is not finite")
        if max(map(abs, row)) > _LARGEST:
            raise unusable(self.file, f"line {number} holds a value beyond {_LARGEST:g}")

    def build(self, rows: Tensor) -> LUT:
        """Return the look of (N, 3) rows: those of the one-dimensional table stand first."""
        length, size = (self.sizes.get(key, 0) for key in _LARGEST_OF_SIZE)
        if not length + size or len(rows) != length + size**3:
            raise unusable(
                self.file, f"it has {len(rows)} colors, and its size {size or length} needs {length + size**3}"
            )
        curves = Curves(rows[:length], *self._domain("LUT_1D", first=True)) if length else None
        if not size:
            return LUT(LUT.identity(2).table, self.title, curves=curves, warnings=self._notes())
        low, high = self._domain("LUT_3D", first=not length)
        return LUT(rows[length:].reshape(size, size, size, 3), self.title, low, high, curves, self._notes())

    def _domain(self, table: str, *, first: bool) -> tuple[Triple, Triple]:
        """Return the corners of a table; DOMAIN_MIN and DOMAIN_MAX belong to the first one of the file."""
        low, high = ((value, value, value) for value in (0.0, 1.0))
        if first:
            low, high = self.corners.get("DOMAIN_MIN", low), self.corners.get("DOMAIN_MAX", high)
        if (named := f"{table}_INPUT_RANGE LOW") in self.corners:
            given = self.corners[named], self.corners[f"{table}_INPUT_RANGE HIGH"]
            if first and ("DOMAIN_MIN" in self.corners or "DOMAIN_MAX" in self.corners) and given != (low, high):
                raise unusable(self.file, f"its domain goes from {low} to {high}, and its input range says otherwise")
            low, high = given
        if any(b - a < _NARROWEST * max(1, abs(a), abs(b)) for a, b in zip(low, high, strict=True)):
            raise unusable(self.file, f"its domain goes from {low} to {high}")
        return low, high

    def _notes(self) -> tuple[str, ...]:
        names = list(dict.fromkeys(key[:40] for key in self.unknown))
        if not names:
            return ()
        shown = ", ".join(names[:_NAMED_KEYWORDS]) + (", ..." if len(names) > _NAMED_KEYWORDS else "")
        return (f"{self.file.name} has keywords that are unknown and were ignored: {shown}.",)

    def _size(self, words: list[str], number: int, largest: int) -> int:
        # Not `isdigit`, which is true of a superscript; and `int` refuses thousands of digits with its own error.
        size = int(words[1]) if len(words) == 2 and re.fullmatch("[0-9]{1,5}", words[1]) else 0
        if not 2 <= size <= largest:
            raise self._bad_line(words, number, f"a size from 2 to {largest} is needed")
        return size

    def _numbers(self, words: list[str], number: int, count: int) -> tuple[float, ...]:
        """Return the numbers behind a keyword."""
        values = _floats(words[1:])
        if values is None or len(values) != count:
            raise self._no_numbers(words, words[1:], number, count)
        self.check(values, number)
        return values

    def _no_numbers(self, words: list[str], values: list[str], number: int, count: int) -> InputImageError:
        if any(map(_NOT_FINITE.match, values)):
            return unusable(self.file, f"line {number} holds a value that is not finite")
        return self._bad_line(words, number, f"{'three' if count == 3 else 'two'} numbers are needed")

    def _bad_line(self, words: list[str], number: int, need: str) -> InputImageError:
        return unusable(self.file, f"line {number} is {' '.join(words)[:60]!r}; {need}")


def _lines(data: bytes) -> Iterator[tuple[int, str]]:
    """Decode by the byte order mark, and number the lines, whatever ends them."""
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = data.decode("utf-16" if utf16 else "utf-8-sig", errors="replace")
    return enumerate(io.StringIO(text, newline=None), 1)


def _words(line: str) -> list[str]:
    """Split a line, without the comment behind it; not that of a title, nor the sign of "1.#QNAN"."""
    if "#" in line and line.split(maxsplit=1)[0].upper() != "TITLE":
        line = re.sub(r"(^|\s)#.*", "", line)
    return line.split()


def _floats(words: list[str]) -> tuple[float, ...] | None:
    """Return numbers as files have them: `float` reads "1_0" and the digits of other scripts, too."""
    try:
        values = tuple(map(float, words))
    except ValueError:
        return None
    text = "".join(words)
    return values if text.isascii() and "_" not in text else None
