"""New figures against a baseline's: exact ones by a tolerance, measured ones by a test over processes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from edgegen.bench.runs import Figure, Run
from edgegen.bench.statistics import compare_runs
from edgegen.core.results import NumberKind

GateStatus = Literal["pass", "fail", "unverified", "inconclusive", "waived"]

TOLERANCES: Mapping[str, float] = {"counted": 0.01, "exact": 0.01, "quality": 0.01, "measured": 0.02}
"""Kind of figure -> the change for the worse that is accepted."""

RESOLUTION = 0.10
"""A measured figure passes only where a change for the worse of more than this is excluded."""

GATED = (
    *("instructions", "size_bytes", "peak_ram_bytes", "latency_p50_ms"),
    *("tg_instructions_per_token", "pp_instructions_per_token", "tg_tokens_per_s", "pp_tokens_per_s"),
)
"""Figures that are held against the baseline where both sides have them; quality comes on top where it is named."""

_MEMORY_RATIO = 0.05  # resident memory of processes on a device: a page more or less is no regression


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of a gate's outcome."""

    target: str
    budget: str  # as waivers name it
    metric: str
    kind: NumberKind
    status: GateStatus
    required: bool
    value: float | None
    limit: float | None
    unit: str
    direction: Literal["max", "min"]
    reason: str = ""
    baseline: float | None = None  # None: an absolute budget
    change_ratio: float | None = None  # new less old, over the size of the old: more is above zero
    low_ratio: float | None = None  # interval of the change; None: exact
    high_ratio: float | None = None
    waiver: Mapping[str, str] | None = None  # what lifted it


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a regression is."""

    tolerances: Mapping[str, float]  # by metric or kind; a metric's own goes first
    resolution: float = RESOLUTION
    metrics: tuple[str, ...] = ()  # beside ``GATED``

    def tolerance(self, figure: Figure) -> float:
        """The change for the worse that is accepted of a figure."""
        own = self.tolerances.get(figure.metric, self.tolerances.get(figure.kind))
        if own is not None:
            return own
        if figure.metric == "peak_ram_bytes" and figure.kind == "measured":
            return _MEMORY_RATIO
        return TOLERANCES[figure.kind]


def regressions(new: Run, old: Run, rules: Rules) -> tuple[Check, ...]:
    """A check for every gated figure that the baseline has, in the new run's order; those that got lost at the end."""
    wanted = (*GATED, *rules.metrics)
    known = {figure.metric: figure for figure in old.figures if figure.metric in wanted}
    checks = [
        _check(new, old, figure, known.pop(figure.metric), rules) for figure in new.figures if figure.metric in known
    ]
    return (*checks, *(_lost(new, figure) for figure in known.values()))


def _lost(new: Run, before: Figure) -> Check:
    """A figure that the baseline has and the new run has not must not get out of sight."""
    return Check(
        target=new.target,
        budget=f"{before.metric} regression",
        metric=before.metric,
        kind=before.kind,
        status="unverified",
        required=True,
        value=None,
        limit=None,
        unit=unit_of_metric(before.metric),
        direction="max" if before.better == "lower" else "min",
        reason="the baseline has this figure, and this run has not",
        baseline=before.value,
    )


def _check(new: Run, old: Run, figure: Figure, before: Figure, rules: Rules) -> Check:
    tolerance = rules.tolerance(figure)
    limit = _limit(before.value, tolerance, lower_is_better=figure.better == "lower")
    status, reason = _exact(figure, limit)
    low = high = None
    change = (figure.value - before.value) / abs(before.value) if before.value else None
    if figure.kind != before.kind:
        status, reason = "inconclusive", f"the baseline's figure is {before.kind}, this one {figure.kind}"
    elif figure.kind == "counted" and new.core != old.core:
        status, reason = "inconclusive", f"the baseline was counted on {old.core}, this on {new.core}"
    elif figure.kind == "measured" and new.fingerprint != old.fingerprint:
        status, reason = "inconclusive", f"the baseline is of another machine ({_apart(new, old)})"
    elif figure.kind == "measured" and (new.unsteady or old.unsteady):
        status, reason = "inconclusive", f"the machine was not steady: {new.unsteady or old.unsteady}"
    elif figure.kind == "measured" and figure.metric != "peak_ram_bytes":
        found = compare_runs(
            before.processes,
            figure.processes,
            tolerance=tolerance,
            resolution=rules.resolution,
            lower_is_better=figure.better == "lower",
        )
        status, reason = found.status, found.reason
        if math.isfinite(found.high_ratio):
            # The test's own estimate: that of the medians may lie outside its interval.
            change, low, high = found.ratio - 1, found.low_ratio - 1, found.high_ratio - 1
    return Check(
        target=new.target,
        budget=f"{figure.metric} regression",
        metric=figure.metric,
        kind=figure.kind,
        status=status,
        required=True,
        value=figure.value,
        limit=limit,
        unit=unit_of_metric(figure.metric),
        direction="max" if figure.better == "lower" else "min",
        reason=reason,
        baseline=before.value,
        change_ratio=change,
        low_ratio=low,
        high_ratio=high,
    )


def _exact(figure: Figure, limit: float) -> tuple[GateStatus, str]:
    kept = figure.value <= limit if figure.better == "lower" else figure.value >= limit
    return ("pass" if kept else "fail"), ""


def _limit(before: float, tolerance: float, *, lower_is_better: bool) -> float:
    """The worst value that is accepted; the tolerance is of the baseline's size, for some figures are negative."""
    room = tolerance * abs(before)
    return before + room if lower_is_better else before - room


def _apart(new: Run, old: Run) -> str:
    names = sorted(
        name for name in new.machine.keys() | old.machine.keys() if new.machine.get(name) != old.machine.get(name)
    )
    return ", ".join(
        f"{name}: {old.machine.get(name, 'unknown')}, here {new.machine.get(name, 'unknown')}" for name in names
    )


def unit_of_metric(metric: str) -> str:
    """The unit that a figure's name tells."""
    base = metric.removesuffix("_mean").removesuffix("_worst5")
    units = {"_bytes": "bytes", "_ms": "ms", "_tokens_per_s": "tokens/s", "_db": "dB", "_nats": "nats", "_joules": "J"}
    if base.endswith(("instructions", "_instructions_per_token")):
        return "instructions"
    return next((unit for suffix, unit in units.items() if base.endswith(suffix)), "")


def is_suspicious(checks: Sequence[Check]) -> bool:
    """Whether a measured figure is not plainly kept: what another round of runs confirms or clears."""
    return any(item.kind == "measured" and item.status in ("fail", "inconclusive") for item in checks)


def settled(first: Check, second: Check, pooled: Check) -> Check:
    """What two rounds of runs say together.

    A suspicion is believed only if runs that know nothing of the first raise it again: then an unchanged build has to
    be unlucky twice.

    Args:
        first, second: each of its own runs alone.
        pooled: of all runs.
    """
    if first.status != "fail" or first.kind != "measured":
        return first if first.status == "pass" or first.kind != "measured" else pooled
    if second.status == "fail":
        return replace(pooled, status="fail", reason="a second round of runs says the same")
    if pooled.status == "pass":
        return replace(pooled, reason="suspected in a first round, cleared by a second")
    return replace(pooled, status="inconclusive", reason="one round of runs fails and the other does not")
