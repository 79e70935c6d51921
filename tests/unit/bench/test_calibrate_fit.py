"""Fitting a cost model to times: known truth is found, and the band is what leaving one out gives."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from edgegen.bench.calibrate import Timed, fit_cycles
from edgegen.bench.predict import predict
from edgegen.core.errors import UsageError
from edgegen.core.targets import WORK_CLASSES, CostModel, load_target

TRUTH = {"a": 0.5, "b": 3.0, "c": 40.0}
PRIOR = {"a": 1.0, "b": 1.0, "c": 20.0}
HZ = 1e9
WORK = ((4e6, 1e5, 10), (2e5, 3e6, 40), (1e6, 1e6, 5), (1e4, 2e4, 90), (3e6, 2e6, 60), (5e5, 1e4, 400))


def timed(noise: float = 0.0) -> list[Timed]:
    made = []
    for place, counts in enumerate(WORK):
        named = dict(zip(TRUTH, counts, strict=True))
        exact = 1000 * sum(TRUTH[name] * count for name, count in named.items()) / HZ
        made.append(Timed(name=f"m{place}", counts=named, measured_ms=exact * (1 + noise * (-1) ** place)))
    return made


def test_fit_finds_the_cycles_that_made_the_times() -> None:
    fit = fit_cycles(timed(), PRIOR, HZ)
    for name in ("a", "b"):
        assert fit.cycles[name] == pytest.approx(TRUTH[name], rel=0.08)
    assert 0.7 < fit.low_ratio <= 1.0 <= fit.high_ratio < 1.4
    assert set(fit.ratios) == {f"m{place}" for place in range(len(WORK))}


def test_fit_has_a_band_that_noise_widens() -> None:
    quiet, noisy = fit_cycles(timed(), PRIOR, HZ), fit_cycles(timed(0.3), PRIOR, HZ)
    assert noisy.high_ratio / noisy.low_ratio > 1.3 * quiet.high_ratio / quiet.low_ratio


def test_fit_leaves_a_class_that_no_model_uses_at_its_prior() -> None:
    fit = fit_cycles(timed(), {**PRIOR, "unused": 7.0}, HZ)
    assert fit.cycles["unused"] == pytest.approx(7.0)
    assert all(price >= 0 for price in fit.cycles.values())


@pytest.mark.parametrize("broken", [timed()[:3], [*timed()[:5], replace(timed()[5], measured_ms=0.0)]])
def test_fit_refuses_too_little(broken: list[Timed]) -> None:
    with pytest.raises(UsageError, match="too little"):
        fit_cycles(broken, PRIOR, HZ)


@pytest.mark.parametrize("time", [math.nan, -1.0])
def test_fit_refuses_what_is_no_time(time: float) -> None:
    with pytest.raises(UsageError, match="too little"):
        fit_cycles([*timed()[:5], replace(timed()[5], measured_ms=time)], PRIOR, HZ)


def test_prediction_of_priced_work() -> None:
    model = CostModel(
        origin="fitted",
        frequency_hz=1e9,
        low_ratio=0.5,
        high_ratio=2.0,
        basis="work",
        cycles=dict.fromkeys(WORK_CLASSES, 2.0),
    )
    profile = replace(load_target("linux-x86_64"), cost_model=model)
    assert predict(None, profile) is None
    made = predict(None, profile, work=dict.fromkeys(WORK_CLASSES, 1e6))
    assert made is not None
    assert made.latency_ms == pytest.approx(10.0)
    assert (made.low_ms, made.high_ms) == (pytest.approx(5.0), pytest.approx(20.0))
