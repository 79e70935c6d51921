"""Fill values that depend on the row: averages of near rows, and chains of linear regressions.

Both work on numbers brought to (value - shift) * factor, so that no unit outweighs another. All sums are written out in
a fixed order: a row has the same bits alone as among others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgegen_runtime.contract import (
    Array,
    Columns,
    PreprocessError,
    integer,
    items,
    names,
    number,
    numbers,
    table,
    text,
)

MOST_DONORS = 1000
MOST_COEFFICIENTS = 500_000
_ROWS_AT_ONCE = 256


class _Scaled:
    """The columns that a step works on, and their scale."""

    def __init__(self, step: Mapping[str, Any], what: str) -> None:
        self.names = names(step["columns"], f"'columns' of {what}")
        self.shift = np.array(numbers(step["shift"], f"'shift' of {what}", len(self.names)))
        self.factor = np.array(numbers(step["factor"], f"'factor' of {what}", len(self.names)))
        if not (self.factor > 0).all():
            raise PreprocessError(f"'factor' of {what} is not above 0")

    def rows(self, state: Columns) -> Array:
        """(rows, columns) float64 in the source's units."""
        for name in self.names:
            if name not in state or state[name].dtype.kind == "O":
                raise PreprocessError(f"a fill step works on {name!r}, which is no column of numbers", column=name)
        rows = len(next(iter(state.values()), ()))
        return np.stack([state[name] for name in self.names], axis=1) if self.names else np.empty((rows, 0))

    def scaled(self, rows: Array) -> Array:
        scaled: Array = (rows - self.shift) * self.factor
        return scaled

    def put(self, state: Columns, rows: Array) -> Columns:
        return {**state, **{name: rows[:, place].copy() for place, name in enumerate(self.names)}}


class Neighbours:
    """Step ``fill-neighbours``: the mean of the ``neighbours`` nearest donor rows that have the cell.

    Distance: squared differences over the columns that both rows have, by the number of those columns; donors that
    share none have no distance. Of equally near donors the first count. Where no donor has a distance: ``otherwise``.

    Source: Dixon, Pattern Recognition with Partly Missing Data, IEEE Trans. SMC 9(10), 1979; Troyanskaya et al.,
    Missing value estimation methods for DNA microarrays, Bioinformatics 17(6), 2001.
    """

    def __init__(self, step: Mapping[str, Any]) -> None:
        what = "'fill-neighbours'"
        keys = {"do", "columns", "shift", "factor", "neighbours", "donors", "otherwise"}
        table(step, what, required=keys)
        self._columns = _Scaled(step, what)
        width = len(self._columns.names)
        self._otherwise = numbers(step["otherwise"], f"'otherwise' of {what}", width)
        self._neighbours = integer(step["neighbours"], f"'neighbours' of {what}", 1, MOST_DONORS)
        donors = [_donor(row, width) for row in items(step["donors"], f"'donors' of {what}", MOST_DONORS)]
        self._donors = np.array(donors, np.float64).reshape(len(donors), width)
        self._near = self._columns.scaled(self._donors)

    def __call__(self, state: Columns) -> Columns:
        rows = self._columns.rows(state)
        incomplete = np.flatnonzero(np.isnan(rows).any(axis=1))
        for start in range(0, len(incomplete), _ROWS_AT_ONCE):
            chosen = incomplete[start : start + _ROWS_AT_ONCE]
            rows[chosen] = self._filled(rows[chosen])
        return self._columns.put(state, rows)

    def _filled(self, rows: Array) -> Array:
        distance = self._distances(self._columns.scaled(rows))
        filled = rows.copy()
        for place in range(rows.shape[1]):
            receivers = np.flatnonzero(np.isnan(rows[:, place]))
            givers = np.flatnonzero(~np.isnan(self._donors[:, place]))
            if receivers.size:
                filled[receivers, place] = self._averages(distance[np.ix_(receivers, givers)], givers, place)
        return filled

    def _distances(self, rows: Array) -> Array:
        """(rows, donors); infinite where no column is shared."""
        total = np.zeros((len(rows), len(self._near)))
        shared = np.zeros(total.shape)
        for place in range(rows.shape[1]):
            difference = rows[:, place, None] - self._near[None, :, place]
            both = ~np.isnan(difference)
            total += np.where(both, difference * difference, 0.0)
            shared += both
        return np.where(shared > 0, total / np.maximum(shared, 1), np.inf)

    def _averages(self, distance: Array, givers: Array, place: int) -> Array:
        nearest = np.argsort(distance, axis=1, kind="stable")[:, : self._neighbours]
        total, count = np.zeros(len(distance)), np.zeros(len(distance))
        for rank in range(nearest.shape[1]):
            reached = np.isfinite(np.take_along_axis(distance, nearest[:, rank, None], axis=1)[:, 0])
            total += np.where(reached, self._donors[givers[nearest[:, rank]], place], 0.0)
            count += reached
        return np.where(count > 0, total / np.maximum(count, 1), self._otherwise[place])


