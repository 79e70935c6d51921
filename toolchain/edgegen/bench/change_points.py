"""Where a row of figures moved to another level, found exactly: the split into levels that costs the least.

Optimal partitioning by dynamic programming (Jackson et al., "An algorithm for optimal partitioning of data on an
interval", IEEE Signal Processing Letters 12, 2005): the sum of squared distances of the logarithms from their level's
mean, in units of the noise, plus a price for every level. The price is 3 log n, as of an information criterion that
counts a level's mean, its place and the search for it. The noise is that of neighbours' differences, which a change of
level moves in one place alone, and never below what counts differ by without a cause.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

LEAST_NOISE = 0.001
"""Counts of equal work differ by a tenth of a percent from environment to environment, and by 0.5 % at the most."""

_MAX_POINTS = 2000
_MAD_TO_DEVIATION = 1.4826  # of a normal distribution
_PENALTY = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A place where the level moved."""

    place: int  # of the first figure of the new level
    before: float  # the level: exp of the mean logarithm
    after: float

    @property
    def ratio(self) -> float:
        """The new level over the old one, less one."""
        return self.after / self.before - 1


def change_points(values: Sequence[float], *, least_ratio: float = 0.0) -> tuple[Change, ...]:
    """The places where the level of positive figures moved, in order.

    Args:
        least_ratio: changes below this are not told.
    """
    if len(values) < 2 or not all(math.isfinite(value) and value > 0 for value in values):
        return ()
    kept = values[-_MAX_POINTS:]
    left_out = len(values) - len(kept)
    logs = [math.log(value) for value in kept]
    starts = _best_starts(logs, _noise(logs))
    levels = [statistics.fmean(logs[start:end]) for start, end in zip(starts, [*starts[1:], len(logs)], strict=True)]
    found = (
        Change(place=left_out + start, before=math.exp(before), after=math.exp(after))
        for start, before, after in zip(starts[1:], levels, levels[1:], strict=False)
    )
    return tuple(change for change in found if abs(change.ratio) >= least_ratio)


def _noise(logs: Sequence[float]) -> float:
    """Standard deviation about a level, from the median of neighbours' differences."""
    steps = [abs(after - before) for before, after in itertools.pairwise(logs)]
    return max(_MAD_TO_DEVIATION * statistics.median(steps) / math.sqrt(2), LEAST_NOISE)


def _best_starts(logs: Sequence[float], noise: float) -> list[int]:
    """First places of the levels of the cheapest split."""
    count = len(logs)
    sums, squares = [0.0], [0.0]
    centre = statistics.fmean(logs)  # keeps the sums small, so that differences of squares stay exact
    for value in logs:
        sums.append(sums[-1] + value - centre)
        squares.append(squares[-1] + (value - centre) ** 2)
    penalty = _PENALTY * math.log(count)
    best, came_from = [-penalty], [0]
    for end in range(1, count + 1):
        costs = [
            best[start] + (squares[end] - squares[start] - (sums[end] - sums[start]) ** 2 / (end - start)) / noise**2
            for start in range(end)
        ]
        start = min(range(end), key=costs.__getitem__)
        best.append(costs[start] + penalty)
        came_from.append(start)
    starts, end = [], count
    while end > 0:
        end = came_from[end]
        starts.append(end)
    return starts[::-1]
