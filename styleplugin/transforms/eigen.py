"""Roots of symmetric positive semidefinite matrices, in float64, by eigendecomposition."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from styleplugin.errors import NumericalError
from styleplugin.kernels.mkl import one_thread
from styleplugin.report import note

_SHRINKAGE = 1e-6
"""Share of the mean variance that is put in place of the covariance where its decomposition fails."""


def eigh(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Decompose a symmetric (C, C) matrix into eigenvalues (C,), ascending and at least 0, and eigenvectors (C, C).

    Tiny negative eigenvalues, which rounding makes of zeros, are set to 0. Where the solver fails, the matrix is drawn
    a little towards a multiple of the identity and solved once more, which is noted.

    Raises:
        NumericalError: SP702, the matrix or its decomposition is not finite. (`torch.linalg.eigh` returns NaN for a
            NaN matrix without a word.)
    """
    matrix = matrix.double()
    if torch.isfinite(matrix).all():
        symmetric = (matrix + matrix.T) / 2
        found = _solve(symmetric)
        if found is None:
            note("eigen: the decomposition of a covariance failed, and was repeated for a slightly rounder one.")
            round_one = symmetric.diagonal().mean() * torch.ones_like(symmetric.diagonal()).diag()
            found = _solve(symmetric.lerp(round_one, _SHRINKAGE))
        if found is not None:
            return found
    raise NumericalError("SP702", "A covariance has no finite eigendecomposition.", "Check the input for NaN values.")


def _solve(symmetric: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return the decomposition, or None if the solver fails."""
    try:
        with one_thread():
            values, vectors = torch.linalg.eigh(symmetric)
    except torch.linalg.LinAlgError:  # type: ignore[reportPrivateImportUsage]
        return None
    return (values.clamp(min=0), vectors) if values.isfinite().all() and vectors.isfinite().all() else None


def spectral_function(matrix: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a function to the eigenvalues of a symmetric (C, C) matrix, or to a (C,) diagonal."""
    if matrix.dim() == 1:
        return function(matrix.double().clamp(min=0))
    values, vectors = eigh(matrix)
    return (vectors * function(values)) @ vectors.T


def square_root(matrix: Tensor) -> Tensor:
    """Return the symmetric square root of a positive semidefinite (C, C) matrix or (C,) diagonal."""
    return spectral_function(matrix, torch.sqrt)
