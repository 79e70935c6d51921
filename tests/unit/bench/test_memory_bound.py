"""Where the weights do not fit the cache, memory bounds the prediction from below."""

from __future__ import annotations

import runpy
import statistics
from pathlib import Path
from typing import Any

import pytest

from edgegen.bench.predict import predict
from edgegen.core.results import CountedCost
from edgegen.core.targets import INSTRUCTION_CLASSES, load_target

PI5 = load_target("raspberrypi5")


def counted(each: int) -> Any:
    return CountedCost(
        instructions=8 * each,
        instructions_median=8 * each,
        by_class=dict.fromkeys(INSTRUCTION_CLASSES, each),
        bytes_loaded=0,
        bytes_stored=0,
        macs=None,
        per_operator=None,
        unexplained_ratio=None,
    )


def test_prediction_of_weights_beyond_the_cache_is_their_time_from_memory() -> None:
    made = predict(counted(1000), PI5, weight_bytes=1_000_000_000)
    assert made is not None
    assert made.latency_ms == pytest.approx(1000 / 9.8)  # at 9.8 GB/s
    assert "weights from memory" in made.model
    assert "published" in made.model


@pytest.mark.parametrize("board", ["raspberrypi4", "raspberrypi5"])
def test_memory_rate_of_the_profile_is_the_published_figures(board: str) -> None:
    place = Path(__file__).parents[2] / "benchmarks" / "bench_cost_model.py"
    published = runpy.run_path(str(place))["DECODED"][board]
    rate = statistics.geometric_mean([tokens * size for _, tokens, size, _ in published])
    model = load_target(board).cost_model
    assert model is not None
    assert model.stream_bytes_per_s == pytest.approx(rate, rel=0.005)
    assert f"of {len(published)} published" in model.stream_origin


def test_prediction_of_weights_in_the_cache_is_that_of_the_instructions() -> None:
    assert PI5.core is not None
    small = predict(counted(10_000_000), PI5, weight_bytes=PI5.core.last_cache_bytes)
    assert small == predict(counted(10_000_000), PI5)
    assert small is not None
    assert "counted instructions" in small.model


def test_prediction_bound_by_instructions_stays_theirs() -> None:
    busy = predict(counted(10**9), PI5, weight_bytes=10_000_000)
    assert busy == predict(counted(10**9), PI5)


def test_prediction_of_an_unfitted_model_says_so() -> None:
    made = predict(counted(1), PI5, weight_bytes=10**9)
    assert made is not None
    assert made.origin == "uncalibrated"
