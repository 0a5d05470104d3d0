"""The frames of a clip with their masks, taken one by one, and the frame that gives its statistics to all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from PIL import Image

from styleplugin.errors import MaskError, UsageError
from styleplugin.images.picture import Picture
from styleplugin.values import stream

_MISSING = object()


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
    return _together(frames, where), mask_count if count is None else count


def _together(frames: Iterator[Any], masks: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
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
