"""From a network's output to the finished picture: its range, the content's colors, strength and mask, band by band."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from styleplugin.engine.device import TILES
from styleplugin.errors import NumericalError
from styleplugin.images.box import bands, tiles_with_halo
from styleplugin.images.color.conversions import lab_to_rgb, rgb_to_lab, with_luminance_of
from styleplugin.images.picture import Picture
from styleplugin.options import StylizeOptions
from styleplugin.transforms.adain import adain_map
from styleplugin.transforms.affine import AffineMap
from styleplugin.transforms.guided_filter import guided_filter
from styleplugin.transforms.metrics import flicker_of
from styleplugin.transforms.moments import Moments

OnBand = Callable[[], None]
"""Called after every band of rows; whatever it raises stops the work."""

_ROUNDS = 4


def limit(content: Picture, output: Tensor, options: StylizeOptions, on_band: OnBand) -> Tensor:
    """Check a network's output and bring it into range, smoothed along the content's edges if that is asked for.

    Args:
        content: The picture it belongs to.
        output: (1, 3, H, W), float32 on the CPU; written to.
        options: Those of the run.
        on_band: See `OnBand`.

    Raises:
        NumericalError: SP703, a value is not finite.
    """
    for rows in bands(output.shape[2:]):
        band = output[:, :, rows]
        if not bool(torch.isfinite(torch.stack(torch.aminmax(band))).all()):
            raise NumericalError(
                "SP703", "The stylized picture holds values that are not finite.", "Try another style."
            )
        if content.bits <= 16:
            band.clamp_(0, 1)
        on_band()
    if options.smooth:
        output = _smoothed(content, output, options.smooth, on_band)
    return output


def _smoothed(content: Picture, output: Tensor, radius: int, on_band: OnBand) -> Tensor:
    result = torch.empty_like(output)
    for tile in tiles_with_halo(content.size, TILES["cpu"], 2 * radius):
        counted = None if content.alpha is None else tile.crop.of(content.alpha)
        smoothed = guided_filter(tile.crop.of(content.rgb), tile.crop.of(output), radius, weights=counted)
        tile.box.of(result).copy_(tile.own(smoothed).clamp_(0, 1))
        on_band()
    return result


def steady(
    contents: Sequence[Tensor], outputs: Sequence[Tensor], counted: Sequence[Tensor | None], on_band: OnBand
) -> None:
    """Damp, in place, what a method adds to the changes of a clip's global colors from frame to frame.

    Maps shared by all frames let the clip's own changes through, and whitening makes small ones large. Where the
    outputs flicker more than the contents, the deviations of each frame's color means and contrasts from those of the
    clip are scaled down to the same flicker, by one factor, so that their course stays.

    Args:
        contents: (1, 3, H, W) each.
        outputs: The same, from `limit`; written to.
        counted: How much each pixel counts, (1, 1, H, W), or None where all count alike.
        on_band: See `OnBand`.
    """
    own = flicker_of([_colors(content, weights, on_band) for content, weights in zip(contents, counted, strict=True)])
    # Colors that reach black or white are cut off there, which a second round makes up for.
    for _ in range(_ROUNDS):
        given = [_colors(output, weights, on_band) for output, weights in zip(outputs, counted, strict=True)]
        flicker = flicker_of(given)
        if flicker <= 1.01 * own:
            return
        mean = torch.stack([moments.mean for moments in given]).mean(0)
        deviations = torch.stack([moments.deviations for moments in given]).mean(0)
        for moments, output in zip(given, outputs, strict=True):
            scale = torch.lerp(deviations, moments.deviations, own / flicker) / moments.deviations.clamp(min=1e-6)
            colors = AffineMap(scale, torch.lerp(mean, moments.mean, own / flicker) - scale * moments.mean)
            for rows in bands(output.shape[2:]):
                output[:, :, rows] = colors.apply(output[:, :, rows]).clamp(0, 1)
                on_band()


def _colors(picture: Tensor, weights: Tensor | None, on_band: OnBand) -> Moments:
    total = Moments.empty(3, diagonal=True)
    for rows in bands(picture.shape[2:]):
        total = total + Moments.of(picture[:, :, rows], None if weights is None else weights[:, :, rows], diagonal=True)
        on_band()
    return total


def lab_map(parts: Iterable[tuple[Tensor, Tensor, Tensor | None]], on_band: OnBand) -> AffineMap:
    """Return the map of Lab colors that gives outputs the means and deviations of their contents, all taken together.

    Args:
        parts: Content and output, (1, 3, H, W) each, and how much each pixel counts, (1, 1, H, W), or None.
        on_band: See `OnBand`.
    """
    wanted, given = Moments.empty(3, diagonal=True), Moments.empty(3, diagonal=True)
    for content, output, counted in parts:
        for rows in bands(output.shape[2:]):
            weights = None if counted is None else counted[:, :, rows]
            wanted = wanted + Moments.of(rgb_to_lab(content[:, :, rows]), weights, diagonal=True)
            given = given + Moments.of(rgb_to_lab(output[:, :, rows]), weights, diagonal=True)
            on_band()
    return adain_map(given, wanted)


def blend(
    content: Picture,
    output: Tensor,
    where: Tensor | None,
    options: StylizeOptions,
    colors: AffineMap | None,
    on_band: OnBand,
) -> Tensor:
    """Return the finished picture: the output with the content's colors if asked for, blended by strength and mask.

    The features are blended by strength already, but strength 0 would then give the pair's reconstruction and not the
    content; so for small strengths the pictures are blended as well, with the share 1 - (1 - strength)^4, which is
    0 at 0, 1 at 1, and over 0.99 from 0.7 on.

    Args:
        content: The picture it belongs to.
        output: (1, 3, H, W) from `limit`; written to.
        where: The mask (1, 1, H, W), or None where it is white.
        options: Those of the run.
        colors: From `lab_map`, if the content's colors are kept by their statistics.
        on_band: See `OnBand`.
    """
    share = 1 - (1 - options.strength) ** 4
    for rows in bands(output.shape[2:]):
        before, band = content.rgb[:, :, rows], output[:, :, rows]
        after = band
        if options.keep_color == "luminance":
            after = with_luminance_of(after, before).clamp(0, 1)
        if colors is not None:
            after = lab_to_rgb(colors.apply(rgb_to_lab(after))).clamp(0, 1)
        if options.keep_luminance:
            after = with_luminance_of(before, after).clamp(0, 1)
        if share < 1 or where is not None:
            weight = after.new_tensor(share) if where is None else (share * where[:, :, rows]).to(after)
            after = torch.lerp(before, after, weight)
        if after is not band:
            band.copy_(after)
        on_band()
    return output
