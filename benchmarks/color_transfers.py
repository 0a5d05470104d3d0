"""Transfers of color statistics alone, in NumPy: what a photorealistic network must be better than."""

from __future__ import annotations

import numpy as np

_TO_LMS = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
_TO_OPPONENT = np.diag((3**-0.5, 6**-0.5, 2**-0.5)) @ [[1, 1, 1], [1, 1, -2], [1, -1, 0]]
_DARKEST = 1 / 255
"""Of a cone's response, whose logarithm is taken."""


def mkl(content: np.ndarray, style: np.ndarray) -> np.ndarray:
    """Map the colors linearly so that mean and covariance are the style's and the pixels move least; all (P, 3).

    Source: Pitie and Kokaram 2007, "The linear Monge-Kantorovitch linear colour mapping".
    """
    own, wanted = (np.cov(colors.T, bias=True) + 1e-8 * np.eye(3) for colors in (content, style))
    root = _root(own)
    inverse = np.linalg.inv(root)
    return (content - content.mean(0)) @ (inverse @ _root(root @ wanted @ root) @ inverse) + style.mean(0)


def reinhard(content: np.ndarray, style: np.ndarray) -> np.ndarray:
    """Give each opponent channel of the cones' logarithms the style's mean and deviation.

    Source: Reinhard et al. 2001, "Color transfer between images".
    """
    own, wanted = (np.log(np.maximum(colors @ _TO_LMS.T, _DARKEST)) @ _TO_OPPONENT.T for colors in (content, style))
    moved = (own - own.mean(0)) * (wanted.std(0) / np.maximum(own.std(0), 1e-8)) + wanted.mean(0)
    return np.exp(moved @ np.linalg.inv(_TO_OPPONENT).T) @ np.linalg.inv(_TO_LMS).T


def histogram(content: np.ndarray, style: np.ndarray) -> np.ndarray:
    """Give each of R, G and B the style's histogram, in levels of 8 bits."""
    result = np.empty_like(content)
    for channel in range(3):
        (_, places, own), (levels, _, wanted) = (
            np.unique(np.round(255 * colors[:, channel]), return_inverse=True, return_counts=True)
            for colors in (content, style)
        )
        shares = [np.cumsum(counts) / counts.sum() for counts in (own, wanted)]
        result[:, channel] = np.interp(*shares, levels / 255)[places]
    return result


def _root(matrix: np.ndarray) -> np.ndarray:
    """Return the symmetric root of a positive matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
