"""Simple densities of vectors, and the distance of two sets: what a flow is compared with and by. Float64 numpy.

Sources: kernel estimate with normal kernels: Silverman, Density Estimation for Statistics and Data Analysis, 1986,
section 3.4; energy distance: Székely and Rizzo, Journal of Statistical Planning and Inference 143(8), 2013.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]

_WIDTHS = np.geomspace(0.02, 1.5, 24)  # bandwidths that are tried, in parts of the points' root mean variance
_TRIED = 1000  # points on which a bandwidth is tried
_AT_ONCE = 256  # rows whose distances to all points are held at a time
_RIDGE = 1e-9  # of the mean variance: a covariance of features that say the same twice is no density


@dataclass(frozen=True, slots=True)
class Kernels:
    """A normal kernel of one width around each of the kept training points."""

    points: Array  # (points, features)
    width: float

    @property
    def bytes(self) -> int:
        """Points and width as float32."""
        return 4 * (self.points.size + 1)

    def log_density(self, rows: Array) -> Array:
        """log p of rows (samples, features) in nats: (samples,)."""
        return _log_kernels(rows, self.points, self.width, own=False)


def fit_kernels(learnt: Array, most_bytes: int, seed: int) -> Kernels:
    """As many training points as fit, drawn from the seed; of some widths the one under which each is likeliest.

    Likelihood is that of points left out one at a time (Silverman, section 3.4.4), so no held-out sample is used.
    """
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(learnt))
    fit = max(most_bytes // 4 - 1, 2 * learnt.shape[1]) // learnt.shape[1]
    points = learnt[order[:fit]].astype(np.float32).astype(np.float64)
    scale = math.sqrt(float(points.var(axis=0).mean())) or 1.0
    widths = [float(width) * scale for width in _WIDTHS]
    tried = points[:_TRIED]
    likely = [_log_kernels(tried, points, width, own=True).mean() for width in widths]
    return Kernels(points, widths[int(np.argmax(likely))])


def _log_kernels(rows: Array, points: Array, width: float, *, own: bool) -> Array:
    """``own``: row i is point i, which does not count for itself."""
    others = len(points) - own
    constant = math.log(others) + 0.5 * points.shape[1] * math.log(2 * math.pi * width**2)
    squares = np.square(points).sum(axis=1)
    found = []
    for first in range(0, len(rows), _AT_ONCE):
        part = rows[first : first + _AT_ONCE]
        exponents = (2 * part @ points.T - squares - np.square(part).sum(axis=1)[:, None]) / (2 * width**2)
        if own:
            exponents[np.arange(len(part)), np.arange(first, first + len(part))] = -np.inf
        most = exponents.max(axis=1)
        found.append(most + np.log(np.exp(exponents - most[:, None]).sum(axis=1)) - constant)
    return np.concatenate(found)


@dataclass(frozen=True, slots=True)
class Normal:
    """One normal distribution with a full covariance."""

    mean: Array  # (features,)
    root: Array  # (features, features), lower triangular: root @ root.T is the covariance

    @property
    def bytes(self) -> int:
        """Mean and half the covariance as float32."""
        features = len(self.mean)
        return 4 * (features + features * (features + 1) // 2)

    def log_density(self, rows: Array) -> Array:
        """log p of rows (samples, features) in nats: (samples,)."""
        white = np.linalg.solve(self.root, (rows - self.mean).T)
        log_det = float(np.log(np.diag(self.root)).sum())
        return np.asarray(-0.5 * np.square(white).sum(axis=0) - log_det - 0.5 * len(self.mean) * math.log(2 * math.pi))

    def draw(self, samples: int, seed: int) -> Array:
        """(samples, features)."""
        noise = np.random.Generator(np.random.PCG64(seed)).standard_normal((samples, len(self.mean)))
        return np.asarray(self.mean + noise @ self.root.T)


def fit_normal(learnt: Array) -> Normal:
    """Mean and covariance of training samples (samples, features)."""
    covariance = np.atleast_2d(np.cov(learnt, rowvar=False))
    ridge = _RIDGE * max(float(np.trace(covariance)) / len(covariance), _RIDGE)
    return Normal(learnt.mean(axis=0), np.linalg.cholesky(covariance + ridge * np.eye(len(covariance))))


def energy_distance(left: Array, right: Array) -> float:
    """2 E|X - Y| - E|X - X'| - E|Y - Y'| of two sets (samples, features), unbiased: about 0 for equal distributions.

    In the units of the features; small negative values occur.
    """
    within = sum(_mean_distance(rows, rows) * len(rows) / (len(rows) - 1) for rows in (left, right))
    return 2 * _mean_distance(left, right) - within


def _mean_distance(left: Array, right: Array) -> float:
    squares = np.square(right).sum(axis=1)
    total = 0.0
    for first in range(0, len(left), _AT_ONCE):
        part = left[first : first + _AT_ONCE]
        distances = np.square(part).sum(axis=1)[:, None] + squares - 2 * part @ right.T
        total += float(np.sqrt(distances.clip(0)).sum())
    return total / (len(left) * len(right))
