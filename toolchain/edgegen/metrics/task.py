"""How alike a candidate's and the reference's outputs are to a classifier, sample by sample: (samples,) float64."""

from __future__ import annotations

import numpy as np

from edgegen.core.errors import UsageError
from edgegen.metrics.shapes import Array, same_samples

_LEAST_PROBABILITY = 1e-12
_SUM_TOLERANCE = 1e-3


def probabilities(logits: Array) -> Array:
    """Softmax over the last axis: (samples, classes) float64."""
    powers: Array = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def top1_agreement_ratio(reference: Array, candidate: Array, peak: float = 1.0) -> Array:
    """1 where both name the same class first, else 0; takes probabilities or logits (samples, classes)."""
    left, right = same_samples(reference, candidate, axes=2)
    return np.asarray(left.argmax(axis=1) == right.argmax(axis=1), dtype=np.float64)


def kl_divergence(reference: Array, candidate: Array, peak: float = 1.0) -> Array:
    """Kullback-Leibler divergence D(reference || candidate) in nats of class probabilities (samples, classes).

    Kullback and Leibler 1951, Annals of Mathematical Statistics 22(1). Probabilities below 1e-12 count as 1e-12.

    Raises:
        UsageError: rows that are not probabilities.
    """
    left, right = (_distribution(rows) for rows in same_samples(reference, candidate, axes=2))
    return np.asarray(np.maximum((left * np.log(left / right)).sum(axis=1), 0.0))


def _distribution(rows: Array) -> Array:
    sums = rows.sum(axis=1)
    if rows.min() < 0 or np.abs(sums - 1).max() > _SUM_TOLERANCE:
        raise UsageError(
            "rows that are not probabilities", got=f"sums {sums.min():.4g} to {sums.max():.4g}", expected="sums of 1"
        )
    floored = np.maximum(rows, _LEAST_PROBABILITY)
    return np.asarray(floored / floored.sum(axis=1, keepdims=True))
