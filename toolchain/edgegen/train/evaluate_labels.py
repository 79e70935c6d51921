"""Classifiers: which held-out samples are named right, class by class and group by group, beside simple models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.core.errors import BuildError
from edgegen.train.evaluate import Judged
from edgegen.train.families import find_family
from edgegen.train.figures import Baseline, Confusion, Evaluation, Figure
from edgegen.train.label_figures import (
    CALIBRATION_BINS,
    Ranking,
    by_class,
    calibration_error,
    confusion,
    log_probabilities,
    overall,
)
from edgegen.train.resampling import UNKNOWN, Interval, Resampling, resampling, wilson
from edgegen.train.simple_models import Simple, simple_classes

if TYPE_CHECKING:
    from torch import nn

    Array = np.ndarray[Any, np.dtype[Any]]

_BATCH = 500
_MOST_CLASSES = 50  # that are reported one by one
_MOST_VALUES = 20  # of an attribute
_DOCS = {
    "accuracy_ratio": "part of the held-out samples that is named right",
    "balanced_accuracy_ratio": "mean over the classes of the part of their samples that is named right",
    "macro_precision_ratio": "mean over the classes of the part of what is named so that is so",
    "macro_f1_ratio": "mean over the classes of the harmonic mean of precision and recall",
}
_CLASS_DOCS = {
    "precision": "part of what is named {name!r} that is so",
    "recall": "part of the {samples} samples of {name!r} that is named so",
    "f1": "harmonic mean of the two",
}


def judge(judged: Judged) -> Evaluation:
    """Figures of the test part, with intervals by group where it has groups, and by value of each sensitive column.

    Raises:
        BuildError: the model gives values that are not finite.
        ToolMissingError: scikit-learn, which grows the tree, is not installed.
    """
    test, classes = judged.dataset.test, judged.dataset.form.classes
    assert test.y is not None
    labels = np.asarray(test.y)
    logits = outputs(judged, judged.model)
    other = None if judged.other is None else outputs(judged, judged.other)
    drawn = resampling(test, judged.seed)
    simple = simple_classes(
        judged.dataset.form,
        judged.dataset.train,
        test,
        judged.deployed_bytes,
        judged.seed,
        getattr(judged.settings, "class_weights", "none") == "balanced",
    )
    counts = confusion(labels, logits.argmax(axis=1), len(classes))
    figures = [
        *_whole(labels, logits, other, len(classes), drawn, simple),
        *_probabilities(labels, logits, other, len(classes), drawn, simple),
        *_each_class(labels, logits, classes, drawn),
        *_attributes(test.attributes, labels == logits.argmax(axis=1)),
    ]
    return Evaluation(
        samples=len(test),
        figures=tuple(figures),
        confusion=Confusion(classes=classes, counts=tuple(tuple(int(count) for count in row) for row in counts)),
        notes=(
            *said_of_groups(drawn),
            _said_of_simple(labels, len(classes), simple),
            *_said_of_classes(counts, classes),
        ),
    )


def outputs(judged: Judged, model: nn.Module) -> Array:
    """The deployed part's output for every test sample, (samples, outputs) float32.

    Raises:
        BuildError: a value is not finite.
    """
    import torch

    deployed = find_family(judged.family).deployed(model)
    x, found = judged.dataset.test.x, []
    with torch.no_grad():
        for first in range(0, len(x), _BATCH):
            batch = np.asarray(x[first : first + _BATCH]).astype(np.float32)
            found.append(deployed(torch.from_numpy(batch)).numpy())
    values = np.concatenate(found)
    if not np.isfinite(values).all():
        raise BuildError("the model gives values that are not finite", where=judged.family, next_step="train it again")
    return values


def best_simple(figures: Mapping[int, float], simple: list[Simple], better: str) -> Baseline | None:
    """The simple model whose figure (by its place in ``simple``) is best."""
    if not figures:
        return None
    place = (max if better == "higher" else min)(figures, key=lambda number: figures[number])
    return Baseline(name=simple[place].name, value=figures[place], bytes=simple[place].bytes)


def judged_figure(
    name: str,
    value: float,
    interval: Interval,
    doc: str,
    other: float | None,
    *,
    better: Any = "higher",
    unit: str = "",
    group: str = "Held-out samples",
    baseline: Baseline | None = None,
) -> Figure:
    """A figure with its interval, beside that of a model trained from another seed."""
    low, high = interval
    return Figure(
        name=name,
        value=value,
        unit=unit,
        better=better,
        group=group,
        doc=doc,
        low=low,
        high=high,
        seeds=None if other is None else abs(other - value),
        baseline=baseline,
    )


def said_of_groups(drawn: Resampling) -> tuple[str, ...]:
    """What the intervals do not cover."""
    if drawn.group_count > 1:
        few = ": so few that an interval is rough, and rather too narrow" if drawn.group_count < 10 else ""
        return (f"intervals come of whole groups drawn anew, and there are {drawn.group_count} held-out ones{few}",)
    if drawn.group_count == 1:
        return ("all held-out samples are of one group: the intervals say nothing of other groups",)
    return ()


def _whole(
    labels: Array, logits: Array, other: Array | None, classes: int, drawn: Resampling, simple: list[Simple]
) -> list[Figure]:
    named = logits.argmax(axis=1)
    values = overall(confusion(labels, named, classes))
    others = {} if other is None else overall(confusion(labels, other.argmax(axis=1), classes))
    intervals = drawn.intervals(lambda weights: overall(confusion(labels, named, classes, weights)))
    how = dict.fromkeys(values, drawn.how)
    if drawn.group_count < 2:
        intervals["accuracy_ratio"] = wilson(int((named == labels).sum()), len(labels))
        how["accuracy_ratio"] = "Wilson's"
    baselines = [overall(confusion(labels, item.found, classes)) for item in simple]
    return [
        judged_figure(
            name,
            value,
            intervals[name],
            f"{_DOCS[name]}; interval: {how[name]}",
            others.get(name),
            baseline=best_simple({number: each[name] for number, each in enumerate(baselines)}, simple, "higher"),
        )
        for name, value in values.items()
    ]


def _probabilities(
    labels: Array, logits: Array, other: Array | None, classes: int, drawn: Resampling, simple: list[Simple]
) -> list[Figure]:
    """What the scores are worth, not only their order: the area under the curve, cross-entropy, calibration."""
    found = [] if classes != 2 else _area(labels, logits, other, drawn, simple)
    costs = _costs(labels, logits)
    interval = drawn.intervals(lambda weights: {"cost": float(weights @ costs / weights.sum())})["cost"]
    return [
        *found,
        judged_figure(
            "cross_entropy_nats",
            float(costs.mean()),
            interval,
            f"mean cost of the true class under the model's probabilities; interval: {drawn.how}",
            None if other is None else float(_costs(labels, other).mean()),
            better="lower",
            unit="nats",
        ),
        judged_figure(
            "calibration_error_ratio",
            calibration_error(logits, labels),
            UNKNOWN,
            f"mean distance of the named class's probability from how often it is right, in {CALIBRATION_BINS} bins",
            None if other is None else calibration_error(other, labels),
            better="lower",
        ),
    ]


def _area(labels: Array, logits: Array, other: Array | None, drawn: Resampling, simple: list[Simple]) -> list[Figure]:
    """The area under the ROC curve of two classes; nothing where one of them does not occur."""
    once, second = np.ones(len(labels)), labels == 1
    ranking = Ranking(logits[:, 1] - logits[:, 0], second)
    value = ranking.area(once)
    if np.isnan(value):
        return []
    plain = {
        number: Ranking(item.chances[:, 1], second).area(once)
        for number, item in enumerate(simple)
        if item.chances is not None
    }
    interval = drawn.intervals(lambda weights: {"area": ranking.area(weights)})["area"]
    return [
        judged_figure(
            "auc_ratio",
            value,
            interval,
            f"probability that a sample of the second class gets the higher score; interval: {drawn.how}",
            None if other is None else Ranking(other[:, 1] - other[:, 0], second).area(once),
            baseline=best_simple(plain, simple, "higher"),
        )
    ]


def _each_class(labels: Array, logits: Array, classes: tuple[str, ...], drawn: Resampling) -> list[Figure]:
    if len(classes) > _MOST_CLASSES:
        return []
    named = logits.argmax(axis=1)

    def figures(weights: Array | None = None) -> dict[str, float]:
        each = by_class(confusion(labels, named, len(classes), weights))
        return {
            f"{kind}_{name}_ratio": float(row[place])
            for kind, row in each.items()
            for place, name in enumerate(classes)
        }

    values, intervals = figures(), drawn.intervals(figures)
    samples = np.bincount(labels, minlength=len(classes))
    return [
        judged_figure(
            f"{kind}_{name}_ratio",
            values[f"{kind}_{name}_ratio"],
            intervals[f"{kind}_{name}_ratio"],
            doc.format(name=name, samples=samples[place]),
            None,
            group="Class by class",
        )
        for place, name in enumerate(classes)
        for kind, doc in _CLASS_DOCS.items()
        if samples[place]
    ]


def _attributes(attributes: Mapping[str, Array], right: Array) -> list[Figure]:
    """Accuracy for each value of each sensitive column; samples count as independent."""
    figures = []
    for column, cells in attributes.items():
        values, places = np.unique(np.asarray(cells), return_inverse=True)
        for place, value in enumerate(values[:_MOST_VALUES]):
            chosen = right[places == place]
            figures.append(
                judged_figure(
                    f"accuracy_{column}_{value}_ratio",
                    float(chosen.mean()),
                    wilson(int(chosen.sum()), len(chosen)),
                    f"part of the {len(chosen)} samples with {column} {str(value)!r} that is named right; "
                    "interval: Wilson's",
                    None,
                    group=f"Accuracy by {column}",
                )
            )
    return figures


def _costs(labels: Array, logits: Array) -> Array:
    """(samples,) nats."""
    costs: Array = -log_probabilities(logits)[np.arange(len(labels)), labels]
    return costs


def _said_of_simple(labels: Array, classes: int, simple: list[Simple]) -> str:
    parts = []
    for item in simple:
        values = overall(confusion(labels, item.found, classes))
        parts.append(
            f"{item.name}, {item.bytes:,} bytes: accuracy {values['accuracy_ratio']:.3f}, "
            f"balanced {values['balanced_accuracy_ratio']:.3f}"
        )
    return "simple models of no more bytes than the float32 weights: " + "; ".join(parts)


def _said_of_classes(counts: Array, classes: tuple[str, ...]) -> tuple[str, ...]:
    absent = [name for name, true in zip(classes, counts.sum(axis=1), strict=True) if not true]
    notes = (f"no held-out sample is of {', '.join(absent[:10])}: nothing is known of them",) if absent else ()
    if len(classes) > _MOST_CLASSES:
        notes = (*notes, f"{len(classes)} classes are too many to report one by one: the confusion matrix has them")
    return notes
