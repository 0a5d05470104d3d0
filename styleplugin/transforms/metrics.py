"""How good a stylization is: pure functions of pictures, (N, 3, H, W) in [0, 1] unless said otherwise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from styleplugin.images.color.conversions import luminance
from styleplugin.transforms.moments import Moments

_SSIM_SIGMA, _SSIM_SIDE = 1.5, 11
_SSIM_C1, _SSIM_C2 = 0.01**2, 0.03**2
_PATCH_SIDE = 5


def psnr(a: Tensor, b: Tensor) -> float:
    """Return the peak signal-to-noise ratio in dB of two pictures, clamped to [0, 1]; inf where they are equal."""
    error = (a.clamp(0, 1) - b.clamp(0, 1)).double().square().mean()
    return float(-10 * torch.log10(error))


def ssim(a: Tensor, b: Tensor) -> float:
    """Return the mean structural similarity of the luminance, at full size, without padding.

    Source: Wang et al. 2004; Gaussian window of 11 px and sigma 1.5. Content SSIM compares content and output.
    """
    return _similarity(*(luminance(image.clamp(0, 1)).double() for image in (a, b)))


def edge_ssim(a: Tensor, b: Tensor) -> float:
    """Return the mean structural similarity of the edges: of the Sobel gradients' length, where 1 is a full step.

    Outlines count, flat regions and colors hardly do.
    """
    step = torch.tensor([[1.0, 2.0, 1.0]], dtype=torch.float64, device="cpu") / 4
    rise = torch.tensor([[-1.0, 0.0, 1.0]], dtype=torch.float64, device="cpu")
    kernels = torch.stack([step.T @ rise, rise.T @ step])[:, None]
    x, y = (F.conv2d(luminance(image.clamp(0, 1)).double(), kernels.to(image.device)) for image in (a, b))
    return _similarity(torch.linalg.vector_norm(x, dim=1)[:, None], torch.linalg.vector_norm(y, dim=1)[:, None])


def _similarity(x: Tensor, y: Tensor) -> float:
    """Return the mean SSIM of two (N, 1, H, W), float64."""
    line = torch.arange(_SSIM_SIDE, dtype=torch.float64, device="cpu") - _SSIM_SIDE // 2
    line = torch.exp(-line.square() / (2 * _SSIM_SIGMA**2))
    line = (line / line.sum()).to(x.device)[None, None]

    def local(values: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(values, line[..., None]), line[:, :, None])

    mx, my = local(x), local(y)
    vx, vy, cov = local(x * x) - mx * mx, local(y * y) - my * my, local(x * y) - mx * my
    score = ((2 * mx * my + _SSIM_C1) * (2 * cov + _SSIM_C2)) / ((mx**2 + my**2 + _SSIM_C1) * (vx + vy + _SSIM_C2))
    return float(score.mean())


def color_distance(output: Tensor, style: Tensor) -> float:
    """Return the sliced Wasserstein distance of the colors of two pictures of any sizes, in levels of 8-bit pictures.

    The root mean square, over 64 directions of RGB, of the distance between the sorted values. No network judges.

    Source: Rabin et al. 2011.
    """
    return quantile_distance(color_quantiles(output), color_quantiles(style))


def patch_distance(output: Tensor, style: Tensor) -> float:
    """Return the sliced Wasserstein distance of small patches, without their mean color: fine texture and strokes.

    Args:
        output: (1, 3, H, W).
        style: (1, 3, h, w).

    Returns:
        Like `color_distance`, over 64 directions of the 75 values of a patch of 5 x 5, in levels.
    """
    return quantile_distance(patch_quantiles(output), patch_quantiles(style))


def color_quantiles(image: Tensor) -> Tensor:
    """Return what `color_distance` compares, of one picture: to be kept where it is compared many times."""
    return _sliced_quantiles(image.clamp(0, 1).movedim(1, -1).reshape(-1, 3))


def patch_quantiles(image: Tensor) -> Tensor:
    """Return what `patch_distance` compares, of one picture (1, 3, H, W)."""
    # (positions, 3, side * side)
    patches = F.unfold(image.clamp(0, 1), _PATCH_SIDE, stride=2)[0].T.unflatten(1, (3, -1))
    return _sliced_quantiles((patches - patches.mean(2, keepdim=True)).flatten(1))


def quantile_distance(output: Tensor, style: Tensor) -> float:
    """Return the distance of two pictures' quantiles, in levels of 8-bit pictures."""
    return 255 * float((output - style).square().mean().sqrt())


