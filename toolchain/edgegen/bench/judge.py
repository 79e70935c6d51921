"""Budgets against one candidate: pass, fail, or the honest word for what is not known.

A value that is missing is ``unverified``, never a pass. A prediction never stands in for a measurement; it may fail a
budget that accepts predictions by more than its band, and pass one only through a model that was fitted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from edgegen.core.budgets import (
    Budget,
    BytesBudget,
    CountBudget,
    EnergyBudget,
    LatencyBudget,
    QualityBudget,
    read_budgets,
)
from edgegen.core.errors import ExitCode
from edgegen.core.results import Candidate, NumberKind, Status, Verdict
from edgegen.core.targets import TargetProfile
from edgegen.metrics.table import METRICS

UNCALIBRATED = "uncalibrated"
MINIMUM_RUNS = 5
"""Below this many runs a measured latency is inconclusive."""

# Where a budget's metric is looked up. Not in cross_isa: that compares machines, not a candidate with its parent.
_PARTS = ("paired", "task", "known", "unpaired")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limit:
    """One budget made plain: what is compared, with what, and how it is called."""

    budget: str
    metric: str
    kind: NumberKind
    direction: Literal["max", "min"]
    limit: float
    unit: str
    required: bool

    def verdict(self, status: Status, value: float | None, reason: str = "") -> Verdict:
        return Verdict(
            budget=self.budget,
            metric=self.metric,
            kind=self.kind,
            direction=self.direction,
            limit=self.limit,
            value=value,
            unit=self.unit,
            status=status,
            required=self.required,
            reason=reason,
        )

    def compare(self, value: float | None, reason_if_missing: str) -> Verdict:
        """Pass or fail by the limit; ``unverified`` where there is no number."""
        if value is None:
            return self.verdict("unverified", None, reason_if_missing)
        if not math.isfinite(value):
            return self.verdict("unverified", None, f"the value is {value}, not a finite number")
        kept = value <= self.limit if self.direction == "max" else value >= self.limit
        return self.verdict("pass" if kept else "fail", value)


def judge(budgets: Mapping[str, Budget], candidate: Candidate, profile: TargetProfile) -> tuple[Verdict, ...]:
    """One verdict a budget, in the budgets' order. Depends on nothing but its arguments.

    Those that are the profile's own, by ``profile.budgets``, say so.
    """
    own = read_budgets(profile.budgets, {}, "budgets", f"the profile {profile.name}")
    verdicts = (_judge(name, budget, candidate, profile) for name, budget in budgets.items())
    return tuple(
        replace(item, origin="profile") if own.get(item.budget) == budgets[item.budget] else item for item in verdicts
    )


def exit_code(verdicts: Iterable[Verdict]) -> ExitCode:
    """What the required verdicts mean for the command: a failure outweighs what could not be judged."""
    statuses = {verdict.status for verdict in verdicts if verdict.required}
    if "fail" in statuses:
        return ExitCode.BUDGET_FAILED
    return ExitCode.NOT_JUDGED if statuses & {"unverified", "inconclusive"} else ExitCode.OK


def _judge(name: str, budget: Budget, candidate: Candidate, profile: TargetProfile) -> Verdict:
    if isinstance(budget, LatencyBudget):
        return _measured(budget, candidate) if budget.kind == "measured" else _predicted(budget, candidate)
    if isinstance(budget, EnergyBudget):
        return _metered(budget, candidate) if budget.kind == "measured" else _predicted_energy(budget, candidate)
    if isinstance(budget, CountBudget):
        return _instructions(name, budget, candidate)
    if isinstance(budget, BytesBudget):
        return _bytes(name, budget, candidate, profile)
    return _quality(name, budget, candidate)


def _measured(budget: LatencyBudget, candidate: Candidate) -> Verdict:
    limit = _Limit(
        budget="latency",
        metric=f"latency_{budget.percentile}_ms",
        kind="measured",
        direction="max",
        limit=budget.max_ms,
        unit="ms",
        required=budget.required,
    )
    clock = candidate.measured
    if clock is None:
        reason = _unknown("no wall clock was measured on a device", candidate)
        if candidate.predicted is not None:
            reason += "; a prediction never stands in for a measurement"
        return limit.verdict("unverified", None, reason)
    value = {"p50": clock.p50_ms, "p90": clock.p90_ms, "p99": clock.p99_ms}[budget.percentile]
    if clock.runs < MINIMUM_RUNS:
        return limit.verdict("inconclusive", value, f"{clock.runs} runs are too few; {MINIMUM_RUNS} are the least")
    drift = (clock.board or {}).get("drift", ())
    if drift:
        return limit.verdict("inconclusive", value, f"the board did not stay as it was: {'; '.join(drift)}")
    return limit.compare(value, "")


def _predicted(budget: LatencyBudget, candidate: Candidate) -> Verdict:
    limit = _Limit(
        budget="latency",
        metric="latency_predicted_ms",
        kind="predicted",
        direction="max",
        limit=budget.max_ms,
        unit="ms",
        required=budget.required,
    )
    if candidate.predicted is None:
        return limit.verdict("unverified", None, _unknown("no latency was predicted", candidate))
    found = candidate.predicted
    ends = (found.low_ms, found.high_ms)
    return limit.verdict(*_within_band(found.latency_ms, ends, budget.max_ms, "ms", found.origin))


def _within_band(
    value: float, band: tuple[float, float], limit: float, unit: str, origin: str
) -> tuple[Status, float, str]:
    """``origin``: of the cost model that the milliseconds came through, of which energy is made too."""
    (low, high), said = band, f"{band[0]:.3g} to {band[1]:.3g} {unit}"
    if low > limit:
        return "fail", value, f"even the low end of the band, {low:.3g} {unit}, is above the limit"
    if origin == UNCALIBRATED:
        return "unverified", value, f"the cost model was never fitted to a device (its band: {said})"
    if high <= limit:
        return "pass", value, ""
    return "inconclusive", value, f"the limit lies inside the band, {said}"


def _metered(budget: EnergyBudget, candidate: Candidate) -> Verdict:
    limit = _energy_limit("energy_joules", budget)
    clock = candidate.measured
    if clock is None or clock.joules is None:
        reason = _unknown("no energy was measured by a meter", candidate)
        if candidate.predicted is not None and candidate.predicted.energy is not None:
            reason += "; a prediction never stands in for a measurement"
        return limit.verdict("unverified", None, reason)
    drift = (clock.board or {}).get("drift", ())
    if drift:
        return limit.verdict("inconclusive", clock.joules, f"the board did not stay as it was: {'; '.join(drift)}")
    low, high = clock.joules_interval or (clock.joules, clock.joules)
    if low <= budget.max_joules < high:
        reason = f"the limit lies inside the interval with 95 % confidence, {low:.3g} to {high:.3g} J"
        return limit.verdict("inconclusive", clock.joules, reason)
    return limit.compare(clock.joules, "")


def _predicted_energy(budget: EnergyBudget, candidate: Candidate) -> Verdict:
    limit = _energy_limit("energy_predicted_joules", budget)
    latency = candidate.predicted
    if latency is None or latency.energy is None:
        why = "no latency was predicted" if latency is None else "the profile has no energy model"
        return limit.verdict("unverified", None, _unknown(f"no energy was predicted: {why}", candidate))
    found = latency.energy
    return limit.verdict(
        *_within_band(found.joules, (found.low_j, found.high_j), budget.max_joules, "J", latency.origin)
    )


def _energy_limit(metric: str, budget: EnergyBudget) -> _Limit:
    return _Limit(
        budget="energy",
        metric=metric,
        kind=budget.kind,
        direction="max",
        limit=budget.max_joules,
        unit="J",
        required=budget.required,
    )


def _instructions(name: str, budget: CountBudget, candidate: Candidate) -> Verdict:
    limit = _Limit(
        budget=name,
        metric="instructions_min",
        kind="counted",
        direction="max",
        limit=budget.max,
        unit="instructions",
        required=budget.required,
    )
    value = None if candidate.counted is None else candidate.counted.instructions
    return limit.compare(value, _unknown("no instructions were counted", candidate))


def _bytes(name: str, budget: BytesBudget, candidate: Candidate, profile: TargetProfile) -> Verdict:
    # Under emulation the guest's own high water is counted; on a device the process's RSS is measured.
    kinds: dict[str, NumberKind] = {
        "size": "exact",
        "flash": "exact",
        "peak_ram": "measured" if candidate.counted is None and candidate.peak_ram_bytes is not None else "counted",
    }
    limit = _Limit(
        budget=name,
        metric=f"{name}_bytes",
        kind=kinds[name],
        direction="max",
        limit=budget.max_bytes,
        unit="bytes",
        required=budget.required,
    )
    if name == "flash" and candidate.flash_bytes is not None:
        return limit.compare(candidate.flash_bytes, "")
    if name == "flash" and profile.mcu is not None:
        return limit.verdict("unverified", None, _unknown("no firmware was linked", candidate))
    if name == "flash":
        reason = f"flash is known of microcontrollers only; on {profile.name} the model is a file: budget its size"
        return limit.verdict("unverified", None, reason)
    if name == "size":
        return limit.compare(candidate.size_bytes, _unknown("there is no file", candidate))
    return limit.compare(candidate.peak_ram_bytes, _unknown("no memory was counted or measured", candidate))


def _quality(name: str, budget: QualityBudget, candidate: Candidate) -> Verdict:
    metric, value = _figure_of(name, budget.statistic, candidate)
    minimum = budget.min
    limit = _Limit(
        budget=name,
        metric=metric,
        kind="quality",
        direction="max" if minimum is None else "min",
        limit=float(minimum if minimum is not None else budget.max if budget.max is not None else math.nan),
        unit=METRICS[name].unit if name in METRICS else "",
        required=budget.required,
    )
    return limit.compare(value, _unknown(f"no {metric} is known", candidate))


def _figure_of(name: str, statistic: str, candidate: Candidate) -> tuple[str, float | None]:
    """The metric's full name and its value: over the samples first, else as one figure of the whole task."""
    quality = candidate.quality or {}
    metric = f"{name}_{statistic}"
    parts = [quality.get(part, {}) for part in _PARTS]
    for part in parts:
        if metric in part:
            return metric, part[metric]
    # One figure over all samples is what a mean asks for; it says nothing of the worst samples.
    whole = next((part[name] for part in parts if name in part), None)
    return (name, whole) if statistic == "mean" and whole is not None else (metric, None)


def _unknown(what: str, candidate: Candidate) -> str:
    if candidate.status in ("failed", "unmeasured", "not built") and candidate.why_rejected:
        return f"{what} ({candidate.status}: {candidate.why_rejected})"
    return what
