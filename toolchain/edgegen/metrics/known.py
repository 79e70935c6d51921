"""How good outputs are against what is true: one value of a whole set."""

from __future__ import annotations

import numpy as np

from edgegen.core.errors import UsageError
from edgegen.metrics.shapes import Array


def accuracy_ratio(logits: Array, labels: Array) -> float:
    """Part of the rows (samples, classes) whose greatest score is the label's (samples,)."""
    return float(np.mean(_classes(logits, labels).argmax(axis=1) == labels))


def balanced_accuracy_ratio(logits: Array, labels: Array) -> float:
    """Mean over the classes that occur of the part of their rows that is named right (macro recall)."""
    right = _classes(logits, labels).argmax(axis=1) == labels
    return float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


def perplexity(logits: Array, labels: Array) -> float:
    """exp of the mean cross-entropy in nats of the labels (samples,) under softmax of the rows (samples, classes)."""
    rows = _classes(logits, labels).astype(np.float64)
    rows = rows - rows.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(rows).sum(axis=1))
    return float(np.exp(np.mean(log_sum - rows[np.arange(len(rows)), labels])))


def rmse(values: Array, targets: Array) -> float:
    """Root of the mean squared error over all elements of (samples, targets), in the targets' unit."""
    return float(np.sqrt(np.mean(np.square(_same(values, targets)))))


def r2(values: Array, targets: Array) -> float:
    """1 - residual sum of squares / total sum of squares, mean over the targets; targets that never vary give 0."""
    residual = np.square(_same(values, targets)).sum(axis=0)
    wanted = targets.astype(np.float64).reshape(len(targets), -1)
    total = np.square(wanted - wanted.mean(axis=0)).sum(axis=0)
    return float(np.mean(np.where(total > 0, 1 - residual / np.where(total > 0, total, 1), 0.0)))


def auc_ratio(scores: Array, positive: Array) -> float:
    """Area under the ROC curve of scores (samples,) for rows marked 1, ties counted half (Mann-Whitney U / n m).

    Raises:
        UsageError: rows of one kind only.
    """
    marked = positive.astype(bool)
    if marked.all() or not marked.any():
        raise UsageError("an AUC needs both kinds of samples", got=f"{int(marked.sum())} of {len(marked)} marked")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]  # mean rank of ties, from 1
    ahead = ranks[marked].sum() - marked.sum() * (marked.sum() + 1) / 2
    return float(ahead / (marked.sum() * (~marked).sum()))


def _classes(logits: Array, labels: Array) -> Array:
    rows = logits.reshape(-1, logits.shape[-1])
    if len(rows) != len(labels):
        raise UsageError("as many rows of scores as labels are needed", got=f"{logits.shape} and {labels.shape}")
    return rows


def _same(values: Array, targets: Array) -> Array:
    if values.size != targets.size:
        raise UsageError("predictions and targets differ in shape", got=f"{values.shape} and {targets.shape}")
    return values.astype(np.float64).reshape(len(targets), -1) - targets.astype(np.float64).reshape(len(targets), -1)
