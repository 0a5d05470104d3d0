"""Fitting a color table to two pictures of the same scene: smooth, and sensible where the pictures have no color."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from styleplugin.images.looks.table import LUT, tetrahedra
from styleplugin.images.sums import total
from styleplugin.kernels.mkl import one_thread

SAMPLES = 1 << 18
"""Most pixels that are used, evenly spread."""
SMOOTHNESS = 0.02
"""Weight of squared second differences, relative to that of a node's pixels."""
PULL = 1e-4
"""Weight of the way to the nearest affine map of all colors: what is left to go by far from any color."""
TOLERANCE = 1e-6
MAX_STEPS = 400


def fit_lut(
    content: Tensor,
    stylized: Tensor,
    size: int,
    *,
    weights: Tensor | None = None,
    title: str = "",
    on_step: Callable[[float], None] = lambda share: None,
) -> LUT:
    """Solve for the table that comes nearest to a stylization, by regularized least squares in float64.

    Every number of threads gives the same table.

    Args:
        content: (1, 3, H, W) in [0, 1].
        stylized: The same scene, of the same shape.
        size: Nodes of an axis.
        weights: (1, 1, H, W), how much each pixel counts; None where all count alike.
        title: For the table.
        on_step: Called with the share of the work that is done; whatever it raises stops it.
    """
    seen = _seen(content, weights)
    before, after = (_pixels(picture, seen) for picture in (content, stylized))
    share = torch.ones_like(before[:, :1]) if weights is None else _pixels(weights, seen)
    nodes, parts = tetrahedra(before, size)
    # Of the squares that are minimized, each pixel's counts by its weight.
    counted = parts * share
    count = size**3
    rows, cols = nodes[:, :, None].expand(-1, -1, 4), nodes[:, None, :].expand(-1, 4, -1)
    products = counted[:, :, None] * parts[:, None, :]
    indices = torch.stack([rows.flatten(), cols.flatten()])
    shape = (count, count)
    normal = torch.sparse_coo_tensor(
        indices, products.flatten(), shape, check_invariants=False, dtype=torch.float64, device="cpu"
    )
    normal = normal.coalesce()
    right = torch.zeros(count, 3, dtype=torch.float64, device="cpu")
    right.index_add_(0, nodes.flatten(), (counted[:, :, None] * after[:, None, :]).flatten(0, 1))
    visits = torch.zeros(count, dtype=torch.float64, device="cpu")
    visits.index_add_(0, nodes.flatten(), (counted * parts).flatten())
    scale = int((visits > 0).sum()) / total(visits)
    start = _affine(before, after, share, size)

    def matrix(table: Tensor) -> Tensor:
        return scale * (normal @ table) + SMOOTHNESS * _roughness(table, size) + PULL * table

    # The diagonal of the second differences is at most 6 for each of the three axes.
    diagonal = scale * visits + SMOOTHNESS * 18 + PULL
    table = _conjugate_gradients(matrix, scale * right + PULL * start, start, diagonal, on_step)
    return LUT(table.clamp(0, 1).float().reshape(size, size, size, 3), title)


def _seen(picture: Tensor, weights: Tensor | None) -> Tensor:
    """Return the places of the pixels that are used, of those that count at all."""
    count = picture.shape[2] * picture.shape[3]
    places = torch.arange(count, device="cpu", dtype=torch.int64)
    if weights is not None:
        places = places[weights.flatten() > 0]
    return places[:: max(1, -(-len(places) // SAMPLES))]


def _pixels(picture: Tensor, places: Tensor) -> Tensor:
    return picture.movedim(1, -1).reshape(-1, picture.shape[1])[places].double()


def _affine(before: Tensor, after: Tensor, share: Tensor, size: int) -> Tensor:
    """Return the nodes' colors under the best affine map, (S^3, 3), drawn to the identity where it is open."""
    ones = torch.ones(len(before), 1, dtype=torch.float64, device="cpu")
    inputs = torch.cat([before, ones], 1)
    ridge = 1e-3 * total(share) * torch.eye(4, dtype=torch.float64, device="cpu")
    ridge[3, 3] = 0
    identity = torch.eye(4, 3, dtype=torch.float64, device="cpu")
    weighted = (inputs * share).T
    with one_thread():
        matrix = torch.linalg.solve(weighted @ inputs + ridge, weighted @ after + ridge @ identity)
    nodes = LUT.identity(size).table.reshape(-1, 3).double()
    return (torch.cat([nodes, torch.ones(len(nodes), 1, dtype=torch.float64, device="cpu")], 1) @ matrix).clamp(0, 1)


def _roughness(table: Tensor, size: int) -> Tensor:
    """Apply the second differences along the three axes, and then their transpose, to (S^3, 3)."""
    grid = table.reshape(size, size, size, 3)
    result = torch.zeros_like(grid)
    for axis in range(3):
        moved, target = grid.movedim(axis, 0), result.movedim(axis, 0)
        second = moved[2:] - 2 * moved[1:-1] + moved[:-2]
        target[2:] += second
        target[1:-1] -= 2 * second
        target[:-2] += second
    return result.reshape(-1, 3)


def _conjugate_gradients(
    matrix: Callable[[Tensor], Tensor],
    right: Tensor,
    start: Tensor,
    diagonal: Tensor,
    on_step: Callable[[float], None],
) -> Tensor:
    """Solve a symmetric positive definite system for each column of (n, 3), preconditioned by its diagonal."""
    x, residual = start, right - matrix(start)
    goal = TOLERANCE * right.norm(dim=0)
    direction = preconditioned = residual / diagonal[:, None]
    energy = (residual * preconditioned).sum(0)
    for i in range(MAX_STEPS):
        if bool((residual.norm(dim=0) <= goal).all()):
            break
        on_step(i / MAX_STEPS)
        image = matrix(direction)
        step = energy / (direction * image).sum(0).clamp_min(1e-300)
        x, residual = x + step * direction, residual - step * image
        preconditioned = residual / diagonal[:, None]
        before, energy = energy, (residual * preconditioned).sum(0)
        direction = preconditioned + energy / before.clamp_min(1e-300) * direction
    return x
