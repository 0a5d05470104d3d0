"""Global eigenbases: the few directions of a teacher's features in which pictures vary most, the same for all pictures.

Source: Chiu and Gurari 2022, section 3. Differs: they find them with gradient steps; the minimum of their loss is known
in closed form, the eigenvectors of the mean covariance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from styleplugin.transforms.eigen import eigh


@dataclass(frozen=True)
class Eigenbasis:
    """A basis of one transform point."""

    vectors: Tensor
    """(C, d), orthonormal columns times the scale that gives the coordinates the wanted energy; float32."""
    variance_kept: float
    """Share of the teacher's variance in the basis, 0 to 1."""


def global_eigenbasis(covariances: Sequence[Tensor], dimensions: int, energy: float) -> Eigenbasis:
    """Find the basis of one transform point.

    Args:
        covariances: (C, C) of each picture's features, each of the same weight.
        dimensions: d, at most C.
        energy: Mean over pictures of the coordinates' total variance.
    """
    values, vectors = eigh(torch.stack(list(covariances)).mean(0))
    largest = values[-dimensions:].flip(0)
    scale = (energy / largest.sum()).sqrt()
    basis = vectors[:, -dimensions:].flip(1) * scale
    return Eigenbasis(basis.float(), float(largest.sum() / values.sum()))
