"""Models that redraw normal samples: how well their error tells anomalies from normal samples, beside simpler scores.

The score of a sample is the mean squared difference between it and its reconstruction. The threshold that a yes or no
needs is taken from training scores alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.core.errors import BuildError
from edgegen.metrics.known import auc_ratio
from edgegen.train.evaluate import Judged
from edgegen.train.families import find_family
from edgegen.train.figures import Baseline, Evaluation, Figure

if TYPE_CHECKING:
    from torch import nn

    from edgegen.data.dataset import Part

    Array = np.ndarray[Any, np.dtype[Any]]

THRESHOLD_QUANTILE = 0.99
"""Of the training part's normal scores: what is above it is called an anomaly."""

VARIANCE = 0.999
"""What the baseline's principal components keep of the training part's variance, where so many of them fit."""

RESAMPLES = 1000
STRETCHES = 50
"""Into how many stretches of consecutive samples the test part is cut where it does not consist of as many groups."""

_BATCH = 500
_SIMPLE = "Simple scores on the same samples"


def judge(judged: Judged) -> Evaluation:
    """Figures of the error as a score, where the test part holds samples of both kinds; else of the error alone."""
    test, train = judged.dataset.test, judged.dataset.train
    label = judged.settings.normal_label
    normal = _normal(train, label)
    learnt = np.asarray(train.x)[normal].reshape(int(normal.sum()), -1).astype(np.float64)
    scores, known = _scores(judged, judged.model, test), ~_normal(test, label)
    other = None if judged.other is None else _scores(judged, judged.other, test)
    redrawn = _redrawn(scores[~known], other if other is None else other[~known]) if not known.all() else []
    notes = [] if normal.all() else [f"{int((~normal).sum())} of {len(train)} training samples were not learnt from"]
    if known.all() or not known.any():
        which = "no anomaly" if not known.any() else "no normal sample"
        notes.append(f"the test part has {which}, so nothing is known of how well anomalies are told apart")
        return Evaluation(samples=len(test), figures=tuple(redrawn), notes=tuple(notes))
    blocks = _blocks(test)
    threshold = float(np.quantile(_scores(judged, judged.model, train)[normal], THRESHOLD_QUANTILE))
    components = _components(learnt, judged.deployed_bytes)
    rows = np.asarray(test.x).reshape(len(test), -1).astype(np.float64)
    simple = components.scores(rows)
    told = _Told(known, blocks, scores, other, simple, components)
    figures = [
        told.figure("auc_ratio", auc_ratio, "probability that an anomaly's error is above a normal sample's"),
        told.figure(
            "average_precision_ratio",
            average_precision,
            f"mean precision over the ranks of the anomalies; {known.mean():.3g} is what chance gives",
        ),
        *_decided(scores, other, known, threshold),
        *redrawn,
        *_trivial(rows, known, learnt, judged.dataset.form.kind),
    ]
    notes.append(told.note(by_group=test.group is not None and len(np.unique(test.group)) >= STRETCHES))
    return Evaluation(samples=len(test), figures=tuple(figures), notes=tuple(notes))


def average_precision(scores: Array, positive: Array) -> float:
    """Mean over the marked samples of the precision among all samples that score as high or higher.

    Ties share the precision at their lowest rank: Davis and Goadrich, ICML 2006, section 4, without interpolation.
    """
    marked = positive.astype(bool)
    values = np.sort(scores)
    above = len(scores) - np.searchsorted(values, scores[marked], side="left")
    right = marked.sum() - np.searchsorted(np.sort(scores[marked]), scores[marked], side="left")
    return float(np.mean(right / above))


@dataclass(frozen=True, slots=True)
class Components:
    """A mean and principal axes of training samples: the reconstruction error of no more bytes than the model."""

    mean: Array  # (numbers,)
    axes: Array  # (components, numbers), orthonormal

    @property
    def bytes(self) -> int:
        """As float32."""
        return 4 * (self.mean.size + self.axes.size)

    def scores(self, rows: Array) -> Array:
        """Mean squared error (samples,) of rows (samples, numbers)."""
        centred = rows - self.mean
        left = centred - (centred @ self.axes.T) @ self.axes
        return np.asarray(np.square(left).mean(axis=1))


