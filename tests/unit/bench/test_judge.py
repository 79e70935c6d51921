import pytest
from example_build import PROFILE, budgets, candidate, cost
from hypothesis import given
from hypothesis import strategies as st

from edgegen.bench.judge import exit_code, judge
from edgegen.bench.predict import predict
from edgegen.core.errors import ExitCode
from edgegen.core.results import MeasuredLatency, Prediction
from edgegen.core.targets import load_target

CLOCK = MeasuredLatency(p50_ms=10.0, p90_ms=14.0, p99_ms=30.0, runs=9, device="board")


def one(table: dict, **changes):
    (verdict,) = judge(budgets(table), candidate(**changes), PROFILE)
    return verdict


def prediction(low: float, middle: float, high: float, origin: str = "23 readings of a board") -> Prediction:
    return Prediction(latency_ms=middle, low_ms=low, high_ms=high, model="m", origin=origin)


@pytest.mark.parametrize(
    ("table", "changes", "status", "value", "kind"),
    [
        ({"instructions": {"max": 3_000_000}}, {}, "pass", 2_410_000, "counted"),
        ({"instructions": {"max": 2_410_000}}, {}, "pass", 2_410_000, "counted"),
        ({"instructions": {"max": 2_409_999}}, {}, "fail", 2_410_000, "counted"),
        ({"instructions": {"max": 1}}, {"instructions": None}, "unverified", None, "counted"),
        ({"size": {"max_bytes": 239_000}}, {}, "pass", 239_000, "exact"),
        ({"size": {"max_bytes": 1}}, {"size": None}, "unverified", None, "exact"),
        ({"peak_ram": {"max_bytes": 1}}, {}, "fail", 31_000_000, "counted"),
        ({"peak_ram": {"max_bytes": 1}}, {"instructions": None}, "fail", 31_000_000, "measured"),
        ({"peak_ram": {"max_bytes": 1}}, {"peak_ram": None}, "unverified", None, "counted"),
        ({"flash": {"max_bytes": 10**9}}, {}, "unverified", None, "exact"),
        ({"psnr_db": {"min": 31}}, {}, "pass", 38.6, "quality"),
        ({"psnr_db": {"min": 31.5, "statistic": "worst5"}}, {}, "fail", 31.2, "quality"),
        ({"kl_divergence": {"max": 0.01}}, {}, "pass", 0.0061, "quality"),
        ({"fid": {"max": 5}}, {}, "unverified", None, "quality"),
        ({"fid": {"max": 5}}, {"quality": {"task": {"fid": 4.0}}}, "pass", 4.0, "quality"),
        (
            {"fid": {"max": 5, "statistic": "worst5"}},
            {"quality": {"task": {"fid": 4.0}}},
            "unverified",
            None,
            "quality",
        ),
        ({"psnr_db": {"min": 1}}, {"quality": {"cross_isa": {"psnr_db_mean": 99.0}}}, "unverified", None, "quality"),
        (
            {"psnr_db": {"min": 1}},
            {"quality": {"paired": {"psnr_db_mean": float("nan")}}},
            "unverified",
            None,
            "quality",
        ),
        ({"psnr_db": {"min": 1}}, {"psnr": None}, "unverified", None, "quality"),
    ],
)
def test_a_value_passes_or_fails_by_its_limit_and_is_unverified_when_missing(table, changes, status, value, kind):
    verdict = one(table, **changes)
    assert (verdict.status, verdict.value, verdict.kind) == (status, value, kind)
    assert bool(verdict.reason) == (status == "unverified")


