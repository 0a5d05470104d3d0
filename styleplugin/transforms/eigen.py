"""Roots of symmetric positive semidefinite matrices, in float64, by eigendecomposition."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from styleplugin.errors import NumericalError
from styleplugin.native.mkl import one_thread


def eigh(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Decompose a symmetric (C, C) matrix into eigenvalues (C,), ascending and at least 0, and eigenvectors (C, C).

    Tiny negative eigenvalues, which rounding makes of zeros, are set to 0.

    Raises:
        NumericalError: SP702, the matrix or its decomposition is not finite. (`torch.linalg.eigh` returns NaN for a
            NaN matrix without a word.)
    """
    matrix = matrix.double()
    if torch.isfinite(matrix).all():
        with one_thread():
            values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
        if torch.isfinite(values).all() and torch.isfinite(vectors).all():
            return values.clamp(min=0), vectors
    raise NumericalError("SP702", "A covariance has no finite eigendecomposition.", "Check the input for NaN values.")


def spectral_function(matrix: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a function to the eigenvalues of a symmetric (C, C) matrix, or to a (C,) diagonal."""
    if matrix.dim() == 1:
        return function(matrix.double().clamp(min=0))
    values, vectors = eigh(matrix)
    return (vectors * function(values)) @ vectors.T


def square_root(matrix: Tensor) -> Tensor:
    """Return the symmetric square root of a positive semidefinite (C, C) matrix or (C,) diagonal."""
    return spectral_function(matrix, torch.sqrt)
