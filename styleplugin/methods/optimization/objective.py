"""What a picture is optimized for: the statistics of a style, the shapes of a content, smoothness; exact in tiles.

All style terms are functions of sums over positions, so the gradient of a picture of any size is exact in tiles: a
first pass adds up the sums, and a second backpropagates each tile with the derivatives by these sums held fixed.

Source: Gatys, Ecker and Bethge 2016 (Gram matrices); the squared Wasserstein-2 distance of Gaussians (Olkin and
Pukelsheim 1982) as the second style loss; compressed encoders after Wang et al. 2020 (Collaborative Distillation).
Different from these: every term is relative to the size of what it compares, so that weights mean the same for any
encoder and any picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from styleplugin.images.box import Tile, bands, tiles_with_halo
from styleplugin.networks.frozen import freeze
from styleplugin.networks.vgg import Encoder, convs_of_level, stride_of_level
from styleplugin.options import DEEPEST_STRIDE, StyleLoss
from styleplugin.transforms.eigen import eigh, spectral_function, square_root
from styleplugin.transforms.moments import Moments

_BLOCK = 1 << 13
"""Positions whose products are summed in working precision; sums over more of them are float64."""
_RARE = 0.05
"""A channel's scale is at least this share of its layer's mean, so that rare channels are not blown up."""
_SMALLEST = 1e-3
"""Least size of what a style is compared with, per channel; the features of a gray picture can all be zero."""
_ROOT_FLOOR = 1e-10
"""Eigenvalues under this share of the largest count as zero where a root is inverted."""


class OptimizationEncoder:
    """An encoder with a metric for the features of each level: how much each direction counts.

    Distances are those of features multiplied by the metric's root. The features themselves are left as they are;
    only their statistics, and the derivatives by them, are multiplied.

    Args:
        encoder: Of any widths; copied.
        like: Gives device and dtype.
        roots: For each level (C, C), symmetric; None where they are still to come from `normalize`.
    """

    def __init__(self, encoder: Encoder, like: Tensor, roots: Sequence[Tensor] | None = None) -> None:
        self.encoder = deepcopy(encoder).to(like.device, like.dtype)
        self.encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        freeze(self.encoder)
        self.levels = tuple(range(1, encoder.spec.level + 1))
        self.roots = [root.double().cpu() for root in roots or ()]
        """For each level (C, C), float64; empty until they are known."""
        self.halo = _halo(encoder)
        """Pixels around a tile that its features depend on, a multiple of `DEEPEST_STRIDE`."""
        self.bytes_per_pixel = _bytes_per_pixel(encoder) * like.element_size() / 4
        """What the gradient of a picture takes in memory, beside the picture itself."""

    def normalize(self, means: Sequence[Tensor]) -> None:
        """Let every channel count by its mean activation, (C,) for each level.

        Source: Gatys et al. 2016, section 2, for the pictures at hand.
        """
        floors = (mean.mean().clamp_min(torch.finfo(torch.float32).tiny) * _RARE for mean in means)
        self.roots = [(1 / mean.maximum(floor)).double().diag() for mean, floor in zip(means, floors, strict=True)]

    def features(self, image: Tensor) -> list[Tensor]:
        """Return the features of (1, 3, H, W) in [0, 1] at each level."""
        return self.encoder.features(image)


@dataclass(frozen=True, eq=False)
class StyleTarget:
    """What the features of the result shall have in common with those of a style, at one level."""

    mean: Tensor
    """(C,), float64."""
    second: Tensor
    """Mean of the outer products, the Gram matrix divided by the positions, (C, C), float64."""
    root: Tensor
    """Square root of the covariance, (C, C), float64."""

    @classmethod
    def of(cls, moments: Moments, root: Tensor) -> StyleTarget:
        """Take the target from a style's moments, with the root of the level's metric, (C, C)."""
        covariance = root @ moments.scatter @ root / max(moments.count, 1.0)
        mean = root @ moments.mean
        return cls(mean, covariance + torch.outer(mean, mean), square_root(covariance))

    def gram(self, mean: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the squared distance of the Gram matrices, relative, with its derivatives by mean and second moment.

        Source: Gatys et al. 2016, equation 4.
        """
        size = self.second.square().sum().clamp_min(_SMALLEST * len(mean))
        difference = second - self.second
        return difference.square().sum() / size, torch.zeros_like(mean), 2 * difference / size

    def wasserstein(self, mean: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the squared Wasserstein-2 distance of the Gaussians, relative, with its derivatives as for `gram`.

        |m - m_s|^2 + tr C + tr C_s - 2 tr (R C R)^(1/2) with R = C_s^(1/2); its derivative by C is
        I - R (R C R)^(-1/2) R, where the inverse leaves out what is zero (Olkin and Pukelsheim 1982).
        """
        size = self.second.trace().clamp_min(_SMALLEST * len(mean))
        covariance = second - torch.outer(mean, mean)
        inner = self.root @ covariance @ self.root
        values, _ = eigh(inner)
        floor = _ROOT_FLOOR * values[-1]
        inverse = spectral_function(inner, lambda x: torch.where(x > floor, x, torch.inf).rsqrt())
        shift = mean - self.mean
        # What counts as zero there counts as zero here: the root of a rounding error is none.
        common = torch.where(values > floor, values, 0).sqrt().sum()
        distance = shift.square().sum() + covariance.trace() + self.root.square().sum() - 2 * common
        by_covariance = torch.eye(len(mean), dtype=mean.dtype, device="cpu") - self.root @ inverse @ self.root
        by_mean = 2 * shift - 2 * by_covariance @ mean
        return distance.clamp_min(0) / size, by_mean / size, by_covariance / size


@dataclass(frozen=True, kw_only=True)
class ObjectiveWeights:
    """How much each term counts; all terms are relative to the size of what they compare."""

    content: float
    style: float
    smoothness: float


@dataclass(frozen=True)
class Losses:
    """The terms of the loss, weighted by nothing but `total`."""

    content: float
    style: float
    smoothness: float
    total: float


@dataclass
class _Sums:
    """Sums over positions at one level, float64 on the CPU; blocks are summed in working precision.

    Not `Moments`, whose blocks are float64 and centered: they take four times as long, and the derivatives
    here are by the plain sums.
    """

    count: float
    first: Tensor
    second: Tensor


class Objective:
    """Loss and gradient of a picture.

    Args:
        encoder: Its metrics are known.
        content: (1, 3, H, W) in [0, 1], sides multiples of 16, at least 32.
        styles: For each style its share and its targets, one for each level.
        weights: Of the terms.
        style_loss: Which style loss.
        content_level: Level of the features that stand for the content.
        counted: (1, 1, H, W), how much each pixel counts in the statistics; None where all count alike.
        tile_side: Of the tiles in which the content's features are computed, a multiple of 16; 0 for the whole picture
            in one piece.
        on_tile: Called after every tile and pass; raise in it to stop.
    """

    def __init__(
        self,
        encoder: OptimizationEncoder,
        content: Tensor,
        styles: Sequence[tuple[float, Sequence[StyleTarget]]],
        weights: ObjectiveWeights,
        *,
        style_loss: StyleLoss = "gram",
        content_level: int = 4,
        counted: Tensor | None = None,
        tile_side: int = 0,
        on_tile: Callable[[], None] = lambda: None,
    ) -> None:
        self._encoder, self._styles, self._weights, self._loss = encoder, styles, weights, style_loss
        self._place = encoder.levels.index(content_level)
        self._size = (content.shape[2], content.shape[3])
        self._strides = [stride_of_level(level) for level in encoder.levels]
        self._on_tile = on_tile
        self._counted = [None if counted is None else _pooled(counted, level) for level in encoder.levels]
        root = encoder.roots[self._place]
        self._metric = (root @ root).to(content)
        """Of the content's level."""
        self._shapes: Tensor = torch.empty(0, dtype=torch.float32, device="cpu")
        self._shapes_size = 0.0
        if weights.content:
            self._keep_shapes(content, tile_side)

    @torch.no_grad()
    def _keep_shapes(self, content: Tensor, tile_side: int) -> None:
        """Keep the content's features, whole."""
        stride = self._strides[self._place]
        total = 0.0
        for tile in _cut(self._size, tile_side, self._encoder):
            features = tile.own(self._encoder.features(tile.crop.of(content))[self._place], stride)
            if not self._shapes.numel():
                shape = (1, features.shape[1], *(side // stride for side in self._size))
                self._shapes = torch.empty(
                    shape, dtype=features.dtype, device=features.device, memory_format=torch.channels_last
                )
            tile.box.cells(stride).of(self._shapes).copy_(features)
            total += float((self._measured(features) * features).sum())
            self._on_tile()
        self._shapes_size = max(total, torch.finfo(torch.float64).tiny)

    @torch.enable_grad()
    def __call__(self, picture: Tensor, tile_side: int = 0) -> tuple[Losses, Tensor]:
        """Return the losses of (1, 3, H, W) and the gradient of their total, of the same shape and dtype.

        Args:
            picture: The picture.
            tile_side: Of this evaluation: the tiles change rounding only.
        """
        gradient = torch.zeros_like(picture)
        smoothness = self._smoothness(picture, gradient)
        tiles = _cut(self._size, tile_side, self._encoder)
        alone = len(tiles) == 1
        sums: list[_Sums] = []
        content, kept = 0.0, None
        for tile in tiles:
            with torch.set_grad_enabled(alone):
                crop, features = self._features(picture, tile)
            with torch.no_grad():
                content += self._content(features, tile)
                sums = _added(sums, [self._sum(features[i], tile, i) for i in range(len(features))])
            kept = (crop, features) if alone else None
            self._on_tile()
        style, derivatives = self._style(sums)
        for tile in tiles:
            crop, features = kept or self._features(picture, tile)
            own = [self._slopes(features[i], tile, i, derivatives[i]) for i in range(len(features))]
            torch.autograd.backward(features, own)
            assert crop.grad is not None
            tile.crop.of(gradient).add_(crop.grad)
            self._on_tile()
        total = self._weights.content * content + self._weights.style * style + self._weights.smoothness * smoothness
        return Losses(content, style, smoothness, total), gradient

    def _features(self, picture: Tensor, tile: Tile) -> tuple[Tensor, list[Tensor]]:
        crop = tile.crop.of(picture).detach().requires_grad_(torch.is_grad_enabled())
        return crop, self._encoder.features(crop)

    def _sum(self, features: Tensor, tile: Tile, place: int) -> _Sums:
        """Add up a tile's own positions."""
        stride, counted = self._strides[place], self._counted[place]
        rows = tile.own(features, stride).permute(0, 2, 3, 1).reshape(-1, features.shape[1])
        return _sums(rows, None if counted is None else tile.box.cells(stride).of(counted).reshape(-1, 1).to(rows))

    def _style(self, sums: Sequence[_Sums]) -> tuple[float, list[tuple[Tensor, Tensor]]]:
        """Return the style loss, and for each level its derivatives by the two sums, weighted."""
        loss, derivatives = 0.0, []
        for place, (total, root) in enumerate(zip(sums, self._encoder.roots, strict=True)):
            count = max(total.count, 1.0)
            mean, second = root @ total.first / count, root @ total.second @ root / count
            by_mean, by_second = torch.zeros_like(mean), torch.zeros_like(second)
            for share, targets in self._styles:
                value, a, b = getattr(targets[place], self._loss)(mean, second)
                part = share / len(sums)
                loss += part * float(value)
                by_mean, by_second = by_mean + part * a, by_second + part * b
            scale = self._weights.style / count
            derivatives.append((root @ by_mean * scale, 2 * root @ by_second @ root * scale))
        return loss, derivatives

    @torch.no_grad()
    def _slopes(self, features: Tensor, tile: Tile, place: int, derivatives: tuple[Tensor, Tensor]) -> Tensor:
        """Return the derivative of the loss by the features of a tile's crop: 0 where they are not its own."""
        stride, counted = self._strides[place], self._counted[place]
        own = tile.own(features, stride)
        rows = own.permute(0, 2, 3, 1)
        by_first, by_second = (d.to(rows) for d in derivatives)
        values = torch.addmm(by_first, rows.reshape(-1, rows.shape[3]), by_second).reshape(rows.shape)
        values = values.permute(0, 3, 1, 2)
        if counted is not None:
            values *= tile.box.cells(stride).of(counted).to(values)
        if place == self._place and self._weights.content:
            difference = own - tile.box.cells(stride).of(self._shapes)
            values.add_(self._measured(difference), alpha=2 * self._weights.content / self._shapes_size)
        if own.shape == features.shape:
            return values
        slopes = torch.zeros_like(features)
        tile.own(slopes, stride).copy_(values)
        return slopes

    def _content(self, features: Sequence[Tensor], tile: Tile) -> float:
        """Return a tile's share of the content loss."""
        if not self._weights.content:
            return 0.0
        stride = self._strides[self._place]
        difference = tile.own(features[self._place], stride) - tile.box.cells(stride).of(self._shapes)
        return float((self._measured(difference) * difference).sum()) / self._shapes_size

    def _measured(self, features: Tensor) -> Tensor:
        """Multiply features of the content's level with its metric."""
        return F.conv2d(features, self._metric[:, :, None, None])

    def _smoothness(self, picture: Tensor, gradient: Tensor) -> float:
        """Return the mean squared difference of neighbors, and add its weighted gradient; in bands of rows."""
        if not self._weights.smoothness:
            return 0.0
        total, scale = 0.0, 1 / picture.numel()
        for rows in bands(self._size):
            for dim, last in ((2, rows.stop + 1), (3, rows.stop)):
                band, slope = (x[:, :, rows.start : last] for x in (picture, gradient))
                difference = band.diff(dim=dim)
                total += float(difference.square().sum())
                difference *= 2 * scale * self._weights.smoothness
                length = band.shape[dim] - 1
                slope.narrow(dim, 1, length).add_(difference)
                slope.narrow(dim, 0, length).sub_(difference)
        return total * scale


@torch.no_grad()
def measure(
    encoder: OptimizationEncoder,
    picture: Tensor,
    weights: Tensor | None = None,
    tile_side: int = 0,
    *,
    on_tile: Callable[[], None] = lambda: None,
) -> list[Moments]:
    """Return the moments of a picture's features at each level.

    Args:
        encoder: Its metrics do not matter.
        picture: (1, 3, H, W) in [0, 1], sides multiples of 16, at least 32.
        weights: (1, 1, H, W), how much each pixel counts.
        tile_side: As for `Objective`.
        on_tile: The same.
    """
    size = (picture.shape[2], picture.shape[3])
    counted = [None if weights is None else _pooled(weights, level) for level in encoder.levels]
    totals: list[Moments] = []
    for part in _cut(size, tile_side, encoder):
        moments = []
        for feature, level, where in zip(encoder.features(part.crop.of(picture)), encoder.levels, counted, strict=True):
            stride = stride_of_level(level)
            weight = None if where is None else part.box.cells(stride).of(where)
            moments.append(Moments.of(part.own(feature, stride), weight))
        totals = [a + b for a, b in zip(totals, moments, strict=True)] if totals else moments
        on_tile()
    return totals


def _cut(size: tuple[int, int], tile_side: int, encoder: OptimizationEncoder) -> list[Tile]:
    """Cut a picture of (height, width) into tiles with all that their features depend on."""
    return tiles_with_halo(size, tile_side, encoder.halo, multiple=DEEPEST_STRIDE)


def _halo(encoder: Encoder) -> int:
    """Return how far a feature sees, in pixels, rounded up to `DEEPEST_STRIDE`."""
    reach = 0
    for layer in reversed(encoder.layers()[1:]):
        reach = 2 * reach if layer is encoder.pool else reach + 1
    return -(-reach // DEEPEST_STRIDE) * DEEPEST_STRIDE


def _bytes_per_pixel(encoder: Encoder) -> float:
    """Return what stays in memory while a gradient is computed in float32.

    One byte for each value of each map, the features of all levels with their gradients, and while the widest map is
    computed its input, its padded input, and its output.
    """
    spec = encoder.spec
    maps = [
        (width / stride_of_level(int(conv[0])) ** 2, conv.endswith("_1"))
        for conv, width in zip(convs_of_level(spec.level), spec.widths, strict=True)
    ]
    values = [count for count, _ in maps]
    return sum(values) + 8 * sum(count for count, is_level in maps if is_level) + 12 * max(values)


def _pooled(weights: Tensor, level: int) -> Tensor:
    """Return how much each cell of a level counts: the mean over its pixels."""
    return F.avg_pool2d(weights, stride_of_level(level)) if level > 1 else weights


def _sums(rows: Tensor, weights: Tensor | None) -> _Sums:
    """Add up (P, C) positions and their outer products."""
    first = torch.zeros(rows.shape[1], dtype=torch.float64, device="cpu")
    second = torch.zeros(rows.shape[1], rows.shape[1], dtype=torch.float64, device="cpu")
    count = float(len(rows)) if weights is None else float(weights.sum())
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        weighted = block if weights is None else block * weights[start : start + _BLOCK]
        first += weighted.sum(0).to("cpu", torch.float64)
        second += (weighted.T @ block).to("cpu", torch.float64)
    return _Sums(count, first, second)


def _added(a: Sequence[_Sums], b: Sequence[_Sums]) -> list[_Sums]:
    if not a:
        return list(b)
    return [_Sums(x.count + y.count, x.first + y.first, x.second + y.second) for x, y in zip(a, b, strict=True)]
