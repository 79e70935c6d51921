"""Figures of columns over rows that come in batches, in bounded memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    Array = np.ndarray[Any, np.dtype[Any]]


class Moments:
    """Count, mean, variance and range of every column, without its missing cells.

    Source: Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing sample variances,
    Stanford STAN-CS-79-773, 1979, equation 2.1.
    """

    def __init__(self, columns: int) -> None:
        self.count = np.zeros(columns)
        self.mean = np.zeros(columns)
        self._squares = np.zeros(columns)  # sum of squared deviations from the mean
        self.least = np.full(columns, np.inf)
        self.greatest = np.full(columns, -np.inf)

    def add(self, rows: Array) -> None:
        """``rows`` is (rows, columns) float64 with NaN where a cell is missing."""
        present = ~np.isnan(rows)
        count = present.sum(0)
        total = self.count + count
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is refused by ``usable``
            mean = np.where(present, rows, 0).sum(0) / np.maximum(count, 1)
            squares = (np.where(present, rows - mean, 0) ** 2).sum(0)
            apart = mean - self.mean
            self._squares += squares + apart**2 * self.count * count / np.maximum(total, 1)
            self.mean += apart * count / np.maximum(total, 1)
        self.count = total
        self.least = np.minimum(self.least, np.where(present, rows, np.inf).min(0, initial=np.inf))
        self.greatest = np.maximum(self.greatest, np.where(present, rows, -np.inf).max(0, initial=-np.inf))

    @property
    def deviation(self) -> Array:
        """Standard deviation with the count as divisor; 0 for a column of one value."""
        deviation: Array = np.sqrt(self._squares / np.maximum(self.count, 1))
        return np.where(self.least == self.greatest, 0.0, deviation)

    @property
    def usable(self) -> Array:
        """Which columns have a mean and a deviation that a float64 holds."""
        usable: Array = np.isfinite(self.mean) & np.isfinite(self._squares)
        return usable


class Sample:
    """At most ``most`` rows, each as likely as any other, the same whatever the batches.

    Every row draws a number; the rows with the least numbers are kept. They are given in the order in which they came.
    """

    def __init__(self, columns: int, most: int, seed: int) -> None:
        self._random = np.random.Generator(np.random.PCG64(seed))
        self._most = most
        self._seen = 0
        self._rows = np.empty((0, columns))
        self._draws = np.empty(0)
        self._places = np.empty(0, np.int64)

    def add(self, rows: Array) -> None:
        """``rows`` is (rows, columns) float64."""
        draws = self._random.random(len(rows))
        places = np.arange(self._seen, self._seen + len(rows))
        self._seen += len(rows)
        candidates = draws < (self._draws.max() if len(self._draws) >= self._most else np.inf)
        self._rows = np.concatenate([self._rows, rows[candidates]])
        self._draws = np.concatenate([self._draws, draws[candidates]])
        self._places = np.concatenate([self._places, places[candidates]])
        if len(self._draws) > self._most:
            kept = np.sort(np.argpartition(self._draws, self._most - 1)[: self._most])
            self._rows, self._draws, self._places = self._rows[kept], self._draws[kept], self._places[kept]

    @property
    def rows(self) -> Array:
        """(rows, columns) in the order in which they came."""
        return self._rows

    @property
    def whole(self) -> bool:
        """Whether every row is in the sample."""
        return self._seen == len(self._rows)