def _components(learnt: Array, most_bytes: int) -> Components:
    """As many axes as keep ``VARIANCE``, no more than fit, and never all: with all of them nothing is an anomaly."""
    mean = learnt.mean(axis=0)
    _, singular, axes = np.linalg.svd(learnt - mean, full_matrices=False)
    kept = np.cumsum(np.square(singular)) / max(float(np.square(singular).sum()), np.finfo(np.float64).tiny)
    wanted = int(np.searchsorted(kept, VARIANCE)) + 1
    fit = max(most_bytes // (4 * mean.size) - 1, 0)
    return Components(mean, axes[: min(wanted, fit, len(axes), mean.size - 1)])


@dataclass(frozen=True, slots=True)
class _Told:
    """Scores of all test samples, and what stands beside each figure of them."""

    known: Array  # (samples,) bool
    blocks: Array  # (samples,) number of the block that is resampled whole
    scores: Array
    other: Array | None  # of the model trained from another seed
    simple: Array  # of the components
    components: Components

    def figure(self, name: str, function: Callable[[Array, Array], float], doc: str) -> Figure:
        value = function(self.scores, self.known)
        low, high = self._interval(function)
        return Figure(
            name=name,
            value=value,
            better="higher",
            doc=doc,
            low=low,
            high=high,
            seeds=None if self.other is None else abs(function(self.other, self.known) - value),
            baseline=Baseline(
                name=f"reconstruction from {len(self.components.axes)} principal components, float32",
                value=function(self.simple, self.known),
                bytes=self.components.bytes,
            ),
        )

    def note(self, *, by_group: bool) -> str:
        what = "groups" if by_group else "stretches of consecutive samples"
        events = int(np.sum(np.diff(self.known.astype(int), prepend=0) == 1))
        return (
            f"the intervals are of {RESAMPLES} draws of {what}, those with and those without anomalies apart: samples "
            f"that overlap are not independent, and {events} unbroken run{'s' if events != 1 else ''} of anomalous "
            "samples say little of the next event"
        )

    def _interval(self, function: Callable[[Array, Array], float]) -> tuple[float, float]:
        """2.5 and 97.5 % quantile over draws, with replacement, of blocks with and of blocks without anomalies."""
        members = [np.flatnonzero(self.blocks == block) for block in np.unique(self.blocks)]
        marked = [rows for rows in members if self.known[rows].any()]
        clean = [rows for rows in members if not self.known[rows].any()]
        draw = np.random.Generator(np.random.PCG64(0))
        found = []
        for _ in range(RESAMPLES):
            rows = np.concatenate(
                [kind[place] for kind in (marked, clean) for place in draw.integers(0, len(kind), len(kind))]
            )
            if not self.known[rows].all():
                found.append(function(self.scores[rows], self.known[rows]))
        low, high = np.quantile(found, [0.025, 0.975])
        return float(low), float(high)


def _normal(part: Part, label: int | None) -> Array:
    """(samples,) bool: which are normal."""
    if label is None or part.y is None:
        return np.ones(len(part), bool)
    return np.equal(part.y, label)


def _blocks(part: Part) -> Array:
    """(samples,) number of the block that a sample stands in: its group, or a stretch of the part."""
    if part.group is not None and len(np.unique(part.group)) >= STRETCHES:
        return np.unique(part.group, return_inverse=True)[1]
    return np.arange(len(part)) * min(STRETCHES, len(part)) // len(part)


def _scores(judged: Judged, model: nn.Module, part: Part) -> Array:
    """(samples,) float64 mean squared error of the deployed part of ``model``."""
    import torch

    deployed = find_family(judged.family).deployed(model)
    found = []
    with torch.no_grad():
        for first in range(0, len(part), _BATCH):
            x = torch.from_numpy(np.array(part.x[first : first + _BATCH], dtype=np.float32))
            found.append((deployed(x) - x).double().square().flatten(1).mean(dim=1))
    scores: Array = torch.cat(found).numpy()
    if not np.isfinite(scores).all():
        raise BuildError("the model gives values that are not finite", where=judged.family, next_step="train it again")
    return scores


def _decided(scores: Array, other: Array | None, known: Array, threshold: float) -> list[Figure]:
    """What a yes or no at the threshold is worth."""
    named = scores > threshold
    hits, misses, false = int((named & known).sum()), int((~named & known).sum()), int((named & ~known).sum())
    where = f"at the {THRESHOLD_QUANTILE:.0%} quantile of the training part's normal errors, {threshold:.3g}"
    return [
        Figure(
            name="f1_ratio",
            value=2 * hits / max(2 * hits + misses + false, 1),
            better="higher",
            doc=f"harmonic mean of precision and recall {where}",
        ),
        Figure(name="recall_ratio", value=hits / (hits + misses), better="higher", doc=f"anomalies named {where}"),
        Figure(
            name="false_alarm_ratio",
            value=false / int((~known).sum()),
            better="lower",
            doc=f"normal samples called anomalies {where}; 0.01 of the training part by construction",
        ),
    ]


def _redrawn(scores: Array, other: Array | None) -> list[Figure]:
    value = float(scores.mean())
    return [
        Figure(
            name="normal_mse",
            value=value,
            better="lower",
            doc="mean squared error of held-out normal samples, in squared units of the prepared data",
            seeds=None if other is None else abs(float(other.mean()) - value),
        )
    ]


def _trivial(rows: Array, known: Array, learnt: Array, kind: str) -> list[Figure]:
    """Scores that take no training to speak of: what a model has to be better than to be worth its bytes."""
    figures = [
        Figure(
            name="distance_auc_ratio",
            value=auc_ratio(np.square(rows - learnt.mean(axis=0)).mean(axis=1), known),
            better="higher",
            group=_SIMPLE,
            doc="squared distance from the mean of the training samples as the score",
        )
    ]
    if kind in ("series", "audio"):
        spread = np.abs(np.diff(rows, axis=1)).max(axis=1)
        figures.append(
            Figure(
                name="difference_auc_ratio",
                value=auc_ratio(spread, known),
                better="higher",
                group=_SIMPLE,
                doc="greatest step between neighbouring values as the score",
            )
        )
    return figures