class Regressions:
    """Step ``fill-iterative``: missing cells start at ``initial`` and are predicted from the others, link by link.

    Each link of ``chain`` predicts one column as intercept + sum of coefficient * other column, limited to ``limits``;
    rounds follow each other in the chain. Intercepts, coefficients, limits and ``initial`` are in scaled units.

    Source: van Buuren and Groothuis-Oudshoorn, mice: Multivariate Imputation by Chained Equations in R, Journal of
    Statistical Software 45(3), 2011.
    """

    def __init__(self, step: Mapping[str, Any]) -> None:
        what = "'fill-iterative'"
        table(step, what, required={"do", "columns", "shift", "factor", "initial", "limits", "chain"})
        self._columns = _Scaled(step, what)
        width = len(self._columns.names)
        self._initial = np.array(numbers(step["initial"], f"'initial' of {what}", width))
        pairs = items(step["limits"], f"'limits' of {what}", width)
        self._limits = [numbers(pair, f"an entry of 'limits' of {what}", 2) for pair in pairs]
        if len(pairs) != width or any(low > high for low, high in self._limits):
            raise PreprocessError(f"'limits' of {what} are not one lower and upper limit for each column")
        most = MOST_COEFFICIENTS // max(1, width)
        self._chain = [self._link(link, what) for link in items(step["chain"], f"'chain' of {what}", most)]

    def __call__(self, state: Columns) -> Columns:
        rows = self._columns.rows(state)
        incomplete = np.flatnonzero(np.isnan(rows).any(axis=1))
        if incomplete.size:
            rows[incomplete] = self._filled(rows[incomplete])
        return self._columns.put(state, rows)

    def _filled(self, rows: Array) -> Array:
        gaps = np.isnan(rows)
        scaled = np.where(gaps, self._initial, self._columns.scaled(rows))
        for place, intercept, coefficients in self._chain:
            receivers = np.flatnonzero(gaps[:, place])
            if receivers.size:
                predicted = np.full(len(receivers), intercept)
                for other, coefficient in coefficients:
                    predicted += coefficient * scaled[receivers, other]
                scaled[receivers, place] = np.clip(predicted, self._limits[place][0], self._limits[place][1])
        return np.where(gaps, scaled / self._columns.factor + self._columns.shift, rows)

    def _link(self, link: object, what: str) -> tuple[int, float, list[tuple[int, float]]]:
        found = table(link, f"a link of {what}", required={"column", "intercept", "coefficients"})
        column = text(found["column"], f"the column of a link of {what}")
        if column not in self._columns.names:
            raise PreprocessError(f"a link of {what} predicts the unknown column {column[:80]!r}")
        place = self._columns.names.index(column)
        coefficients = numbers(found["coefficients"], f"the coefficients of a link of {what}", len(self._columns.names))
        if coefficients[place] != 0:
            raise PreprocessError(f"a link of {what} predicts {column!r} from itself")
        return (
            place,
            number(found["intercept"], f"the intercept of a link of {what}"),
            [(other, coefficient) for other, coefficient in enumerate(coefficients) if other != place],
        )


def _donor(row: object, width: int) -> list[float]:
    cells = items(row, "a donor row", width)
    if len(cells) != width:
        raise PreprocessError(f"a donor row has {len(cells)} cells; {width} are needed")
    return [np.nan if cell is None else number(cell, "a donor's cell") for cell in cells]
