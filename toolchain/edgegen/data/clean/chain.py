"""Chained linear regressions that fill gaps, fitted by scikit-learn and taken apart into plain coefficients."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  makes the next import possible
from sklearn.impute import IterativeImputer
from sklearn.linear_model import BayesianRidge

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """What the step ``fill-iterative`` of ``edgegen_runtime.imputation`` carries."""

    initial: list[float]
    limits: list[list[float]]  # least and greatest value of each column
    links: list[tuple[int, float, list[float]]]  # predicted column, intercept, coefficient of every column
    rounds: int
    settled: bool


def make_imputer(rows: Array, rounds: int) -> IterativeImputer:
    """scikit-learn's imputer with Bayesian ridge regressions; fills stay within what a column's values reach."""
    least, greatest = np.nanmin(rows, axis=0), np.nanmax(rows, axis=0)
    constant = least == greatest  # the imputer wants limits that differ
    return IterativeImputer(
        estimator=BayesianRidge(),
        max_iter=rounds,
        initial_strategy="mean",
        imputation_order="ascending",
        skip_complete=False,  # a device may miss what the training part never did
        min_value=np.where(constant, least - 1, least),
        max_value=np.where(constant, greatest + 1, greatest),
        random_state=0,  # nothing is drawn: order and predictions are fixed
    )


def fit_chain(rows: Array, rounds: int) -> Chain:
    """Fits on (rows, columns) float64 with NaN for gaps; every column has a value."""
    imputer = make_imputer(rows, rounds)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        imputer.fit(rows)
    links = []
    for triplet in imputer.imputation_sequence_:
        coefficients = np.zeros(rows.shape[1])
        coefficients[triplet.neighbor_feat_idx] = triplet.estimator.coef_
        links.append((int(triplet.feat_idx), float(triplet.estimator.intercept_), coefficients.tolist()))
    return Chain(
        initial=imputer.initial_imputer_.statistics_.tolist(),
        limits=np.stack([imputer.min_value, imputer.max_value], axis=1).tolist(),
        links=links,
        rounds=int(imputer.n_iter_),
        settled=not any(issubclass(warning.category, ConvergenceWarning) for warning in caught),
    )
