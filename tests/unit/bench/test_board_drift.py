"""A wall clock on a board that did not stay as it was: no verdict, and no reading for later builds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from example_build import PROFILE, budgets, candidate

from edgegen.bench.cost import measured_latency, read_reading
from edgegen.bench.judge import judge
from edgegen.core.ports import Silent
from edgegen.core.records import write_record
from edgegen.core.stages import Stage, Stages
from edgegen.core.store import Store
from edgegen.devices.board_state import BoardState, watch
from edgegen.devices.device import Clocked, Identity, Reading
from edgegen.devices.energy import Energy

STATE = BoardState(
    governors=("performance",),
    frequencies_khz=(1_800_000,),
    limits_khz=(1_800_000,),
    temperature_c=50.0,
    throttled=0,
    load_1m=0.1,
    memory_bytes=1 << 30,
    memory_available_bytes=1 << 29,
    kernel="6.6",
    boot="a",
)
IDENTITY = Identity(
    kind="ssh", core="Pi", isa="aarch64", emulated=False, gives=frozenset({"measured"}), tools={}, notes=()
)


def reading(hottest_c: float) -> Reading:
    clocked = Clocked(first_ms=9.0, processes_ms=((5.0, 6.0),) * 7, cold_start_ms=80.0, stream_per_s=180.0)
    return Reading(
        counted=None,
        clocked=clocked,
        peak_ram_bytes=1000,
        board=watch("kitchen", [STATE, replace(STATE, temperature_c=hottest_c)], [0.0]),
        energy=Energy(joules=0.25, pairs_j=(0.25,), low_j=0.24, high_j=0.26, inferences=100, meter="bench"),
    )


@pytest.mark.parametrize(("max_ms", "hottest_c", "status"), [(9, 55, "pass"), (1, 55, "fail"), (9, 85, "inconclusive")])
def test_latency_of_a_board_that_drifted_is_inconclusive(max_ms: float, hottest_c: float, status: str) -> None:
    measured = measured_latency(read_reading(write_record(reading(hottest_c))), IDENTITY)
    (verdict,) = judge(budgets({"latency": {"max_ms": max_ms}}), candidate(measured=measured), PROFILE)
    assert verdict.status == status
    assert verdict.value == 6.0
    assert ("85 °C hot" in verdict.reason) is (hottest_c == 85)


def test_latency_keeps_what_the_board_and_the_meter_said() -> None:
    measured = measured_latency(reading(55), IDENTITY)
    assert measured is not None
    assert (measured.first_ms, measured.cold_start_ms, measured.stream_per_s) == (9.0, 80.0, 180.0)
    assert (measured.joules, measured.joules_interval) == (0.25, (0.24, 0.26))
    assert measured.board is not None
    assert measured.board["before"]["governors"] == ["performance"]


def test_stage_whose_record_does_not_last_runs_again(tmp_path: Path) -> None:
    stage, calls = Stage(name="measure", version=1), []

    def work(folder: Path) -> dict[str, int]:
        calls.append(folder)
        (folder / "outputs").write_bytes(b"x")
        return {"number": len(calls)}

    def build(lasting: bool) -> int:
        stages = Stages(Store(tmp_path / "store"), Silent())
        first, second = (stages.run(stage, work, lasting=lambda record: lasting) for _ in range(2))
        assert first == second
        assert first.files["outputs"].path.read_bytes() == b"x"
        return int(first.record["number"])

    assert [build(False), build(True), build(True)] == [1, 2, 2]
