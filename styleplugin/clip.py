"""The frames of a clip with their masks, taken one by one, and what they share."""

from __future__ import annotations

import dataclasses
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from typing import Any

from PIL import Image

from styleplugin.engine.stream import OnStep
from styleplugin.errors import MaskError, UsageError
from styleplugin.files import PathLike
from styleplugin.guard import guarded_steps
from styleplugin.images.picture import Picture
from styleplugin.job import Content, Result, part_of, read_content
from styleplugin.options import FrameOptions
from styleplugin.paths import paths_among
from styleplugin.report import Report
from styleplugin.session import Session
from styleplugin.values import stream

Framed = tuple[Any, Any]
"""A content and its mask, not read yet."""
_MISSING = object()


@dataclass(frozen=True, eq=False)
class _Frame:
    """A content that was read."""

    content: Content
    report: Report
    is_untouched: bool
    """Whether the content is the result."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Clip:
    """How the frames of one call become results; each method of it is an iterator over these, in the frames' order."""

    new_session: Callable[[], Session]
    report: Report
    """What the frames' own begin with."""
    files: tuple[PathLike, ...]
    """Of the style."""
    label: int | None
    """Of the contents' masks."""
    max_megapixels: float
    count: int | None
    """How many frames there are, where that is known."""
    on_step: OnStep | None

    def results(self, frames: Iterator[Framed], sharing: FrameOptions) -> Iterator[Result]:
        """Stylize frames that share their statistics as asked for.

        Raises:
            UsageError: SP118, the frame for the statistics does not exist, is masked out, or is of one color.
        """
        if sharing.statistics == "one frame":
            yield from self._as_one_frame(frames, sharing.frame)
        elif sharing.statistics == "whole batch":
            if together := list(frames):
                yield from self._together(together, self.new_session(), 0)
        else:
            for place, frame in enumerate(frames):
                yield from self._together([frame], self.new_session(), place)

    def _as_one_frame(self, frames: Iterator[Framed], reference: int) -> Iterator[Result]:
        """Stylize frames with the statistics of one of them, which is read first."""
        session = self.new_session()
        waiting = deque(islice(frames, reference + 1))
        if not waiting:
            return
        check_reference(reference, len(waiting))
        (result,) = self._together([waiting.pop()], session, 0)
        if not session.is_solved and self.report.settings["strength"]:
            raise no_statistics(reference, "is hidden by its mask")
        if session.is_blank:
            waiting.extend(islice(frames, 1))
            if waiting:
                raise no_statistics(reference, "has no contrast")
        for place in range(1, reference + 1):
            yield from self._together([waiting.popleft()], session, place)
        yield result
        for place, frame in enumerate(frames, reference + 1):
            yield from self._together([frame], session, place)

    @guarded_steps
    def _together(self, pairs: Sequence[Framed], session: Session, place: int) -> Iterator[Result]:
        """Stylize frames by a session's maps; what is not solved yet is solved from them."""
        started = time.perf_counter()
        session.on_step = part_of(self.on_step, place, (self.count or 1) // len(pairs))
        frames = [self._read(*pair) for pair in pairs]
        touched = [frame for frame in frames if not frame.is_untouched]

        def note(message: str) -> None:
            for frame in touched:
                frame.report.warn(message)

        if touched and not session.is_solved:
            session.solve([frame.content for frame in touched], note)
        seconds = (time.perf_counter() - started) / len(frames)
        for frame, pair in zip(frames, pairs, strict=True):
            started = time.perf_counter()
            rgb = frame.content.picture.rgb
            if not frame.is_untouched:
                rgb = session.render(frame.content, note)
                frame.report.tile = session.tile
            frame.report.seconds["stylize"] = seconds + time.perf_counter() - started
            frame.report.seconds["total"] = sum(frame.report.seconds.values())
            picture = dataclasses.replace(frame.content.picture, rgb=rgb, warnings=())
            yield Result(picture, frame.report, paths_among(*pair, self.files))

    def _read(self, content: Any, mask: Any) -> _Frame:
        """Read a content and its mask; the frame's report is a copy of the clip's."""
        report = dataclasses.replace(
            self.report, seconds=dict(self.report.seconds), warnings=list(self.report.warnings)
        )
        read = read_content(content, mask, report, label=self.label, max_megapixels=self.max_megapixels)
        return _Frame(read, report, report.settings["strength"] == 0 or read.is_hidden)


def paired(contents: Any, masks: Any) -> tuple[Iterator[tuple[Any, Any]], int | None]:
    """Return frames with their masks, each taken when it is asked for, and their number where it is known.

    Args:
        contents: Anything that can be iterated over; a path or a picture is one frame.
        masks: One for each frame, the path of one for all, or None.

    Raises:
        MaskError: SP222, another number of masks than frames; of iterators, once one of them ends.
    """
    frames, count = stream(contents, (Picture, Image.Image))
    if masks is None or isinstance(masks, (str, os.PathLike)):
        return ((frame, masks) for frame in frames), count
    where, mask_count = stream(masks)
    if count is not None and mask_count is not None and count != mask_count:
        raise MaskError(
            "SP222", f"There are {mask_count} masks for {count} frames.", "Give one for each frame, or none."
        )
    return _side_by_side(frames, where), mask_count if count is None else count


def _side_by_side(frames: Iterator[Any], masks: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
    for taken, (frame, mask) in enumerate(zip_longest(frames, masks, fillvalue=_MISSING)):
        if frame is _MISSING or mask is _MISSING:
            ended = "frames" if frame is _MISSING else "masks"
            raise MaskError("SP222", f"The {ended} end after {taken}.", "Give one mask for each frame, or none.")
        yield frame, mask


def check_reference(frame: int, count: int) -> None:
    """Raise UsageError SP118 if a clip of `count` frames has no frame of this number."""
    if frame >= count:
        raise UsageError(
            "SP118",
            f"The statistics were to come from frame {frame}, but the last of the {count} frames is {count - 1}.",
            "Frames are counted from 0.",
        )


def no_statistics(frame: int, why: str) -> UsageError:
    """Return the error SP118 of a frame from which nothing can be learned about others."""
    return UsageError("SP118", f"Frame {frame} {why}, so it has no statistics for the others.", "Choose another frame.")
