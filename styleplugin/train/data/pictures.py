"""Training pictures in memory: one flat tensor of pixels, from which a batch of crops is a single gather.

The crops of a step are a pure function of seed, phase and step. Nothing else is random in training, so a resumed run
sees exactly the crops it would have seen.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from styleplugin.errors import Cancelled, InputImageError, StylePluginWarning, UsageError
from styleplugin.train.data.decode import decode
from styleplugin.train.data.sources import PictureFile, read_files
from styleplugin.train.recipe.options import DataOptions

MAX_BROKEN, MAX_BROKEN_SHARE = 3, 0.01
"""So many files, or this share of them where that is more, may be broken; but always fewer than half."""
PATTERNS = 0.2
"""Largest share of patterns drawn by a script in crops of random pictures, however many there are."""
_AHEAD = 4
"""Files for each thread that are read before it is their turn."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Decoded pictures, one after the other."""

    pixels: Tensor
    """(P, 3) uint8, RGB, on the training device."""
    places: Tensor
    """(M, 3) int64 on the CPU: first pixel, height and width of each picture."""
    fingerprint: str
    """sha256 over the original files' hashes and the sizes, 16 hex digits."""
    chances: Tensor | None = None
    """(M,) float64 on the CPU, of each picture to be drawn; None where all have the same."""

    def __len__(self) -> int:
        return len(self.places)

    def to(self, device: torch.device) -> Pictures:
        """Return the same pictures with their pixels on a device."""
        return replace(self, pixels=self.pixels.to(device))

    def random_crops(self, count: int, side: int, generator: torch.Generator) -> Tensor:
        """Cut random crops of random pictures, each flipped with probability 1/2.

        Args:
            count: How many, N.
            side: Of a crop, at most the shortest side of all pictures.
            generator: On the CPU.

        Returns:
            (N, 3, side, side) float32 in [0, 1] on the device of the pixels, channels-last.
        """
        place = self.places[self._draw(count, generator)]
        share = torch.rand(count, 2, generator=generator, dtype=torch.float64, device="cpu")
        offset = (share * (place[:, 1:] - side + 1)).long()
        flip = torch.rand(count, generator=generator, dtype=torch.float32, device="cpu") < 0.5
        return self._cut(place, offset, flip, side)

    def _draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return the numbers of random pictures, (count,) int64."""
        if self.chances is None:
            return torch.randint(len(self), (count,), generator=generator, dtype=torch.int64, device="cpu")
        return torch.multinomial(self.chances, count, replacement=True, generator=generator)

    def center_crops(self, side: int, limit: int) -> Tensor:
        """Cut the centers of the first pictures: (N, 3, side, side) as `random_crops`."""
        place = self.places[:limit]
        unflipped = torch.zeros(len(place), dtype=torch.bool, device="cpu")
        return self._cut(place, (place[:, 1:] - side) // 2, unflipped, side)

    def _cut(self, place: Tensor, offset: Tensor, flip: Tensor, side: int) -> Tensor:
        numbers = torch.cat([place, offset, flip[:, None]], 1).to(self.pixels.device, non_blocking=True)
        base, _, width, top, left, flipped = numbers[:, :, None, None].unbind(1)
        y = torch.arange(side, device=self.pixels.device, dtype=torch.int64)[None, :, None]
        x = torch.arange(side, device=self.pixels.device, dtype=torch.int64)[None, None, :]
        x = torch.where(flipped > 0, side - 1 - x, x)
        crops = self.pixels[base + (top + y) * width + left + x]
        return crops.permute(0, 3, 1, 2).float() / 255


def step_generator(seed: int, phase: str, step: int) -> torch.Generator:
    """Return the random numbers of one step, or of another purpose named by `phase`."""
    digest = hashlib.sha256(f"{seed}/{phase}/{step}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def load_set(
    options: DataOptions, *, styles: bool, should_stop: Callable[[], bool] = lambda: False
) -> tuple[Pictures, Pictures]:
    """Read the training and validation pictures of a recipe: contents, or styles; see `load_pictures`.

    Raises:
        UsageError: SP130, the recipe names none.
    """
    sources, name = (options.styles, "paintings") if styles else (options.contents, "photos")
    if not sources:
        raise UsageError("SP130", f"The recipe names no {name}.", f"Write {name} under [data], or give `{name}`.")

    def accept(file: PictureFile) -> bool:
        return (styles or file.is_content) and (file.is_open or not options.open_license)

    return load_pictures(
        *sources,
        short_side=options.short_side,
        smallest=max(options.crop, options.largest),
        accept=accept,
        should_stop=should_stop,
    )


def load_pictures(
    *sources: str | Path,
    short_side: int,
    smallest: int,
    validation: int = 256,
    accept: Callable[[PictureFile], bool] = lambda file: True,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[Pictures, Pictures]:
    """Read training and validation pictures.

    Args:
        sources: Folders or tars, in their order, see `read_files`.
        short_side: Larger pictures are shrunk to it, see `decode`.
        smallest: Smaller pictures are enlarged to it.
        validation: Most validation pictures to keep.
        accept: Says which files count.
        should_stop: Asked for each picture.

    Returns:
        Training and validation pictures, on the CPU. Where no file's hash makes it a validation picture, some of the
        training pictures stand in, with a warning.

    Raises:
        Cancelled: `should_stop` said so.
        UsageError: SP130, no such folder or tar; SP131, no picture; SP132, too many files cannot be used.
    """
    broken: list[str] = []

    def decoded_or_none(file: PictureFile) -> _Decoded | None:
        if should_stop():
            raise Cancelled("Stopped while the pictures were read.")
        try:
            pixels = decode(file.data, file.name, short_side, smallest)
        except InputImageError as error:
            broken.append(f"{file.name} ({error.message})")
            return None
        return _Decoded(pixels, file.sha256, file.is_validation, file.is_pattern)

    files = filter(accept, read_files(*sources, broken=broken))
    decoded = [item for item in _map(decoded_or_none, files) if item]
    source = ", ".join(map(str, sources))
    _report_broken(broken, len(decoded) + len(broken))
    if not decoded:
        raise UsageError(
            "SP131", f"There is no picture in {source!r}.", "Give a folder with .jpg, .png or .webp files."
        )
    held_out = [item for item in decoded if item.is_validation][:validation]
    training = [item for item in decoded if not item.is_validation]
    if not held_out or not training:
        warnings.warn(
            f"{len(training)} training and {len(held_out)} validation pictures in {source!r}: both sets are the same.",
            StylePluginWarning,
            stacklevel=2,
        )
        training = decoded
        held_out = decoded[:validation]
    return _pack(training), _pack(held_out)


@dataclass(frozen=True, eq=False)
class _Decoded:
    """A picture, without the bytes of its file."""

    pixels: np.ndarray
    """(H, W, 3) uint8."""
    sha256: str
    is_validation: bool
    is_pattern: bool


def _map(function: Callable[[T], R], values: Iterable[T]) -> Iterator[R]:
    """Yield what a function returns for each value, in their order; few values are held at a time.

    Pillow releases the interpreter while it decodes and scales.
    """
    with ThreadPoolExecutor() as pool:
        waiting: deque[Future[R]] = deque()
        for value in values:
            waiting.append(pool.submit(function, value))
            if len(waiting) > _AHEAD * (os.cpu_count() or 1):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _report_broken(broken: list[str], total: int) -> None:
    if not broken:
        return
    names = "; ".join(sorted(broken)[:5])
    if len(broken) > max(MAX_BROKEN, MAX_BROKEN_SHARE * total) or 2 * len(broken) >= total:
        raise UsageError(
            "SP132",
            f"{len(broken)} of {total} pictures cannot be used; {MAX_BROKEN} or {MAX_BROKEN_SHARE:.0%} may be, but "
            f"fewer than half: {names}",
            "Remove them, or copy them again.",
        )
    warnings.warn(f"{len(broken)} broken pictures are left out: {names}", StylePluginWarning, stacklevel=3)


def _pack(items: Sequence[_Decoded]) -> Pictures:
    count = sum(item.pixels.shape[0] * item.pixels.shape[1] for item in items)
    pixels = torch.empty(count, 3, dtype=torch.uint8, device="cpu")
    places, digest, position = [], hashlib.sha256(), 0
    for item in items:
        height, width, _ = item.pixels.shape
        pixels[position : position + height * width] = torch.from_numpy(item.pixels.reshape(-1, 3).copy())
        places.append((position, height, width))
        digest.update(f"{item.sha256} {height} {width}\n".encode())
        position += height * width
    return Pictures(
        pixels=pixels,
        places=torch.tensor(places, dtype=torch.int64, device="cpu"),
        fingerprint=digest.hexdigest()[:16],
        chances=_chances([item.is_pattern for item in items]),
    )


def _chances(is_pattern: Sequence[bool]) -> Tensor | None:
    """Return the chance of each picture to be drawn, if patterns would be drawn too often otherwise."""
    patterns = torch.tensor(is_pattern, dtype=torch.bool, device="cpu")
    count, total = int(patterns.sum()), len(patterns)
    if count in (0, total) or count <= PATTERNS * total:
        return None
    chances = torch.full((total,), (1 - PATTERNS) / (total - count), dtype=torch.float64, device="cpu")
    return chances.masked_fill(patterns, PATTERNS / count)
