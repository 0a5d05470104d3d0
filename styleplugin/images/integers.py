"""What integers mean: a type of 16 bits or more holds values of 8, 12 or 16 bits, and only the values can tell."""

from __future__ import annotations

import numpy as np

from styleplugin.errors import TensorInputError

_MOST_BITS = 32


def to_samples(
    values: np.ndarray, what: str, notes: list[str], bits: int | None = None, *, whole_range: bool = False
) -> np.ndarray:
    """Return integers of a wide type as uint8 or uint16 over their whole range.

    Values up to 255 are 8-bit. Values above 4095 and up to 65535 are 16-bit. What lies between may be 10, 12 or 16
    bits, and is refused unless `bits` says which.

    Args:
        values: Integers of any type and shape.
        what: The picture, for messages.
        notes: Receives what was assumed.
        bits: Of the values, 1 to 32; white is 2^bits - 1.
        whole_range: Whether values above 65535 are those of all 32 bits.

    Raises:
        TensorInputError: SP214, negative values, values beyond the range, or a range that is not known.
    """
    low, high = int(values.min()), int(values.max())
    if low < 0:
        raise _unclear(what, low, high, "a picture has no negative values; black is 0.")
    if bits is not None:
        return _scaled(values, what, low, high, bits)
    if high <= 255:
        notes.append(f"The values of {what} end at {high}; they were read as 8-bit values, of the type {values.dtype}.")
        return values.astype(np.uint8)
    if 4095 < high <= 65535:
        return values.astype(np.uint16)
    if high > 65535 and whole_range:
        return _scaled(values, what, low, high, 32)
    known = "white may be 1023, 4095 or 65535." if high <= 4095 else "white is 65535 at most."
    raise _unclear(what, low, high, known)


def _scaled(values: np.ndarray, what: str, low: int, high: int, bits: int) -> np.ndarray:
    if not 1 <= bits <= _MOST_BITS:
        raise TensorInputError(
            "SP214", f"bits was {bits}; it must be from 1 to {_MOST_BITS}.", "Give the bits of a value."
        )
    largest = (1 << bits) - 1
    if high > largest:
        raise _unclear(what, low, high, f"with {bits} bits they end at {largest}.")
    if bits == 8:
        return values.astype(np.uint8)
    if bits == 16:
        return values.astype(np.uint16)
    target, deepest = (np.uint8, 255) if bits < 8 else (np.uint16, 65535)
    return np.rint(values * (deepest / largest)).astype(target)


def _unclear(what: str, low: int, high: int, why: str) -> TensorInputError:
    return TensorInputError(
        "SP214",
        f"The integers of {what} go from {low} to {high}; {why}",
        "Say how many bits a value has, for example to_picture(x, bits=12), or give floating point in 0..1.",
        {"low": low, "high": high},
    )
