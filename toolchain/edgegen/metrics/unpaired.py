"""How a set of generated samples compares with a set of real ones, as feature vectors (samples, features).

All of these depend on the feature network and on the number of samples: figures of different networks or numbers of
samples must not be compared. Beside each belongs its noise floor (another seed of the same model).
"""

from __future__ import annotations

import numpy as np

from edgegen.metrics.shapes import Array, same_features

_PRECISION_NEIGHBOURS = 3
_DENSITY_NEIGHBOURS = 5


def fid(real: Array, generated: Array) -> float:
    """Fréchet distance of the normal distributions fitted to both sets; 0 for equal ones, grows without limit.

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)): Heusel et al. 2017, arXiv 1706.08500, equation 6, on the project's own
    features (so not comparable with figures of the Inception network).
    """
    left, right = same_features(real, generated, 2)
    root = _root(np.cov(left, rowvar=False))
    cross = np.linalg.eigvalsh(root @ np.cov(right, rowvar=False) @ root)  # of S1 S2, but symmetric
    traces = left.var(axis=0, ddof=1).sum() + right.var(axis=0, ddof=1).sum()
    distance = np.square(left.mean(axis=0) - right.mean(axis=0)).sum() + traces - 2 * np.sqrt(cross.clip(0)).sum()
    return max(float(distance), 0.0)


def kid(real: Array, generated: Array) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (x.y / features + 1)^3; about 0 for equal sets.

    Bińkowski et al. 2018, arXiv 1801.01401, equation 4. Unbiased: small negative values occur.
    """
    left, right = same_features(real, generated, 2)
    inner = _kernel(left, left), _kernel(right, right)
    within = sum((kernel.sum() - np.trace(kernel)) / (len(kernel) * (len(kernel) - 1)) for kernel in inner)
    return float(within - 2 * _kernel(left, right).mean())


def precision(real: Array, generated: Array) -> float:
    """Part of the generated samples that lie among the real ones, 0..1: how believable they are.

    A sample lies among a set when it is within the distance of some member to that member's 3rd nearest neighbour:
    Kynkäänniemi et al. 2019, arXiv 1904.06991, equations 1 and 2.
    """
    left, right = same_features(real, generated, _PRECISION_NEIGHBOURS + 1)
    return _covered(right, left)


def recall(real: Array, generated: Array) -> float:
    """Part of the real samples that lie among the generated ones, 0..1: how much of the variety is there.

    Source and neighbourhood as for ``precision``.
    """
    left, right = same_features(real, generated, _PRECISION_NEIGHBOURS + 1)
    return _covered(left, right)


def density(real: Array, generated: Array) -> float:
    """How many real neighbourhoods a generated sample lies in, relative to what is expected.

    1 for equal sets; may exceed 1. Naeem et al. 2020, arXiv 2002.09797, equation 3, with 5 neighbours; harder to fool
    by outliers than ``precision``.
    """
    left, right = same_features(real, generated, _DENSITY_NEIGHBOURS + 1)
    inside = _squared_distances(right, left) <= _radii(left, _DENSITY_NEIGHBOURS)
    return float(inside.sum(axis=1).mean() / _DENSITY_NEIGHBOURS)


def coverage(real: Array, generated: Array) -> float:
    """Part of the real samples whose neighbourhood holds a generated one, 0..1.

    Naeem et al. 2020, arXiv 2002.09797, equation 4, with 5 neighbours.
    """
    left, right = same_features(real, generated, _DENSITY_NEIGHBOURS + 1)
    inside = _squared_distances(right, left) <= _radii(left, _DENSITY_NEIGHBOURS)
    return float(inside.any(axis=0).mean())


def _root(matrix: Array) -> Array:
    """Symmetric square root of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(np.atleast_2d(matrix))
    return np.asarray((vectors * np.sqrt(values.clip(0))) @ vectors.T)


def _kernel(left: Array, right: Array) -> Array:
    return np.asarray((left @ right.T / left.shape[1] + 1.0) ** 3)


def _covered(points: Array, anchors: Array) -> float:
    """Part of ``points`` that lie in the neighbourhood of some anchor."""
    inside = _squared_distances(points, anchors) <= _radii(anchors, _PRECISION_NEIGHBOURS)
    return float(inside.any(axis=1).mean())


def _radii(points: Array, neighbours: int) -> Array:
    """Squared distance of each point to its n-th nearest other point: (points,)."""
    distances = _squared_distances(points, points)
    np.fill_diagonal(distances, np.inf)
    return np.asarray(np.partition(distances, neighbours - 1, axis=1)[:, neighbours - 1])


def _squared_distances(left: Array, right: Array) -> Array:
    """(left, right) squared Euclidean distances."""
    squares = np.square(left).sum(axis=1)[:, None] + np.square(right).sum(axis=1)[None, :]
    return np.asarray(np.maximum(squares - 2 * left @ right.T, 0.0))
