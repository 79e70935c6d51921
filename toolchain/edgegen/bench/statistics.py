"""Whether two sets of runs differ by more than is tolerated, and how small a difference these runs could have shown.

The unit of replication is the process: what inferences of one process have in common (where its memory lies, what it
was scheduled beside) differs from process to process, so thousands of inferences of two processes are two numbers, and
a test over the single inferences calls unchanged builds slower far more often than its level says.

Welch, "The generalization of Student's problem when several different population variances are involved", Biometrika
34 (1947), on logarithms: what load and clock do to a time multiplies it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

MINIMUM_RUNS = 5
"""Below this many processes on either side nothing is concluded."""

LEVEL = 0.01
"""Share of unchanged builds that one round may call slower."""

POWER = 0.95
"""Share of builds slower by the least detectable effect that a round calls slower."""

_TINY = 1e-300
_TERMS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """New over old: 1.02 is 2 % more. The interval holds the true ratio in all but ``2 * LEVEL`` of cases."""

    status: Literal["pass", "fail", "inconclusive"]
    ratio: float
    low_ratio: float
    high_ratio: float
    reason: str  # why it is inconclusive; empty otherwise


def compare_runs(
    old: Sequence[float], new: Sequence[float], *, tolerance: float, resolution: float, lower_is_better: bool = True
) -> Difference:
    """Whether ``new`` is worse than ``old`` by more than ``tolerance``.

    It fails where the whole interval lies beyond the tolerance, and passes where the whole interval lies within the
    resolution: a change for the worse of more than that would have been seen. Between the two nothing is concluded.

    Args:
        old, new: one positive figure a process.
        tolerance: a change for the worse that is accepted, as a ratio: 0.02 is 2 %.
        resolution: what a pass excludes, as a ratio; not below ``tolerance``.
        lower_is_better: False for tokens a second.
    """
    if not all(math.isfinite(value) and value > 0 for value in (*old, *new)):
        return Difference(
            status="inconclusive", ratio=1.0, low_ratio=0.0, high_ratio=math.inf, reason="a figure is not above zero"
        )
    few = min(len(old), len(new))
    if few < 2:
        ratio = statistics.fmean(new) / statistics.fmean(old) if few else 1.0
        return Difference(
            status="inconclusive", ratio=ratio, low_ratio=0.0, high_ratio=math.inf, reason=_too_few(old, new)
        )
    middle, half = _interval(old, new)
    ratio, low, high = (math.exp(value) for value in (middle, middle - half, middle + half))
    worst, best = (high, low) if lower_is_better else (1 / low, 1 / high)
    status: Literal["pass", "fail", "inconclusive"]
    if few < MINIMUM_RUNS:
        status, reason = "inconclusive", _too_few(old, new)
    elif best > 1 + tolerance:
        status, reason = "fail", ""
    elif worst <= 1 + max(tolerance, resolution):
        status, reason = "pass", ""
    else:
        status = "inconclusive"
        reason = (
            f"the interval, {low - 1:+.1%} to {high - 1:+.1%}, neither lies beyond the tolerance of {tolerance:.1%} "
            f"nor excludes a change of {max(tolerance, resolution):.0%}: more runs or a quieter machine would tell"
        )
    return Difference(status=status, ratio=ratio, low_ratio=low, high_ratio=high, reason=reason)


def least_detectable(spread: float, runs: int, *, tolerance: float) -> float:
    """The slow-down that a round finds in ``POWER`` of cases, as a ratio: 0.03 is 3 %.

    log(1 + effect) = log(1 + tolerance) + (t(1 - LEVEL) + t(POWER)) x spread x sqrt(2 / runs), with Student's quantiles
    at 2 x runs - 2 degrees of freedom (the usual approximation of the noncentral one).

    Args:
        spread: standard deviation of the logarithms of the processes' figures.
        runs: of each side, at least 2.
    """
    freedom = 2.0 * runs - 2.0
    quantiles = student_quantile(1 - LEVEL, freedom) + student_quantile(POWER, freedom)
    return math.expm1(math.log1p(tolerance) + quantiles * spread * math.sqrt(2.0 / runs))


def spread_of(*groups: Sequence[float]) -> float:
    """Pooled standard deviation of the logarithms within groups of at least two positive figures."""
    squares = sum((len(group) - 1) * statistics.variance([math.log(value) for value in group]) for group in groups)
    return math.sqrt(squares / sum(len(group) - 1 for group in groups))


def student_quantile(share: float, freedom: float) -> float:
    """The value that Student's t with so many degrees of freedom stays below with probability ``share``."""
    if share < 0.5:
        return -student_quantile(1 - share, freedom)
    low, high = 0.0, 1.0
    while student_cdf(high, freedom) < share:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if student_cdf(middle, freedom) < share else (low, middle)
    return (low + high) / 2


def student_cdf(value: float, freedom: float) -> float:
    """Probability that Student's t with ``freedom`` > 0 degrees of freedom is at most ``value``.

    Abramowitz and Stegun, 26.7.1 with 26.5.27: half the regularized incomplete beta function at f / (f + t^2).
    """
    tail = 0.5 * _incomplete_beta(freedom / (freedom + value * value), freedom / 2, 0.5)
    return 1 - tail if value > 0 else tail


def _interval(old: Sequence[float], new: Sequence[float]) -> tuple[float, float]:
    """Middle and half width of the interval of the logarithm of new over old, by Welch and Satterthwaite."""
    sides = [[math.log(value) for value in side] for side in (old, new)]
    shares = [statistics.variance(side) / len(side) for side in sides]
    middle = statistics.fmean(sides[1]) - statistics.fmean(sides[0])
    total = sum(shares)
    if total < _TINY:
        return middle, 0.0
    freedom = total**2 / sum(share**2 / (len(side) - 1) for share, side in zip(shares, sides, strict=True))
    return middle, student_quantile(1 - LEVEL, freedom) * math.sqrt(total)


def _too_few(old: Sequence[float], new: Sequence[float]) -> str:
    return f"{len(old)} runs against {len(new)} are too few; {MINIMUM_RUNS} each are the least"


def _incomplete_beta(x: float, a: float, b: float) -> float:
    """Regularized incomplete beta function by its continued fraction (Abramowitz and Stegun, 26.5.8)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction by Lentz's method (Thompson and Barnett, J. Comput. Phys. 64, 1986)."""
    c, d = 1.0, 1 / _off_zero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _off_zero(1 + term * d)
            c = _off_zero(1 + term / c)
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value


def _off_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
