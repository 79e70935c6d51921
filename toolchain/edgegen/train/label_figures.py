"""Figures of named classes and of predicted numbers, of samples that may count several times or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]

CALIBRATION_BINS = 15
"""Bins of the calibration error, as in the paper that proposed it for networks."""


def confusion(labels: Array, named: Array, classes: int, weights: Array | None = None) -> Array:
    """(classes, classes): how much of each class (rows) was named as each class (columns)."""
    counts = np.bincount(labels * classes + named, weights=weights, minlength=classes * classes)
    return counts.reshape(classes, classes)


def by_class(counts: Array) -> dict[str, Array]:
    """``precision``, ``recall`` and ``f1`` of every class, (classes,) each; NaN for a class that does not occur.

    Of a class that occurs and is never named, precision and F1 are 0.
    """
    right, true, named = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    occurs = true > 0
    recall = np.where(occurs, right / np.where(occurs, true, 1), np.nan)
    precision = np.where(occurs, right / np.where(named > 0, named, 1), np.nan)
    f1 = np.where(occurs, 2 * right / np.where(occurs, true + named, 1), np.nan)
    return {"precision": precision, "recall": recall, "f1": f1}


def overall(counts: Array) -> dict[str, float]:
    """Accuracy, and the means over the classes that occur; the mean recall is the balanced accuracy."""
    each = by_class(counts)
    return {
        "accuracy_ratio": float(counts.trace() / counts.sum()),
        "balanced_accuracy_ratio": float(np.nanmean(each["recall"])),
        "macro_precision_ratio": float(np.nanmean(each["precision"])),
        "macro_f1_ratio": float(np.nanmean(each["f1"])),
    }


def log_probabilities(logits: Array) -> Array:
    """The log-softmax of (samples, classes), float64."""
    rows = logits.astype(np.float64)
    rows = rows - rows.max(axis=1, keepdims=True)
    logs: Array = rows - np.log(np.exp(rows).sum(axis=1, keepdims=True))
    return logs


def calibration_error(logits: Array, labels: Array) -> float:
    """Expected calibration error: mean distance between confidence and accuracy over bins of the confidence.

    Guo et al., On Calibration of Modern Neural Networks, arXiv 1706.04599, equation 3.
    """
    confidence = np.exp(log_probabilities(logits).max(axis=1))
    right = logits.argmax(axis=1) == labels
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = np.bincount(bins, weights=right - confidence, minlength=CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(labels))


class Ranking:
    """Area under the ROC curve of scores (samples,) for ``positive`` ones, for any weights; ties count half."""

    def __init__(self, scores: Array, positive: Array) -> None:
        steps, self._places = np.unique(scores, return_inverse=True)
        self._steps = len(steps)
        self._positive = positive.astype(np.float64)

    def area(self, weights: Array) -> float:
        """Part of the pairs that are in order; NaN where the samples that count are of one kind."""
        above = np.bincount(self._places, weights * self._positive, self._steps)
        below = np.bincount(self._places, weights * (1 - self._positive), self._steps)
        pairs = above.sum() * below.sum()
        return float(above @ (np.cumsum(below) - below / 2) / pairs) if pairs else float("nan")


def errors(values: Array, targets: Array, weights: Array) -> dict[str, float]:
    """``rmse``, ``mae`` and ``r2`` of one target: all (samples,), float64; R² is NaN where the target does not vary.

    R² is 1 - residual sum of squares / total sum of squares about the mean of the samples that count.
    """
    total = weights.sum()
    residual = values - targets
    squares = float(weights @ residual**2)
    spread = float(weights @ (targets - weights @ targets / total) ** 2)
    return {
        "rmse": (squares / total) ** 0.5,
        "mae": float(weights @ np.abs(residual)) / total,
        "r2": 1 - squares / spread if spread else float("nan"),
    }
