"""Whether a table is one: smoothness, traces of editing, and curves of another encoding.

The figures below were measured on 65 film looks of 144 nodes (8-bit HALD pictures), five looks of 64 nodes (squares),
27 of them resampled to levels 2 to 12 as well, and 66 photographs and 60 artworks of the validation and sample
sets, cut to squares, scaled to the sides of levels 2 to 12 and read in both layouts.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from styleplugin.images.color.conversions import luminance
from styleplugin.images.looks.table import LUT

_ROUGHEST = 0.17
"""Of the roughest axis of a table with 16 nodes or more. Largest of any look: 0.056 at level 4, 0.024 at level 8, 0.021
at level 12; smallest of any photograph or artwork: 0.30, 0.21 and 0.31; of a look in the wrong layout: 0.26."""
_ROUGHEST_STEPS = 2.8
"""Divided by the nodes, since few are far apart: 0.13 against 0.47 at level 3. The 64 pixels of level 2 say little:
looks reach 0.67, and one photograph of 126 passes."""
_LEAST_CHANGE = 0.1
"""From the darkest to the lightest red, of a table's deviation: the least of a look was 0.21 (infrared film), the next
0.51; that of a picture of one color or of bands, which is smooth as well, is 0."""
_NOISE = 3.4 / 255
"""Fourth differences. Rounding to 8 bits alone makes them 2.7 / 255 in looks of 36 nodes and more (3.1 the largest);
JPEG of quality 95 about 3.9, noise of 1/255 from 5.1 on, halving and doubling the picture from 5 on at the ends."""
_NOISE_STEPS = 110 / 255
"""Few nodes differ by themselves: 3.8 / 255 at level 5 (25 nodes), 6.1 / 255 at level 4."""
_FEWEST_NODES = 25
"""With fewer, the looks' own curves look like traces of editing."""
_SAMPLES = 48
"""Rows along an axis that are looked at, in each of the other two directions."""


def roughness(table: Tensor) -> tuple[float, float, float]:
    """Return the mean absolute second difference along blue, green and red, relative to the table's deviation.

    All three axes are looked at, not red alone: the red neighbors of a table are neighbors in its picture, too, where
    photographs are smooth as well; the others lie far apart in it.

    Args:
        table: (S, S, S, 3), S at least 4.

    Returns:
        0 for a table that is linear; infinity for one of a single color.
    """
    deviation = float(table.flatten(0, 2).std(0).max())
    if deviation < 1 / 255:
        return math.inf, math.inf, math.inf
    blue, green, red = (float(_differences(table, axis, 2).mean()) / deviation for axis in range(3))
    return blue, green, red


def is_smooth(table: Tensor) -> bool:
    """Whether the neighbors on all three axes lie as close together as those of a look."""
    return max(roughness(table)) <= max(_ROUGHEST, _ROUGHEST_STEPS / len(table))


def changes_with_red(table: Tensor) -> bool:
    """Whether red makes a difference: in a smooth picture of bands it makes none."""
    change = (table[:, :, -1] - table[:, :, 0]).abs().mean()
    return float(change) >= _LEAST_CHANGE * float(table.flatten(0, 2).std(0).max())


def is_edited(table: Tensor) -> bool:
    """Whether noise, JPEG, sharpening or scaling left traces: roughness everywhere, or at both ends of red.

    The ends of the red axis lie beside each other in the picture, which filters mix.
    """
    if len(table) < _FEWEST_NODES:
        return False
    along_red = _differences(table, 2, 4).mean((1, 2))
    limit = max(_NOISE, _NOISE_STEPS / len(table))
    return float(along_red.median()) > limit or float(torch.minimum(along_red[0], along_red[-1])) > limit


def _differences(table: Tensor, axis: int, order: int) -> Tensor:
    """Return absolute differences along an axis, (S - order, rows, 3), for evenly spread rows."""
    step = max(1, len(table) // _SAMPLES)
    return table.movedim(axis, 0)[:, ::step, ::step].flatten(1, 2).double().diff(n=order, dim=0).abs()


def log_notes(lut: LUT) -> tuple[str, ...]:
    """Say so when the gray axis looks as if the table read, or made, the log encoding of a camera.

    Compared with the published curves S-Log3, LogC3, V-Log, ACEScct, Log3G10, Canon Log, F-Log and Cineon. A table that
    reads one is black up to the curve's black (0.07 to 0.13) and nearly white at its white (about 0.58): the rise
    between is 0.80 to 1, with or without a shoulder (0.68 to 0.77 for F-Log and a Cineon that is cut off, which are
    not seen); of the film looks it is 0.76 at most. One that makes such a curve lifts black to 0.07 or more, ends at
    0.49 to 0.71, and has gone 0.64 to 0.88 of the way at half of the colors (Canon Log from sRGB 0.48, which is not
    seen); one film look ends below 0.85, at 0.83.
    """
    ramp = torch.linspace(0, 1, 101, dtype=torch.float32, device="cpu").expand(1, 3, 1, -1)
    gray = luminance(lut.apply(ramp)).flatten().clamp(0, 1)
    black, white, width = float(gray[0]), float(gray[-1]), max(float(gray.max() - gray.min()), 1e-6)
    if float(gray[7]) - black <= 0.03 * width and float(gray[58] - gray[9]) >= 0.78 * width:
        return ("The look seems to be made for the log footage of a camera; pictures in sRGB become too harsh by it.",)
    if black >= 0.05 and black < white <= 0.75 and float(gray[50]) - black >= 0.6 * (white - black):
        return ("The look seems to make the log encoding of a camera; pictures become pale by it.",)
    return ()
