"""Which ways to ship a model no other beats in everything, and how much of the space of costs and quality they cover.

Every figure is made a coordinate: 0 is the best that is told apart, 1 is the reference point, which is fixed before
anything is searched. Costs and divergences are placed by their logarithm, so that each halving is worth the same.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Figures: TypeAlias = Mapping[str, Any]
"""``size_bytes``, ``instructions``, ``bytes_moved``, ``latency_ms``, ``peak_ram_bytes``, ``flash_bytes``,
``arena_bytes`` and ``macs`` (None where unknown), and ``quality``: figures by part, then by ``<metric>_<statistic>``.
"""

Coordinates: TypeAlias = tuple[float, ...]

COSTS: Mapping[str, str] = {
    "instructions": "instructions",
    "bytes_moved": "bytes_moved",
    "latency": "latency_ms",
    "size": "size_bytes",
    "peak_ram": "peak_ram_bytes",
    "flash": "flash_bytes",
    "arena": "arena_bytes",
}
"""Objective -> the figure that it is about."""

ALLOWANCE = 1.1
"""A point may cost as much more than the dearest float parent."""

SMALLEST = 1 / 64
"""Part of the cheapest float parent's cost that is still told from less."""

_BEST_DB, _LEAST_DIVERGENCE = 60.0, 1e-4
_TASK_STEP = 0.005  # relative losses of the task's figure that are nearer to each other count as equal


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """One figure that is to be good, and the ends of its axis."""

    name: str  # of ``COSTS``, "quality" or "task"
    figure: str  # key of the figure; of the quality objectives ``<metric>_<statistic>``
    worst: float  # the reference point: nothing beyond it is on the front
    best: float  # what is better is not told apart
    scale: Literal["log", "linear", "loss"]  # loss: relative to ``parent``
    better: Literal["lower", "higher"]
    parent: float | None = None  # the float model's figure, the best of its formats; only of "loss"

    def value(self, figures: Figures) -> float | None:
        """The figure as it was measured; None where it is not known."""
        if self.name in COSTS:
            found = figures.get(self.figure)
        else:
            quality = figures.get("quality") or {}
            found = next((part[self.figure] for part in quality.values() if self.figure in part), None)
        return None if found is None or not math.isfinite(found) else float(found)

    def coordinate(self, figures: Figures) -> float | None:
        """0 at the best, 1 at the reference point, more beyond it; None where the figure is not known."""
        value = self.value(figures)
        if value is None:
            return None
        if self.scale == "loss":
            value = _TASK_STEP * round(self.loss(value) / _TASK_STEP)
        if self.scale == "log":
            low = min(self.best, self.worst)
            share = math.log(max(value, low) / self.best) / math.log(self.worst / self.best)
        else:
            share = (value - self.best) / (self.worst - self.best)
        return max(0.0, share)

    def loss(self, value: float) -> float:
        """How much worse than the float model's figure, as a part of it; below 0 where it is better."""
        assert self.parent is not None
        change = (self.parent - value) if self.better == "higher" else (value - self.parent)
        return change / abs(self.parent) if self.parent else change


def cost_objective(name: str, parents: Sequence[Figures]) -> Objective | None:
    """The objective of a cost, its reference at ``ALLOWANCE`` times the dearest float parent; None if not known."""
    figure = COSTS[name]
    known = [float(parent[figure]) for parent in parents if parent.get(figure)]
    if not known:
        return None
    return Objective(
        name=name, figure=figure, worst=ALLOWANCE * max(known), best=SMALLEST * min(known), scale="log", better="lower"
    )


def quality_objective(figure: str, worst: float) -> Objective:
    """The objective of closeness to the float model: figures in dB, or divergences."""
    if figure.startswith("kl_divergence"):
        return Objective(
            name="quality", figure=figure, worst=worst, best=_LEAST_DIVERGENCE, scale="log", better="lower"
        )
    best = max(_BEST_DB, worst + 1.0) if "_db_" in figure else 1.0
    return Objective(name="quality", figure=figure, worst=worst, best=best, scale="linear", better="higher")


def task_objective(
    figure: str, better: Literal["lower", "higher"], worst_loss: float, parents: Sequence[Figures]
) -> Objective | None:
    """The objective of what is true: the relative loss against the best float parent; None where nothing is known."""
    plain = Objective(name="task", figure=figure, worst=worst_loss, best=0.0, scale="linear", better=better)
    known = [value for parent in parents if (value := plain.value(parent)) is not None]
    if not known:
        return None
    best = min(known) if better == "lower" else max(known)
    return Objective(name="task", figure=figure, worst=worst_loss, best=0.0, scale="loss", better=better, parent=best)


def place(figures: Figures, objectives: Sequence[Objective]) -> Coordinates | None:
    """Coordinates in the order of the objectives; None where one is not known."""
    found = [objective.coordinate(figures) for objective in objectives]
    known = tuple(item for item in found if item is not None)
    return known if len(known) == len(found) else None


def allowed(point: Coordinates) -> bool:
    """Whether a point lies within the reference point."""
    return all(item <= 1.0 for item in point)


def dominates(one: Coordinates, other: Coordinates) -> bool:
    """Whether ``one`` is nowhere worse than ``other``, and somewhere better."""
    return one != other and all(mine <= theirs for mine, theirs in zip(one, other, strict=True))


def front_of(points: Mapping[str, Coordinates]) -> list[str]:
    """Names of the points within the reference point that no other dominates, as given; of equal ones the first."""
    inside = {name: point for name, point in points.items() if allowed(point)}
    first = {point: name for name, point in reversed(inside.items())}
    return [
        name
        for name, point in inside.items()
        if first[point] == name and not any(dominates(other, point) for other in inside.values())
    ]


def hypervolume(points: Sequence[Coordinates]) -> float:
    """Part of the unit cube that lies behind the points, seen from the best corner: 0 to 1.

    The exclusive volumes of While, Bradstreet and Barone, "A fast way of calculating exact hypervolumes", IEEE
    Transactions on Evolutionary Computation 16 (2012), algorithm 1.
    """
    return _covered(_undominated([point for point in points if allowed(point)]))


def _covered(points: list[Coordinates]) -> float:
    # The dearest first: what is left to limit by is then small.
    ordered = sorted(points, reverse=True)
    return math.fsum(
        _box(point) - _covered(_undominated([_joined(point, other) for other in ordered[place + 1 :]]))
        for place, point in enumerate(ordered)
    )


def _box(point: Coordinates) -> float:
    return math.prod(1.0 - item for item in point)


def _joined(one: Coordinates, other: Coordinates) -> Coordinates:
    return tuple(max(pair) for pair in zip(one, other, strict=True))


def _undominated(points: Sequence[Coordinates]) -> list[Coordinates]:
    kept: list[Coordinates] = []
    for point in dict.fromkeys(points):
        if any(dominates(other, point) for other in kept):
            continue
        kept = [other for other in kept if not dominates(point, other)]
        kept.append(point)
    return kept
