"""Runs as results tell them: the chosen candidate's own figures, and what they depend on."""

from __future__ import annotations

import json

import pytest
from example_build import document
from example_runs import clocked, run, times

from edgegen.bench.runs import better_of, line_of, machine_of, run_of_line, run_of_result
from edgegen.core.errors import ExitCode, UsageError


def result(**changes: object) -> dict:
    return json.loads(json.dumps(document(**changes)))


def chosen_of(found: dict) -> dict:
    return next(item for item in found["candidates"] if item["name"] == found["chosen"]["candidate"])


def test_a_run_holds_the_chosen_candidates_figures() -> None:
    found = result()
    made, candidate = run_of_result(found, when="now"), chosen_of(found)
    assert made.candidate == candidate["name"]
    assert made.figure("instructions").value == candidate["counted"]["instructions"]
    assert made.figure("size_bytes").value == candidate["size_bytes"]
    assert made.figure("peak_ram_bytes").kind == "counted"
    assert made.figure("paired.psnr_db_mean").better == "higher"
    assert made.tools == found["environment"]["tools"]
    assert [item["name"] for item in made.per_operator or ()] == [
        item["name"] for item in candidate["counted"]["per_operator"] or ()
    ]


def test_a_run_of_a_model_of_texts_holds_what_a_token_costs_and_both_files() -> None:
    costs = {"instructions_per_token": 700, "bytes_per_token": 10, "tokens_per_s": 90.5, "peak_ram_bytes": None}
    found = result(generation={"decode": costs, "prefill": {**costs, "size_bytes": 1234}})
    made = run_of_result(found, when="now")
    assert made.figure("size_bytes").value == chosen_of(found)["size_bytes"] + 1234
    assert (made.figure("tg_instructions_per_token").value, made.figure("pp_tokens_per_s").better) == (700, "higher")


def test_a_run_of_a_board_that_drifted_says_so() -> None:
    found = result()
    clock = {"p50_ms": 2.0, "p90_ms": 3.0, "p99_ms": 4.0, "runs": 2, "device": "a board",
             "processes_p50_ms": [1.9, 2.1], "board": {"drift": ["it was throttled", "it got hot"]}}  # fmt: skip
    chosen_of(found)["measured"] = clock
    made = run_of_result(found, when="now")
    assert made.unsteady == "it was throttled; it got hot"
    assert made.figure("latency_p50_ms").processes == (1.9, 2.1)


def test_a_result_without_measurements_gives_no_run() -> None:
    with pytest.raises(UsageError, match="no measured candidate"):
        run_of_result(result(choice=None, exit_code=ExitCode.BUILD), when="now")


def test_a_line_reads_back_the_same() -> None:
    for made in (run(), clocked(times(1))):
        assert run_of_line(json.loads(line_of(made)), "x") == made


def test_the_machine_is_the_core_where_it_is_emulated_and_itself_where_not() -> None:
    emulated = machine_of(kind="qemu", core="cortex-a76", emulated=True, tools={"qemu": "7.2"})
    assert emulated == {"core": "cortex-a76", "emulated": "yes"}
    host = machine_of(kind="host", core="a machine", emulated=False, tools={})
    assert {"cores", "memory_gib", "kernel", "machine"} <= host.keys()
    one, other = (machine_of(kind="ssh", core="x", emulated=False, tools={"board": name}) for name in ("a", "b"))
    assert one != other


@pytest.mark.parametrize(
    ("metric", "better"),
    [("psnr_db_mean", "higher"), ("psnr_db_worst5", "higher"), ("mse_mean", "lower"), ("rmse", "lower"),
     ("top1_agreement_ratio_mean", "higher"), ("nobody_knows", "lower")],
)  # fmt: skip
def test_which_side_is_the_good_one(metric: str, better: str) -> None:
    assert better_of(metric) == better
