"""Budgets: limits that a build must keep, as the project file states them.

``latency``, ``energy``, ``instructions``, ``size``, ``peak_ram`` and ``flash`` limit resources; every other name is a
quality metric (``psnr_db``, ``cosine``, …) with a ``min`` or a ``max``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from edgegen.core.errors import UsageError
from edgegen.core.lazy import nearest
from edgegen.core.records import read_record, setting

Statistic = Literal["mean", "worst5"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyBudget:
    """Limits the milliseconds of one inference; names the kind of figure that it accepts."""

    max_ms: float = setting(doc="upper limit in milliseconds", minimum=1e-6)
    percentile: Literal["p50", "p90", "p99"] = setting("p90", doc="which percentile of a measured latency")
    kind: Literal["measured", "predicted"] = setting("measured", doc="the kind of figure that is accepted")
    required: bool = setting(True, doc="false: reported, but cannot fail the build")


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyBudget:
    """Limits the joules of one inference; names the kind of figure that it accepts."""

    max_joules: float = setting(doc="upper limit in joules", minimum=1e-12)
    kind: Literal["measured", "predicted"] = setting("measured", doc="the kind of figure that is accepted")
    required: bool = setting(True, doc="false: reported, but cannot fail the build")


@dataclass(frozen=True, slots=True, kw_only=True)
class CountBudget:
    """Limits a counted figure per inference."""

    max: int = setting(doc="upper limit", minimum=1)
    required: bool = setting(True, doc="false: reported, but cannot fail the build")


@dataclass(frozen=True, slots=True, kw_only=True)
class BytesBudget:
    """Limits bytes."""

    max_bytes: int = setting(doc="upper limit in bytes", minimum=1)
    required: bool = setting(True, doc="false: reported, but cannot fail the build")


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityBudget:
    """Limits a quality metric from below or above."""

    min: float | None = setting(None, doc="lower limit")
    max: float | None = setting(None, doc="upper limit")
    statistic: Statistic = setting("mean", doc="over the samples: their mean, or the mean of the worst 5 %")
    required: bool = setting(True, doc="false: reported, but cannot fail the build")


RESOURCES: dict[str, type] = {
    "latency": LatencyBudget,
    "energy": EnergyBudget,
    "instructions": CountBudget,
    "size": BytesBudget,
    "peak_ram": BytesBudget,
    "flash": BytesBudget,
}

Budget = LatencyBudget | EnergyBudget | CountBudget | BytesBudget | QualityBudget


def read_budgets(table: Mapping[str, Any], metrics: Mapping[str, Any], where: str, source: str) -> dict[str, Budget]:
    """The budgets of a ``[budgets]`` table by name.

    Args:
        metrics: the quality metrics that a budget may name.

    Raises:
        UsageError: unknown budget or metric (with the nearest name), wrong type or unit, no limit or two.
    """
    known = [*RESOURCES, *metrics]
    budgets: dict[str, Budget] = {}
    for name, value in table.items():
        if name not in known:
            raise UsageError(
                f"unknown budget {name!r}",
                where=f"{source}, [{where}]",
                expected=f"one of {', '.join(known)}{nearest(name, known)}",
            )
        budget: Budget = read_record(RESOURCES.get(name, QualityBudget), value, f"{where}.{name}", source)
        if isinstance(budget, QualityBudget) and (budget.min is None) == (budget.max is None):
            raise UsageError(
                f"the budget {name!r} needs exactly one limit",
                where=f"{source}, [{where}.{name}]",
                got="both min and max" if budget.min is not None else "neither min nor max",
                expected="min = NUMBER or max = NUMBER",
            )
        budgets[name] = budget
    return budgets
