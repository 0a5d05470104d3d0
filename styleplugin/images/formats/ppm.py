"""Color PPM of more than 8 bits, of which Pillow keeps 8. Source: netpbm's format descriptions (ppm)."""

from __future__ import annotations

import re

import numpy as np

_GAP = rb"(?:\s|#[^\n]*\n)+"
_HEADER = re.compile(rb"(P[36])" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,9})" + _GAP + rb"(\d{1,5})\s")
_HEAD = 4096
"""Bytes that a header has at most, its comments included; Pillow reads longer ones as 8 bits."""


def is_deep(data: bytes) -> bool:
    """Whether this is binary color of 16 bits a value."""
    header = _HEADER.match(data, 0, _HEAD)
    return header is not None and header[1] == b"P6" and int(header[4]) > 255


def is_deep_text(data: bytes) -> bool:
    """Whether this is color in digits, of more than 8 bits a value."""
    header = _HEADER.match(data, 0, _HEAD)
    return header is not None and header[1] == b"P3" and int(header[4]) > 255


def decode(data: bytes) -> np.ndarray:
    """Return the values of `is_deep` data, (H, W, 3) uint16, scaled to the largest.

    Raises:
        ValueError: The file ends early.
    """
    header = _HEADER.match(data, 0, _HEAD)
    assert header is not None
    width, height, largest = (int(number) for number in header.groups()[1:])
    count = 3 * width * height
    if len(data) - header.end() < 2 * count:
        raise ValueError("its values end early")
    values = np.frombuffer(data, ">u2", count, header.end()).reshape(height, width, 3)
    scaled = values.astype(np.float32).clip(max=largest) * np.float32(65535 / largest)
    return np.rint(scaled).astype(np.uint16)
