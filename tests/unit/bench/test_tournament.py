"""Which format of a recipe wins on a target, and what is said of it."""

from __future__ import annotations

from typing import Any

from edgegen.bench.tournament import round_winner, tournament, tournament_rows
from edgegen.core.results import Candidate, CountedCost, MeasuredLatency


def _candidate(name: str, *, instructions: int | None = None, p50_ms: float | None = None, **more: Any) -> Candidate:
    recipe, form = name.split("@")
    counted = instructions and CountedCost(
        instructions=instructions,
        instructions_median=instructions,
        by_class={},
        bytes_loaded=0,
        bytes_stored=0,
        macs=None,
        per_operator=None,
        unexplained_ratio=None,
    )
    clock = p50_ms and MeasuredLatency(p50_ms=p50_ms, p90_ms=p50_ms, p99_ms=p50_ms, runs=7, device="d")
    known: dict[str, Any] = {"status": "eligible", "why_rejected": "", "size_bytes": 10, **more}
    runtime = "litert" if form == "litert" else "onnxruntime"
    return Candidate(
        name=name, recipe=recipe, format=form, runtime=runtime, counted=counted or None, measured=clock or None, **known
    )


def test_round_is_won_by_the_fewest_instructions_that_keep_quality() -> None:
    (only,) = tournament(
        [
            _candidate("float32@onnx", instructions=1000),
            _candidate("float32@litert", instructions=400, status="rejected", why_rejected="psnr"),
            _candidate("float32@ort", instructions=900),
            _candidate("weight-int8@onnx", instructions=10),
        ]
    )
    assert only["winner"] == "float32@ort"
    assert only["why"] == "10 % fewer instructions than float32@onnx"
    assert round_winner(only) == "ort on onnxruntime"
    assert [entry["candidate"] for entry in only["entries"]] == ["float32@onnx", "float32@litert", "float32@ort"]


def test_round_is_won_by_the_clock_where_nothing_is_counted() -> None:
    (only,) = tournament([_candidate("float32@onnx", p50_ms=4.0), _candidate("float32@litert", p50_ms=3.0)])
    assert only["winner"] == "float32@litert"
    assert only["why"] == "25 % less time than float32@onnx"


def test_round_without_a_winner_says_so() -> None:
    lost = {"status": "rejected", "why_rejected": "too slow"}
    (only,) = tournament([_candidate("a@onnx", instructions=1, **lost), _candidate("a@litert", instructions=2, **lost)])
    assert only["winner"] is None
    assert round_winner(only) == "none"
    assert [row["won"] for row in tournament_rows({"tournament": [only]})[0]["entries"]] == [False, False]


def test_what_could_not_be_judged_is_not_said_to_lose() -> None:
    (none,) = tournament([_candidate("a@onnx", status="unmeasured"), _candidate("a@litert", status="unmeasured")])
    assert (none["winner"], none["why"]) == (None, "no format of it is known to keep every required budget")
    (one,) = tournament([_candidate("a@onnx", instructions=5), _candidate("a@litert", status="unmeasured")])
    assert one["why"] == "the only format of it that is known to keep every required budget"


def test_candidate_that_costs_more_than_its_float_model_loses_to_one_that_does_not() -> None:
    alarmed = _candidate("q@onnx", instructions=5, alarms=("costs more",))
    (only,) = tournament([alarmed, _candidate("q@litert", instructions=6)])
    assert only["winner"] == "q@litert"


def test_recipe_of_one_format_is_no_round() -> None:
    absent = _candidate("a@litert", status="not built", why_rejected="no extra", size_bytes=None)
    assert tournament([_candidate("a@onnx", instructions=1), absent]) == []
