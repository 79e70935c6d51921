"""How far a figure of held-out samples may be off: 95 % intervals.

Samples of one person, speaker or recording resemble each other: where the held-out part has groups, whole groups are
drawn anew, never samples out of them. Sources: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 8
and 13 (percentile intervals; clusters as what is drawn); Wilson, JASA 22, 1927 (a proportion's interval).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from edgegen.data.dataset import Part

    Array = np.ndarray[Any, np.dtype[Any]]

Interval: TypeAlias = "tuple[float | None, float | None]"

DRAWS = 1000
"""Draws behind every interval."""

UNKNOWN: Interval = (None, None)
"""The interval of what cannot be drawn anew."""

_NORMAL = 1.959964  # of a standard normal, 95 % lie within
_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resampling:
    """How the held-out samples are drawn anew."""

    samples: int
    groups: Array | None  # (samples,) number of each sample's group, from 0; None: every sample stands for itself
    seed: int

    @property
    def group_count(self) -> int:
        """Groups, 0 where there are none."""
        return 0 if self.groups is None else int(self.groups.max()) + 1

    @property
    def how(self) -> str:
        """The way as a clause for people."""
        return f"whole groups drawn anew, {self.group_count} of them" if self.group_count > 1 else "samples drawn anew"

    def weights(self) -> Iterator[Array]:
        """(samples,) how often each sample comes in a draw; ``DRAWS`` of them."""
        random = np.random.Generator(np.random.PCG64(self.seed))
        units = self.group_count if self.group_count > 1 else self.samples
        for _ in range(DRAWS):
            counts = np.bincount(random.integers(0, units, units), minlength=units)
            yield counts[self.groups] if self.groups is not None and self.group_count > 1 else counts

    def intervals(self, figures: Callable[[Array], Mapping[str, float]]) -> dict[str, Interval]:
        """Name -> interval of each figure; ``figures`` takes weights (samples,).

        A figure that is NaN in a draw (of a class that is not in it) is passed over there.
        """
        found: dict[str, list[float]] = {}
        for weights in self.weights():
            for name, value in figures(weights).items():
                found.setdefault(name, []).append(value)
        return {name: _middle(np.asarray(values)) for name, values in found.items()}


def resampling(part: Part, seed: int) -> Resampling:
    """By the part's groups where it has at least two, else sample by sample."""
    groups = None if part.group is None else np.unique(np.asarray(part.group), return_inverse=True)[1]
    return Resampling(samples=len(part), groups=groups, seed=seed)


def wilson(hits: float, samples: float) -> Interval:
    """The interval of a proportion of independent samples; UNKNOWN where there is none.

    (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n).
    """
    if samples <= 0:
        return UNKNOWN
    share, square = hits / samples, _NORMAL**2 / samples
    middle, reach = share + square / 2, _NORMAL * math.sqrt(share * (1 - share) / samples + square / (4 * samples))
    return max(0.0, (middle - reach) / (1 + square)), min(1.0, (middle + reach) / (1 + square))


def _middle(values: Array) -> Interval:
    known = values[~np.isnan(values)]
    if not len(known):
        return UNKNOWN
    low, high = np.percentile(known, _PERCENTILES)
    return float(low), float(high)