@pytest.mark.parametrize(
    ("budget", "changes", "status"),
    [
        ({"max_ms": 14}, {"measured": CLOCK}, "pass"),
        ({"max_ms": 13.9}, {"measured": CLOCK}, "fail"),
        ({"max_ms": 13.9, "percentile": "p50"}, {"measured": CLOCK}, "pass"),
        ({"max_ms": 29, "percentile": "p99"}, {"measured": CLOCK}, "fail"),
        ({"max_ms": 1000}, {}, "unverified"),
        ({"max_ms": 1000}, {"predicted": prediction(0.1, 0.2, 0.3)}, "unverified"),
        ({"max_ms": 1000, "kind": "predicted"}, {"measured": CLOCK, "predicted": None}, "unverified"),
        ({"max_ms": 25, "kind": "predicted"}, {"predicted": prediction(26, 40, 60)}, "fail"),
        ({"max_ms": 25, "kind": "predicted"}, {"predicted": prediction(26, 40, 60, "uncalibrated")}, "fail"),
        ({"max_ms": 25, "kind": "predicted"}, {"predicted": prediction(1, 2, 3, "uncalibrated")}, "unverified"),
        ({"max_ms": 25, "kind": "predicted"}, {"predicted": prediction(5, 10, 25)}, "pass"),
        ({"max_ms": 25, "kind": "predicted"}, {"predicted": prediction(5, 10, 26)}, "inconclusive"),
    ],
)
def test_latency_is_judged_by_the_kind_that_the_budget_accepts(budget, changes, status):
    verdict = one({"latency": budget}, **changes)
    assert verdict.status == status
    assert verdict.kind == budget.get("kind", "measured")


def test_a_measured_latency_is_inconclusive_when_the_runs_are_few():
    few = MeasuredLatency(p50_ms=1, p90_ms=1, p99_ms=1, runs=4, device="board")
    assert one({"latency": {"max_ms": 9}}, measured=few).status == "inconclusive"


def test_a_missing_value_repeats_why_the_candidate_has_none():
    verdict = one({"instructions": {"max": 9}}, instructions=None, status="unmeasured", why_rejected="no emulator")
    assert "no emulator" in verdict.reason


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        ([], ExitCode.OK),
        ([("pass", True), ("fail", False), ("unverified", False)], ExitCode.OK),
        ([("pass", True), ("unverified", True)], ExitCode.NOT_JUDGED),
        ([("inconclusive", True)], ExitCode.NOT_JUDGED),
        ([("unverified", True), ("fail", True)], ExitCode.BUDGET_FAILED),
    ],
)
def test_the_exit_code_is_that_of_the_required_verdicts(statuses, code):
    from dataclasses import replace

    plain = one({"size": {"max_bytes": 1}})
    assert exit_code(replace(plain, status=status, required=required) for status, required in statuses) == code


def test_a_prediction_prices_each_class_by_the_profile():
    counted = cost(1_800_000)
    predicted = predict(counted, PROFILE)
    model = PROFILE.cost_model
    assert predicted is not None
    assert model is not None
    cycles = sum(count * model.cycles[name] for name, count in counted.by_class.items())
    assert predicted.latency_ms == pytest.approx(1000 * cycles / 1.8e9)
    assert predicted.low_ms < predicted.latency_ms < predicted.high_ms
    assert predicted.origin == "uncalibrated"


def test_nothing_is_predicted_when_the_profile_has_no_cost_model():
    assert predict(cost(1000), load_target("linux-x86_64")) is None


STRICTNESS = {"pass": 0, "inconclusive": 1, "unverified": 1, "fail": 2}


@given(value=st.floats(-200, 200), limits=st.tuples(st.floats(-200, 200), st.floats(-200, 200)), least=st.booleans())
def test_tightening_a_quality_budget_never_turns_fail_into_pass(value, limits, least):
    loose, tight = sorted(limits, reverse=not least)
    key = "min" if least else "max"
    quality = {"paired": {"psnr_db_mean": value}}
    before, after = (one({"psnr_db": {key: limit}}, quality=quality).status for limit in (loose, tight))
    assert STRICTNESS[after] >= STRICTNESS[before]


@given(
    band=st.lists(st.floats(0.001, 100), min_size=3, max_size=3).map(sorted),
    limits=st.lists(st.floats(0.01, 120), min_size=2, max_size=2).map(sorted),
    origin=st.sampled_from(["uncalibrated", "23 readings"]),
)
def test_tightening_a_latency_budget_never_turns_fail_into_pass(band, limits, origin):
    tight, loose = (
        one({"latency": {"max_ms": limit, "kind": "predicted"}}, predicted=prediction(*band, origin)).status
        for limit in limits
    )
    assert STRICTNESS[tight] >= STRICTNESS[loose]
    assert origin != "uncalibrated" or "pass" not in (tight, loose)