def _sliced_quantiles(points: Tensor, directions: int = 64, quantiles: int = 512) -> Tensor:
    """Return quantiles of points (P, D) along fixed directions: (directions, quantiles), float64."""
    generator = torch.Generator().manual_seed(0)
    axes = F.normalize(
        torch.randn(points.shape[1], directions, generator=generator, dtype=torch.float64, device="cpu"), dim=0
    )
    at = (torch.arange(quantiles, dtype=torch.float64, device="cpu") + 0.5) / quantiles
    # NumPy sorts lines with vector instructions, twice as fast as torch.
    lines = np.sort((points.cpu().double() @ axes).T.contiguous().numpy(), axis=1)
    return torch.from_numpy(lines)[:, (at * len(points)).long()]


def seam(tiled: Tensor, whole: Tensor) -> float:
    """Return the largest step that tiling adds across one row or column, in levels of 8-bit pictures.

    The gradient of the difference of the two pictures, averaged along each line between two rows or columns; the
    largest is taken, because every layer has tile borders of its own. From about 1 on an eye can follow the line.

    Args:
        tiled: The picture made in tiles.
        whole: The same picture made in one piece.
    """
    difference = (tiled - whole).double()
    steps = [difference.diff(dim=dim).abs().mean((0, 1, 5 - dim)) for dim in (2, 3)]
    return 255 * float(torch.cat(steps).max())


def checkerboard(image: Tensor) -> float:
    """Return how far the periods that upsampling repeats, 2, 4 and 8 pixels, stand out of a picture's spectrum.

    Spectra of rows and of columns, averaged; the power at such a period is compared with the mean of its neighbors, and
    the largest ratio is returned: about 1 where there is no grid. From about 2 on it can be seen in flat regions.

    Args:
        image: (1, 3, H, W) in [0, 1], sides of at least 64.
    """
    gray = image.double().mean((0, 1))
    ratios = []
    for lines in (gray, gray.T):
        lines = lines[:, : lines.shape[1] // 8 * 8]
        count = lines.shape[1]
        window = torch.hann_window(count, dtype=torch.float64, device=lines.device)
        power = torch.fft.rfft((lines - lines.mean(1, keepdim=True)) * window).abs().square().mean(0)
        for period in (2, 4, 8):
            # A Hann window smears a line over one bin on each side.
            at, beside = (
                count // period,
                [n for n in (*range(-6, -1), *range(2, 7)) if count // period + n < len(power)],
            )
            ratios.append(power[at] / power[[at + n for n in beside]].mean().clamp_min(1e-12))
    return float(torch.stack(ratios).max())


def cells(image: Tensor, period: int = 4) -> float:
    """Return how much the size of the differences of neighbors depends on their place in a period, in percent.

    Upsampled cells whose borders show, of any sign: differences are larger at the borders than within. `checkerboard`
    sees only what repeats with the same sign. The photographs of `docs/benchmarks.md` have 0.3 to 0.4.

    Args:
        image: (1, 3, H, W) in [0, 1].
        period: In pixels, of two upsamplings.
    """
    errors = []
    for lines in (image.double(), image.double().transpose(2, 3)):
        steps = lines.diff(dim=3)
        whole = steps.shape[3] // period * period
        power = steps[..., :whole].unflatten(3, (-1, period)).square().mean((0, 1, 2, 3))
        errors.append((power / power.mean().clamp_min(1e-12) - 1).square().mean())
    return 100 * float(torch.stack(errors).mean())


def flicker(frames: Sequence[Tensor]) -> float:
    """Return how restless the global statistics of a clip are: 0 where all frames have the same.

    The mean change, from frame to frame, of the means and deviations of the three colors, relative to the clip's own
    mean deviation; so a clip does not count as restless for having more contrast than another one.

    Args:
        frames: (1, 3, H, W) each, at least two.
    """
    return flicker_of([Moments.of(frame, diagonal=True) for frame in frames])


def flicker_of(moments: Sequence[Moments]) -> float:
    """Return the flicker of frames whose colors have these moments; 0 for frames without contrast."""
    means = torch.stack([m.mean for m in moments])
    deviations = torch.stack([m.deviations for m in moments])
    change = means.diff(dim=0).abs().mean() + deviations.diff(dim=0).abs().mean()
    return float(change / deviations.mean()) if deviations.any() else 0.0
