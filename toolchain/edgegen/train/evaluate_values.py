"""Regressors: how far predictions of held-out samples are off, target by target, beside simple models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.train.evaluate import Judged
from edgegen.train.evaluate_labels import best_simple, judged_figure, outputs, said_of_groups
from edgegen.train.figures import Evaluation, Figure
from edgegen.train.label_figures import errors
from edgegen.train.resampling import UNKNOWN, Resampling, resampling
from edgegen.train.simple_models import Simple, simple_values

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]

_MOST_VALUES = 20  # of an attribute
_DOCS = {
    "rmse": ("lower", "root of the mean squared error, in the target's unit"),
    "mae": ("lower", "mean distance from the target, in its unit"),
    "r2": ("higher", "part of the target's variance that is predicted; 0 is what its mean reaches"),
}


def judge(judged: Judged) -> Evaluation:
    """Figures of the test part, with intervals by group where it has groups, and by value of each sensitive column.

    Raises:
        BuildError: the model gives values that are not finite.
        ToolMissingError: scikit-learn, which grows the tree, is not installed.
    """
    form, test = judged.dataset.form, judged.dataset.test
    assert test.y is not None
    targets = np.asarray(test.y, np.float64)
    found = outputs(judged, judged.model).astype(np.float64)
    other = None if judged.other is None else outputs(judged, judged.other).astype(np.float64)
    drawn = resampling(test, judged.seed)
    simple = simple_values(form, judged.dataset.train, test, judged.deployed_bytes, judged.seed)
    figures: list[Figure] = []
    for place, name in enumerate(form.targets):
        column = None if other is None else other[:, place]
        ends = f"_{name}" if len(form.targets) > 1 else ""
        title = f"Held-out samples: {name}" if len(form.targets) > 1 else "Held-out samples"
        figures += _target(
            found[:, place],
            targets[:, place],
            column,
            drawn,
            [item.found[:, place] for item in simple],
            simple,
            ends,
            title,
        )
    figures += _attributes(test.attributes, found, targets, form.targets)
    notes = (*said_of_groups(drawn), _said_of_simple(targets, form.targets, simple))
    return Evaluation(samples=len(test), figures=tuple(figures), notes=notes)


def _target(
    found: Array,
    targets: Array,
    other: Array | None,
    drawn: Resampling,
    plain: list[Array],
    simple: list[Simple],
    ends: str,
    title: str,
) -> list[Figure]:
    """The figures of one target: ``found``, ``targets``, ``other`` and each of ``plain`` are (samples,)."""
    once = np.ones(len(targets))
    values = errors(found, targets, once)
    others = {} if other is None else errors(other, targets, once)
    intervals = drawn.intervals(lambda weights: errors(found, targets, weights))
    baselines = [errors(each, targets, once) for each in plain]
    figures = []
    for name, value in values.items():
        if np.isnan(value):
            continue
        better, doc = _DOCS[name]
        simple_figures = {number: each[name] for number, each in enumerate(baselines)}
        figures.append(
            judged_figure(
                f"{name}{ends}",
                value,
                intervals[name],
                f"{doc}; interval: {drawn.how}",
                others.get(name),
                better=better,
                group=title,
                baseline=best_simple(simple_figures, simple, better),
            )
        )
    return figures


def _attributes(attributes: Mapping[str, Array], found: Array, targets: Array, names: tuple[str, ...]) -> list[Figure]:
    """The error for each value of each sensitive column."""
    figures = []
    for column, cells in attributes.items():
        values, places = np.unique(np.asarray(cells), return_inverse=True)
        for place, value in enumerate(values[:_MOST_VALUES]):
            chosen = (places == place).astype(np.float64)
            for number, name in enumerate(names):
                figures.append(
                    judged_figure(
                        f"rmse_{name}_{column}_{value}",
                        errors(found[:, number], targets[:, number], chosen)["rmse"],
                        UNKNOWN,
                        f"of {name} for the {int(chosen.sum())} samples with {column} {str(value)!r}",
                        None,
                        better="lower",
                        group=f"Error by {column}",
                    )
                )
    return figures


def _said_of_simple(targets: Array, names: tuple[str, ...], simple: list[Simple]) -> str:
    parts = []
    for item in simple:
        each = (errors(item.found[:, place], targets[:, place], np.ones(len(targets))) for place in range(len(names)))
        said = ", ".join(f"{name} RMSE {values['rmse']:.4g}" for name, values in zip(names, each, strict=True))
        parts.append(f"{item.name}, {item.bytes:,} bytes: {said}")
    return "simple models of no more bytes than the float32 weights: " + "; ".join(parts)
