"""Which values of the training part are outliers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgegen.core.errors import UsageError
from edgegen.core.lazy import load
from edgegen.data.settings import CleanSettings

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(kw_only=True)
class Limits:
    """The least and the greatest value of each column that is no outlier, and how often they were passed."""

    names: Sequence[str]
    least: Array  # (columns,); minus infinity where nothing can be told apart
    greatest: Array
    beyond: Array  # (columns,) int64

    def outlying(self, rows: Array) -> Any:
        """Which cells are outliers: (rows, columns) bool. A missing cell is none."""
        return np.logical_or(rows < self.least, rows > self.greatest)

    def find(self, rows: Array) -> Array:
        """Which rows have an outlier, counted along the way: (rows,) bool."""
        beyond = self.outlying(rows)
        self.beyond = self.beyond + beyond.sum(0)
        found: Array = beyond.any(axis=1)
        return found

    def clip(self, rows: Array) -> Array:
        """(rows, columns) within the limits; missing cells stay."""
        return np.clip(rows, self.least, self.greatest)

    @property
    def counts(self) -> dict[str, int]:
        """Outliers of each column that has any."""
        return {name: int(count) for name, count in zip(self.names, self.beyond, strict=True) if count}

    @property
    def untouched(self) -> list[str]:
        """Columns without limits: their values hardly differ."""
        return [name for name, least in zip(self.names, self.least, strict=True) if np.isinf(least)]

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The contract's step that brings values within the limits; none where no column has limits."""
        limits = {
            name: [float(least), float(greatest)]
            for name, least, greatest in zip(self.names, self.least, self.greatest, strict=True)
            if np.isfinite(least)
        }
        return [{"do": "clip", "limits": limits}] if limits else []


def check_outliers(settings: CleanSettings) -> None:
    """Refuses what an isolation forest cannot do.

    Raises:
        UsageError: it is to clip, or to set more than half of the rows apart.
    """
    if settings.outliers != "isolation-forest":
        return
    if settings.action == "clip":
        raise UsageError(
            "an isolation forest judges whole rows and gives no limits to clip to",
            where="[data.clean] action",
            next_step="choose flag or drop, or find outliers by zscore or iqr",
        )
    if settings.threshold > 50:
        raise UsageError(
            "an isolation forest takes a share in percent",
            where="[data.clean] threshold",
            got=settings.threshold,
            expected="at most 50",
        )


def fit_limits(names: Sequence[str], mean: Array, deviation: Array, sample: Array, settings: CleanSettings) -> Limits:
    """Limits of columns by ``settings.outliers``, "zscore" or "iqr".

    Args:
        mean: (columns,) of all training rows, and ``deviation`` likewise.
        sample: (rows, columns) drawn of the same rows, NaN where cells are missing.
    """
    low, high, width = mean, mean, deviation
    if settings.outliers == "iqr":
        low, high = np.nanquantile(np.where(np.isnan(sample).all(axis=0), 0.0, sample), [0.25, 0.75], axis=0)
        width = high - low
    return Limits(
        names=names,
        least=np.where(width > 0, low - settings.threshold * width, -np.inf),
        greatest=np.where(width > 0, high + settings.threshold * width, np.inf),
        beyond=np.zeros(len(names), np.int64),
    )


def fit_forest(sample: Array, settings: CleanSettings, seed: int) -> Callable[[Array], Array]:
    """A function from rows without gaps, (rows, columns), to (rows,) bool: true for an outlier."""
    found: Callable[[Array], Array] = load("edgegen.data.clean.forest:fit_forest", extra="data")(
        sample, settings.threshold, seed
    )
    return found


HOW = {
    "zscore": "values more than {threshold:g} standard deviations from the training part's mean",
    "iqr": "values more than {threshold:g} widths of the middle half beyond it",
    "isolation-forest": "the {threshold:g} percent of rows that an isolation forest sets apart first",
}
"""Each way of finding outliers as people read it."""
