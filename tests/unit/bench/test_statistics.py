"""The statistics of gates: exact functions against a library's, and what the gate says of simulated machines."""

from __future__ import annotations

import math

import numpy as np
import pytest

from edgegen.bench.statistics import (
    LEVEL,
    Difference,
    compare_runs,
    least_detectable,
    spread_of,
    student_cdf,
    student_quantile,
)

SPREAD = 0.012


def machine(seed: int, runs: int, slower: float = 0.0, spread: float = SPREAD) -> list[float]:
    """Medians of processes on a machine of that spread."""
    return list(10 * (1 + slower) * np.exp(np.random.default_rng(seed).normal(0, spread, runs)))


def judged(old: list[float], new: list[float], **changes: float | bool) -> Difference:
    return compare_runs(old, new, **{"tolerance": 0.02, "resolution": 0.1, **changes})


@pytest.mark.parametrize("freedom", [1.0, 2.5, 7.0, 12.0, 60.0, 400.0])
@pytest.mark.parametrize("value", [-9.0, -1.3, 0.0, 0.4, 2.6, 30.0])
def test_student_agrees_with_scipy(freedom: float, value: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert student_cdf(value, freedom) == pytest.approx(stats.t.cdf(value, freedom), rel=1e-9, abs=1e-14)


@pytest.mark.parametrize(("share", "freedom"), [(0.99, 12.0), (0.95, 12.0), (0.01, 3.3), (0.5, 5.0), (0.999, 1.0)])
def test_student_quantile_agrees_with_scipy(share: float, freedom: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    assert student_quantile(share, freedom) == pytest.approx(stats.t.ppf(share, freedom), rel=1e-8, abs=1e-9)


def test_interval_is_welchs_own() -> None:
    stats = pytest.importorskip("scipy.stats")
    old, new = machine(1, 7), machine(2, 9, 0.03)
    found = judged(old, new)
    there = stats.ttest_ind(np.log(new), np.log(old), equal_var=False).confidence_interval(1 - 2 * LEVEL)
    assert (math.log(found.low_ratio), math.log(found.high_ratio)) == pytest.approx((there.low, there.high), rel=1e-6)


def test_unchanged_builds_pass() -> None:
    found = [judged(machine(seed, 7), machine(seed + 10_000, 7)).status for seed in range(400)]
    assert found.count("fail") <= 400 * LEVEL
    assert found.count("pass") >= 390


def test_twice_the_least_detectable_effect_is_found() -> None:
    effect = 2 * least_detectable(SPREAD, 7, tolerance=0.02)
    found = [judged(machine(seed, 7), machine(seed + 10_000, 7, effect)).status for seed in range(300)]
    assert found.count("fail") >= 0.99 * 300


def test_the_least_detectable_effect_is_found_as_often_as_it_says() -> None:
    effect = least_detectable(SPREAD, 7, tolerance=0.02)
    found = [judged(machine(seed, 7), machine(seed + 10_000, 7, effect)).status for seed in range(500)]
    assert 0.91 <= found.count("fail") / 500 <= 0.985


def test_noise_that_hides_a_tenth_is_inconclusive() -> None:
    found = judged(machine(3, 7, spread=0.2), machine(4, 7, spread=0.2))
    assert found.status == "inconclusive"
    assert "quieter machine" in found.reason


@pytest.mark.parametrize("runs", [0, 1, 2, 4])
def test_few_runs_are_inconclusive_however_far_apart(runs: int) -> None:
    found = judged(machine(5, runs), machine(6, runs, slower=3.0))
    assert found.status == "inconclusive"
    assert "too few" in found.reason


def test_a_rate_is_worse_where_it_is_lower() -> None:
    quick, slow = machine(7, 7), machine(8, 7, -0.2)
    assert judged(quick, slow, lower_is_better=False).status == "fail"
    assert judged(slow, quick, lower_is_better=False).status == "pass"


def test_equal_figures_have_an_interval_without_width() -> None:
    found = judged([2.0] * 7, [2.0] * 7)
    assert (found.status, found.low_ratio, found.high_ratio) == ("pass", 1.0, 1.0)


@pytest.mark.parametrize("broken", [0.0, -1.0, math.nan, math.inf])
def test_figures_that_are_no_times_are_inconclusive(broken: float) -> None:
    assert judged([1.0] * 7, [1.0] * 6 + [broken]).status == "inconclusive"


def test_spread_is_that_of_the_machine() -> None:
    assert spread_of(machine(11, 400), machine(12, 400, 0.5)) == pytest.approx(SPREAD, rel=0.1)
