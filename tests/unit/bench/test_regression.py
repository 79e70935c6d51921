"""Figures against a baseline's: exact ones by their tolerance, measured ones by their processes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from example_runs import CLOCKED, clocked, run, times, with_figure

from edgegen.bench.gate_said import finding, limit_of
from edgegen.bench.regression import Check, Rules, is_suspicious, regressions, settled, unit_of_metric

RULES = Rules(tolerances={})


def one(checks: tuple[Check, ...], metric: str) -> Check:
    return next(check for check in checks if check.metric == metric)


@pytest.mark.parametrize(
    ("value", "status"), [(750_045, "pass"), (757_545, "pass"), (757_546, "fail"), (765_046, "fail"), (600_000, "pass")]
)
def test_counts_are_held_to_one_percent(value: int, status: str) -> None:
    check = one(regressions(with_figure("instructions", value), run(), RULES), "instructions")
    assert check.status == status
    assert check.change_ratio == pytest.approx(value / 750_045 - 1)
    assert (check.limit, check.baseline) == (pytest.approx(757_545.45), 750_045)


def test_two_percent_more_counts_are_found_whatever_the_size() -> None:
    for size in (1_000, 31_337, 750_045, 10**9):
        old = with_figure("instructions", size)
        assert one(regressions(with_figure("instructions", size * 1.02), old, RULES), "instructions").status == "fail"


def test_a_tolerance_of_ones_own_goes_before_that_of_its_kind() -> None:
    rules = Rules(tolerances={"counted": 0.0, "instructions": 0.05})
    checks = regressions(with_figure("instructions", 780_000, with_figure("peak_ram_bytes", 41_000_001)), run(), rules)
    assert (one(checks, "instructions").status, one(checks, "peak_ram_bytes").status) == ("pass", "fail")


def test_counts_of_another_core_are_inconclusive() -> None:
    check = one(regressions(run(core="cortex-a72"), run(), RULES), "instructions")
    assert check.status == "inconclusive"
    assert "cortex-a72" in check.reason


def test_quality_is_judged_where_it_is_named_and_better_where_it_is_higher() -> None:
    worse = with_figure("paired.psnr_db_mean", 55.0)
    assert "paired.psnr_db_mean" not in {check.metric for check in regressions(worse, run(), RULES)}
    named = Rules(tolerances={}, metrics=("paired.psnr_db_mean",))
    check = one(regressions(worse, run(), named), "paired.psnr_db_mean")
    assert (check.status, check.direction, check.unit) == ("fail", "min", "dB")


def test_the_change_of_a_figure_below_zero_is_told_by_the_way_it_went() -> None:
    named = Rules(tolerances={}, metrics=("paired.psnr_db_mean",))
    old, worse = (with_figure("paired.psnr_db_mean", value) for value in (-100.0, -110.0))
    check = one(regressions(worse, old, named), "paired.psnr_db_mean")
    assert (check.status, check.change_ratio) == ("fail", pytest.approx(-0.1))


def test_a_change_with_an_interval_lies_within_it_and_is_held_to_a_change() -> None:
    few = [4.0, 4.0, 4.0, 4.0, 9.0, 9.0, 9.0]
    check = one(regressions(clocked([*few[:3], *few[4:], 9.0]), clocked(few), RULES), "latency_p50_ms")
    assert check.value / check.baseline == 9 / 4
    assert check.low_ratio < check.change_ratio < check.high_ratio < 9 / 4
    assert limit_of(check) == "≤ +2.0 %"
    assert "+12.3 % (-39.7 to +109.0 %) against 4 ms" in finding(check)
    assert ">" not in finding(check)


def test_a_figure_that_got_lost_is_unverified() -> None:
    lost = replace(run(), figures=run().figures[:1])
    assert one(regressions(lost, run(), RULES), "instructions").status == "unverified"


def test_clocks_pass_fail_and_tell_their_interval() -> None:
    base = clocked(times(1))
    same, slow = (
        one(regressions(clocked(item), base, RULES), "latency_p50_ms") for item in (times(2), times(3, 7, 0.2))
    )
    assert (same.status, slow.status) == ("pass", "fail")
    assert slow.low_ratio > 0.02
    assert slow.low_ratio < slow.change_ratio < slow.high_ratio


@pytest.mark.parametrize(
    ("new", "old", "said"),
    [
        (clocked(times(4, 4)), clocked(times(5)), "too few"),
        (clocked(times(4), machine={**CLOCKED, "cores": "8"}), clocked(times(5)), "cores: 4, here 8"),
        (clocked(times(4), unsteady="it was throttled"), clocked(times(5)), "throttled"),
        (clocked(times(4)), clocked(times(5), unsteady="hot"), "hot"),
        (clocked(times(4, 7, 0.0, 0.3)), clocked(times(5, 7, 0.0, 0.3)), "interval"),
        (clocked([4.0]), clocked(times(5)), "too few"),
    ],
)
def test_clocks_that_tell_nothing_are_inconclusive(new, old, said: str) -> None:
    check = one(regressions(new, old, RULES), "latency_p50_ms")
    assert check.status == "inconclusive"
    assert said in check.reason


def _check(status: str, kind: str = "measured") -> Check:
    return replace(
        one(regressions(clocked(times(1)), clocked(times(2)), RULES), "latency_p50_ms"), status=status, kind=kind
    )


@pytest.mark.parametrize(
    ("first", "second", "pooled", "status"),
    [
        ("pass", "fail", "fail", "pass"),
        ("fail", "fail", "fail", "fail"),
        ("fail", "pass", "pass", "pass"),
        ("fail", "pass", "fail", "inconclusive"),
        ("fail", "inconclusive", "inconclusive", "inconclusive"),
        ("inconclusive", "pass", "pass", "pass"),
        ("inconclusive", "fail", "fail", "fail"),
    ],
)
def test_a_suspicion_needs_a_second_round(first: str, second: str, pooled: str, status: str) -> None:
    found = settled(_check(first), _check(second), _check(pooled))
    assert found.status == status


def test_counts_need_no_second_round() -> None:
    assert settled(_check("fail", "counted"), _check("pass", "counted"), _check("pass", "counted")).status == "fail"
    assert not is_suspicious([_check("fail", "counted")])
    assert is_suspicious([_check("inconclusive")])


@pytest.mark.parametrize(
    ("metric", "unit"),
    [
        ("instructions", "instructions"),
        ("tg_instructions_per_token", "instructions"),
        ("latency_p50_ms", "ms"),
        ("paired.psnr_db_worst5", "dB"),
        ("size_bytes", "bytes"),
        ("pp_tokens_per_s", "tokens/s"),
        ("task.top1_agreement_ratio_mean", ""),
    ],
)
def test_the_unit_is_what_the_name_says(metric: str, unit: str) -> None:
    assert unit_of_metric(metric) == unit
